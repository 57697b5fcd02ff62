"""A webhook: an address that a topic's events are sent to, one stream per webhook.

Secrets and the progress of sending are not in events: private tables have them. This module decides whether events are
sent, from which position, and which rotations' secrets sign.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Final, TypeAlias, assert_never

from services.identity.domain import rules
from services.identity.domain.account import OpenedAccount
from services.identity.domain.account import State as Account
from services.identity.domain.machine import Registered as RegisteredMachine
from services.identity.domain.machine import State as Machine
from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import (
    WebhookEnded,
    WebhookParked,
    WebhookPaused,
    WebhookRegistered,
    WebhookReplayed,
    WebhookResumed,
    WebhookSecretRotated,
)
from shared.events.fields import Days, LogPosition
from shared.events.identity import WebhookEndReason, WebhookParkedReason

Event: TypeAlias = (
    WebhookRegistered
    | WebhookSecretRotated
    | WebhookPaused
    | WebhookParked
    | WebhookResumed
    | WebhookReplayed
    | WebhookEnded
)

LONGEST_OVERLAP: Final = timedelta(days=7)
AT_MOST: Final = 20
"""How many webhooks an account may have that have not ended."""
SENDER: Final = "webhooks"
"""The actor of what the sender of webhooks finds out."""

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unregistered:
    """A webhook without any event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A webhook that has not ended."""

    registered: WebhookRegistered
    rotation: int = 0
    """The number of rotations: 0 for the first secret."""
    previous_until: datetime | None = None
    """Until when events are signed with the secret before the latest, too."""
    stopped: WebhookPaused | WebhookParked | None = None
    """What stopped it; None while events are sent."""
    resumes: int = 0
    replays: int = 0
    replayed_after: int = 0
    """The position of the last replay."""

    def signs_with(self, now: datetime) -> tuple[int, ...]:
        """Return the rotations whose secrets sign now, the latest first."""
        overlap = self.rotation > 0 and self.previous_until is not None and now < self.previous_until
        return (self.rotation, self.rotation - 1) if overlap else (self.rotation,)


@dataclass(frozen=True, slots=True)
class Ended:
    """A webhook that ended for good."""

    registered: WebhookRegistered
    ended: WebhookEnded


State: TypeAlias = Unregistered | Running | Ended
INITIAL: Final[State] = Unregistered()


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`."""
    if isinstance(event, WebhookRegistered):
        return Running(registered=event)
    if not isinstance(state, Running):
        return state
    match event:
        case WebhookSecretRotated():
            return replace(state, rotation=state.rotation + 1, previous_until=event.previous_until)
        case WebhookPaused() | WebhookParked():
            return replace(state, stopped=event)
        case WebhookResumed():
            return replace(state, stopped=None, resumes=state.resumes + 1)
        case WebhookReplayed():
            return replace(state, stopped=None, replays=state.replays + 1, replayed_after=event.after)
        case WebhookEnded():
            return Ended(state.registered, event)
        case unreachable:
            assert_never(unreachable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Whose events a webhook is sent: its account's, or its machine account's."""

    account: Account
    machine: Machine | None = None
    acts_for: Account | None = None
    """The account that the machine account acts for, if it does."""

    def ended(self, now: datetime) -> WebhookEndReason | None:
        """Return why it may not read events any more; None while it may."""
        if not isinstance(self.account, OpenedAccount):
            return "account-ended"
        return None if self.machine is None or self._machine_reads(self.machine, now) else "machine-ended"

    def _machine_reads(self, machine: Machine, now: datetime) -> bool:
        if not isinstance(machine, RegisteredMachine) or now >= machine.registered.expires_at:
            return False
        acting = self.acts_for is None or isinstance(self.acts_for, OpenedAccount)
        return "read" in machine.registered.scopes and acting


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterWebhook:
    """Register a webhook. Its secret is in this answer only."""

    registered: WebhookRegistered
    others: int
    """How many webhooks the account has that have not ended."""
    reader: Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateWebhookSecret:
    """Give a webhook a new secret, which is in this answer only.

    Events are signed with the one before it, too, for `overlap_days`.
    """

    overlap_days: Days = 1
    now: Annotated[datetime, SUPPLIED]
    rotated_by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseWebhook:
    """Send nothing until it is resumed."""

    paused_by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeWebhook:
    """Go on with the event that a paused or parked webhook stopped at."""

    resumed_by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayWebhook:
    """Go on with the events after a position, whether they were sent before or not."""

    after: LogPosition
    replayed_by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveWebhook:
    """Remove a webhook for good. Nothing is sent to its address any more."""

    removed_by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkWebhook:
    """Stop a webhook that can't be served, until a person resumes it."""

    reason: WebhookParkedReason
    position: int
    last_answer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndWebhook:
    """End a webhook whose address is gone, or whose account may not read any more."""

    reason: WebhookEndReason


Change: TypeAlias = (
    RotateWebhookSecret | PauseWebhook | ResumeWebhook | ReplayWebhook | RemoveWebhook | ParkWebhook | EndWebhook
)
Command: TypeAlias = RegisterWebhook | Change

# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal."""
    if isinstance(command, RegisterWebhook):
        return _register(command) if isinstance(state, Unregistered) else ()
    if isinstance(state, Unregistered):
        return Rejected(rules.WEBHOOK_UNKNOWN, "There is no such webhook.", "List the webhooks (GET /webhooks).")
    if isinstance(state, Ended):
        if isinstance(command, RemoveWebhook | EndWebhook):
            return ()
        return Rejected(rules.WEBHOOK_ENDED, "This webhook has ended for good.", "Register a new one.", (state.ended,))
    return _change(command, state)


def _change(command: Change, state: Running) -> Decision[Event]:
    match command:
        case RemoveWebhook():
            return (WebhookEnded(webhook_id=_id(state), reason="removed", ended_by=command.removed_by),)
        case EndWebhook():
            return (WebhookEnded(webhook_id=_id(state), reason=command.reason, ended_by=SENDER),)
        case RotateWebhookSecret():
            return _rotate(command, state)
        case PauseWebhook():
            if isinstance(state.stopped, WebhookPaused):
                return ()
            return (WebhookPaused(webhook_id=_id(state), paused_by=command.paused_by),)
        case ResumeWebhook():
            if state.stopped is None:
                return ()
            return (WebhookResumed(webhook_id=_id(state), resumed_by=command.resumed_by),)
        case ReplayWebhook():
            return (WebhookReplayed(webhook_id=_id(state), after=command.after, replayed_by=command.replayed_by),)
        case ParkWebhook():
            if state.stopped is not None:
                return ()
            return (
                WebhookParked(
                    webhook_id=_id(state),
                    reason=command.reason,
                    position=command.position,
                    last_answer=command.last_answer,
                ),
            )
        case unreachable:
            assert_never(unreachable)


def _register(command: RegisterWebhook) -> Decision[Event]:
    if command.reader.ended(command.registered.registered_at) is not None:
        return Rejected(
            rules.WEBHOOK_MACHINE,
            "A webhook is for a valid machine account with the scope read, or for yourself.",
            "Name such a machine account, or none.",
        )
    if command.others >= AT_MOST:
        return Rejected(
            rules.WEBHOOK_LIMIT, f"You have {AT_MOST} webhooks already.", "Remove one that is no longer needed."
        )
    return (command.registered,)


def _rotate(command: RotateWebhookSecret, state: Running) -> Decision[Event]:
    overlap = timedelta(days=command.overlap_days)
    if overlap > LONGEST_OVERLAP:
        return Rejected(
            rules.WEBHOOK_OVERLAP, "A replaced secret signs for at most seven more days.", "Name 0 to 7 days."
        )
    return (
        WebhookSecretRotated(
            webhook_id=_id(state), previous_until=command.now + overlap, rotated_by=command.rotated_by
        ),
    )


def _id(state: Running) -> str:
    return state.registered.webhook_id


def _tenant(event: Event) -> str:
    return event.organisation_id if isinstance(event, WebhookRegistered) else ""


WEBHOOK: Final = Stream(category="webhook", initial=INITIAL, evolve=evolve, decide=decide, tenant=_tenant)
