"""A webhook's rules: for whom it is, what stops it, from where it goes on, and which secrets sign."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.identity.domain.account import Closed, OpenedAccount, Profile
from services.identity.domain.machine import Registered, Revoked
from services.identity.domain.machine import State as Machine
from services.identity.domain.webhook import (
    AT_MOST,
    INITIAL,
    SENDER,
    WEBHOOK,
    Command,
    EndWebhook,
    Event,
    ParkWebhook,
    PauseWebhook,
    Reader,
    RegisterWebhook,
    RemoveWebhook,
    ReplayWebhook,
    ResumeWebhook,
    RotateWebhookSecret,
    Running,
    State,
    evolve,
)
from shared.events import (
    AccountClosed,
    AccountOpened,
    MachineRegistered,
    MachineRevoked,
    WebhookEnded,
    WebhookParked,
    WebhookPaused,
    WebhookRegistered,
    WebhookReplayed,
    WebhookResumed,
    WebhookSecretRotated,
)
from tests.contracts.golden import sample
from tests.spec import given

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINA = OpenedAccount(
    opened=sample(AccountOpened), profile=Profile(email="", name="", country="DE", time_zone="UTC", locale="en")
)
LEFT = Closed(sample(AccountClosed))
AGENT = sample(MachineRegistered).model_copy(update={"scopes": ("read",), "expires_at": NOW + timedelta(days=1)})
REGISTERED = WebhookRegistered(
    webhook_id="w",
    organisation_id="org",
    account_id="mina",
    name="Dashboard",
    address="https://receiver.example/",
    topic="identity.events.v1",
    registered_at=NOW,
)
REGISTER = RegisterWebhook(registered=REGISTERED, others=0, reader=Reader(account=MINA))
ROTATE = RotateWebhookSecret(overlap_days=2, now=NOW, rotated_by="mina")
ROTATED = WebhookSecretRotated(webhook_id="w", previous_until=NOW + timedelta(days=2), rotated_by="mina")
PAUSED = WebhookPaused(webhook_id="w", paused_by="mina")
RESUMED = WebhookResumed(webhook_id="w", resumed_by="mina")
REPLAYED = WebhookReplayed(webhook_id="w", after=41, replayed_by="mina")
PARK = ParkWebhook(reason="not-accepted", position=42, last_answer="500")
PARKED = WebhookParked(webhook_id="w", reason="not-accepted", position=42, last_answer="500")
REMOVED = WebhookEnded(webhook_id="w", reason="removed", ended_by="mina")


def after(*events: Event) -> State:
    state: State = INITIAL
    for event in events:
        state = evolve(state, event)
    return state


def test_a_webhook_is_registered_once() -> None:
    given(WEBHOOK).when(REGISTER).then(REGISTERED)
    given(WEBHOOK, REGISTERED).when(REGISTER).then_nothing()
    given(WEBHOOK).when(replace(REGISTER, others=AT_MOST)).then_refused("webhook-limit")


@pytest.mark.parametrize(
    ("machine", "acts_for", "reads"),
    [
        (Registered(AGENT), None, True),
        (Registered(AGENT), MINA, True),
        (Registered(AGENT), LEFT, False),
        (Registered(AGENT.model_copy(update={"expires_at": NOW})), None, False),
        (Registered(AGENT.model_copy(update={"scopes": ("installs:report",)})), None, False),
        (Revoked(AGENT, sample(MachineRevoked)), None, False),
    ],
)
def test_a_machine_account_may_read_or_there_is_no_webhook_for_it(
    machine: Machine, acts_for: OpenedAccount | Closed | None, reads: bool
) -> None:
    reader = Reader(account=MINA, machine=machine, acts_for=acts_for)
    assert reader.ended(NOW) == (None if reads else "machine-ended")
    assert replace(reader, account=LEFT).ended(NOW) == "account-ended"
    asked = given(WEBHOOK).when(replace(REGISTER, reader=reader))
    if reads:
        asked.then(REGISTERED)
    else:
        asked.then_refused("webhook-machine")


def test_what_stopped_it_is_over_once_somebody_resumes_it() -> None:
    given(WEBHOOK, REGISTERED).when(PauseWebhook(paused_by="mina")).then(PAUSED)
    given(WEBHOOK, REGISTERED).when(PARK).then(PARKED)
    given(WEBHOOK, REGISTERED).when(ResumeWebhook(resumed_by="mina")).then_nothing()
    for stopped in (PAUSED, PARKED):
        given(WEBHOOK, REGISTERED, stopped).when(ResumeWebhook(resumed_by="mina")).then(RESUMED)
        given(WEBHOOK, REGISTERED, stopped).when(PARK).then_nothing()
        state = after(REGISTERED, stopped, RESUMED)
        assert isinstance(state, Running) and (state.stopped, state.resumes) == (None, 1)
    given(WEBHOOK, REGISTERED, PAUSED).when(PauseWebhook(paused_by="mina")).then_nothing()


def test_a_replay_sends_what_follows_a_position_and_resumes() -> None:
    replay = ReplayWebhook(after=41, replayed_by="mina")
    given(WEBHOOK, REGISTERED).when(replay).then(REPLAYED)
    given(WEBHOOK, REGISTERED, PARKED).when(replay).then(REPLAYED)
    state = after(REGISTERED, PARKED, REPLAYED)
    assert isinstance(state, Running) and (state.stopped, state.replays, state.replayed_after) == (None, 1, 41)


def test_a_replaced_secret_signs_beside_the_new_one_for_as_long_as_was_said() -> None:
    given(WEBHOOK, REGISTERED).when(ROTATE).then(ROTATED)
    given(WEBHOOK, REGISTERED).when(replace(ROTATE, overlap_days=8)).then_refused("webhook-overlap")
    first, second = after(REGISTERED), after(REGISTERED, ROTATED)
    assert isinstance(first, Running) and isinstance(second, Running)
    assert first.signs_with(NOW) == (0,)
    assert second.signs_with(NOW) == (1, 0)
    assert second.signs_with(NOW + timedelta(days=2)) == (1,)


def test_what_has_ended_stays_ended() -> None:
    given(WEBHOOK, REGISTERED).when(RemoveWebhook(removed_by="mina")).then(REMOVED)
    gone = WebhookEnded(webhook_id="w", reason="gone", ended_by=SENDER)
    given(WEBHOOK, REGISTERED, PAUSED).when(EndWebhook(reason="gone")).then(gone)
    again: tuple[Command, ...] = (RemoveWebhook(removed_by="mina"), EndWebhook(reason="gone"), REGISTER)
    for command in again:
        given(WEBHOOK, REGISTERED, REMOVED).when(command).then_nothing()
    changes: tuple[Command, ...] = (
        ROTATE,
        PauseWebhook(paused_by="mina"),
        ResumeWebhook(resumed_by="mina"),
        ReplayWebhook(after=0, replayed_by="mina"),
        PARK,
    )
    for command in changes:
        given(WEBHOOK, REGISTERED, REMOVED).when(command).then_refused("webhook-ended", because=[REMOVED])
        given(WEBHOOK).when(command).then_refused("webhook-unknown")
