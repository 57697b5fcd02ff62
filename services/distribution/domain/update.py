"""An update or extension that a publisher offers, one stream per publisher and update."""

from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias, assert_never

from services.distribution.domain import rules
from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import UpdatePublished, UpdateWithdrawn
from shared.rules import FOREIGN_PUBLISHER

Event: TypeAlias = UpdatePublished | UpdateWithdrawn

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unpublished:
    """An update without any event."""


@dataclass(frozen=True, slots=True)
class Available:
    """A published update."""

    published: UpdatePublished


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """An update that the publisher withdrew for good."""

    withdrawn: UpdateWithdrawn
    published: UpdatePublished | None
    """None where it was withdrawn before it was published here."""


State: TypeAlias = Unpublished | Available | Withdrawn
INITIAL: Final[State] = Unpublished()


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`. A withdrawal is for good."""
    match event:
        case UpdatePublished():
            return state if isinstance(state, Withdrawn) else Available(event)
        case UpdateWithdrawn():
            return Withdrawn(event, state.published if not isinstance(state, Unpublished) else None)
        case unreachable:
            assert_never(unreachable)


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class RecordUpdate:
    """Record an update that a publisher's system published.

    Args:
        reported_by: the publisher whose system sent it.
    """

    update: UpdatePublished
    reported_by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True)
class WithdrawUpdate:
    """Record that a publisher's system withdrew an update, whether or not it was published here."""

    withdrawal: UpdateWithdrawn
    reported_by: Annotated[str, SUPPLIED]


Command: TypeAlias = RecordUpdate | WithdrawUpdate

# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal."""
    match command:
        case RecordUpdate(update, reported_by):
            return _record(update, reported_by, state)
        case WithdrawUpdate(withdrawal, reported_by):
            if withdrawal.publisher != reported_by:
                return _not_theirs(withdrawal.publisher, reported_by)
            return () if isinstance(state, Withdrawn) else (withdrawal,)
        case unreachable:
            assert_never(unreachable)


def _record(update: UpdatePublished, reported_by: str, state: State) -> Decision[Event]:
    if update.publisher != reported_by:
        return _not_theirs(update.publisher, reported_by)
    match state:
        case Unpublished():
            return (update,)
        case Available(published):
            if published == update:
                return ()
            return Rejected(
                rules.UPDATE_ALREADY_PUBLISHED,
                f"{update.update_id} was already published with other contents. A published update does not change, "
                "because administrators have decided about it.",
                "Publish the change under a new id.",
                (published,),
            )
        case Withdrawn(withdrawn):
            return Rejected(
                rules.UPDATE_WITHDRAWN,
                f"{update.update_id} was withdrawn: {withdrawn.reason}",
                "Publish it under a new id.",
                (withdrawn,),
            )
        case unreachable:
            assert_never(unreachable)


def _not_theirs(publisher: str, reported_by: str) -> Rejected:
    return Rejected(
        FOREIGN_PUBLISHER,
        f"An event of {reported_by or 'no publisher'} is about an update of {publisher}.",
        "Send events about the updates of your own publisher only.",
    )


def key(publisher: str, update_id: str) -> str:
    """Return the stream's business key."""
    return f"{publisher}-{update_id}"


def _tenant(event: Event) -> str:
    return event.publisher


UPDATE: Final = Stream(category="update", initial=INITIAL, evolve=evolve, decide=decide, tenant=_tenant)
