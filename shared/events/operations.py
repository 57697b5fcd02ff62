"""What an operator did to a service, by hand. Any service's log may hold it, in streams of its own."""

from typing import Literal

from shared.events.base import Event


class OperationPerformed(Event):
    """An operator's command began, or ended as `outcome` says. One that only began was cut off on its way."""

    verb: str
    """As it is typed: `parked retry`."""
    arguments: tuple[str, ...]
    """What it was done to, each `name=value`. Nothing personal."""
    actor: str
    reason: str
    outcome: Literal["begun", "done", "failed"]
    result: str = ""
    """What was counted or found at its end, for a person."""
