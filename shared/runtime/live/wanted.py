"""Which events a subscriber gets: what the caller may see, and what was asked for."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from shared.events.registry import is_outcomes, publisher_of_outcomes
from shared.runtime.auth import Actor
from shared.runtime.live.frames import Frame
from shared.runtime.visibility import sells

OF_ORGANISATION: Final = frozenset(
    {"cart", "clock", "contract", "credits", "engagement", "fleet", "partner", "pool", "rollout", "subscription"}
)
"""The kinds of streams that all people of the organisation may see whose they are."""
OF_PUBLISHER: Final = frozenset({"line", "plan", "update"})
"""The kinds of streams that a publisher's people may see."""
OF_ACCOUNT: Final = frozenset({"account", "sessions"})
"""The kinds of streams that only their account may see."""
OF_MACHINE: Final = frozenset({"machine"})
FOR_OPERATORS: Final = frozenset({"invitation", "operation", "webhook"})
"""The kinds of streams that nobody but the operator may see; others that are not named here, neither."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A filter of events; an empty set does not restrict."""

    everything: bool = False
    """Whether the caller is one of the operator's, who sees all events."""
    organisation: str = ""
    publisher: str = ""
    account: str = ""
    machine: str = ""
    types: frozenset[str] = field(default_factory=frozenset)
    streams: frozenset[str] = field(default_factory=frozenset)
    tenants: frozenset[str] = field(default_factory=frozenset)
    since: datetime | None = None
    until: datetime | None = None
    """Events of this time and later ones are left out."""

    @property
    def keys(self) -> Collection[str] | None:
        """The tenants of all events that the caller may see; None for any."""
        seen = {self.organisation, self.publisher} - {""}
        if self.everything:
            return self.tenants or None
        return seen & self.tenants if self.tenants else seen

    def admits(self, frame: Frame) -> bool:
        """Return whether the event is wanted, and may be seen."""
        return (
            (not self.tenants or frame.tenant in self.tenants)
            and (not self.types or frame.type in self.types)
            and (not self.streams or frame.stream in self.streams)
            and (self.since is None or frame.time >= self.since)
            and (self.until is None or frame.time < self.until)
            and self.sees(frame)
        )

    def sees(self, frame: Frame) -> bool:
        """Return whether the caller may see the event."""
        if self.everything:
            return True
        kind, _, key = frame.stream.partition("-")
        if kind in OF_ORGANISATION:
            return frame.tenant == self.organisation
        if kind in OF_PUBLISHER:
            return self.publisher != "" and frame.tenant == self.publisher
        if kind in OF_ACCOUNT:
            return frame.tenant == self.organisation and key == self.account
        return kind in OF_MACHINE and self.machine != "" and key == self.machine


def hears(actor: Actor, topic: str) -> bool:
    """Return whether the caller may see a topic's outcomes: its publisher, and the operator."""
    return is_outcomes(topic) and sells(actor, publisher_of_outcomes(topic))


def visible_to(actor: Actor) -> Wanted:
    """Return the filter that admits whatever the caller may see."""
    return Wanted(
        everything=actor.organisation_kind == "operator",
        organisation=actor.organisation_id,
        publisher=actor.publisher if actor.organisation_kind == "publisher" else "",
        account=actor.account_id,
        machine=actor.client_id,
    )
