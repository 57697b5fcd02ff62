"""What an operator did to a service, by hand. Any service's log may hold it, in streams of its own."""

from typing import Annotated, Literal

from pydantic import Field

from shared.events.base import Event
from shared.events.fields import Code, Name, Text


class OperationPerformed(Event):
    """An operator's command began, or ended as `outcome` says. One that only began was cut off on its way."""

    verb: Code
    """As it is typed: `parked retry`."""
    arguments: Annotated[tuple[Text, ...], Field(max_length=100)]
    """What it was done to, each `name=value`. Nothing personal."""
    actor: Name
    reason: Text
    outcome: Literal["begun", "done", "failed"]
    result: Text = ""
    """What was counted or found at its end, for a person."""
