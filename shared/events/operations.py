"""The event of an operator's command. Any service's log may have it, in streams of its own."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from shared.events.base import Event
from shared.events.fields import Code, Name, Text


class OperationPerformed(Event):
    """An operator's command began, or ended as `outcome` says.

    A command that began and has no end was interrupted.
    """

    ARGUMENTS_AT_MOST: ClassVar[int] = 100

    verb: Code
    """The command as it is typed: `parked retry`."""
    arguments: Annotated[tuple[Text, ...], Field(max_length=ARGUMENTS_AT_MOST)]
    """The command's arguments, each `name=value`, without personal data."""
    actor: Name
    reason: Text
    outcome: Literal["begun", "done", "failed"]
    result: Text = ""
    """The result for a person to read, such as what was counted."""
