"""A machine account's rules: who gives it what, for how long, and which secret is good."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from services.identity.domain.account import OpenedAccount, Profile
from services.identity.domain.machine import (
    INITIAL,
    MACHINE,
    Command,
    Registered,
    RegisterMachine,
    RevokeMachine,
    RotateMachineSecret,
    evolve,
)
from shared.events import AccountOpened, MachineRegistered, MachineRevoked, MachineSecretRotated
from shared.events.identity import MachineScope
from tests.contracts.golden import sample
from tests.spec import given

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
MEMBER = OpenedAccount(
    opened=sample(AccountOpened).model_copy(
        update={"account_id": "mina", "organisation_id": "org", "organisation_kind": "customer"}
    ),
    profile=Profile(email="mina@x.example", name="Mina", country="DE", time_zone="UTC", locale="en"),
)
REGISTER = RegisterMachine(
    client_id="m",
    organisation_id="org",
    organisation_kind="customer",
    publisher="",
    name="Agent",
    scopes=("read",),
    acts_for="",
    expires_at=NOW + timedelta(days=90),
    now=NOW,
    registered_by=MEMBER,
    administers=True,
    acts_for_colleague=False,
)
REGISTERED = MachineRegistered(
    client_id="m",
    organisation_id="org",
    organisation_kind="customer",
    name="Agent",
    scopes=("read",),
    expires_at=NOW + timedelta(days=90),
    registered_by="mina",
)
ROTATE = RotateMachineSecret(overlap_days=2, now=NOW, rotated_by="mina")
ROTATED = MachineSecretRotated(client_id="m", previous_until=NOW + timedelta(days=2), rotated_by="mina")
REVOKED = MachineRevoked(client_id="m", revoked_by="mina")


def test_an_administrator_registers_a_machine_for_its_organisation() -> None:
    given(MACHINE).when(REGISTER).then(REGISTERED)
    given(MACHINE, REGISTERED).when(REGISTER).then_nothing()


@pytest.mark.parametrize(
    "command",
    [
        replace(REGISTER, administers=False),
        replace(REGISTER, organisation_id="other"),
        replace(REGISTER, scopes=("read", "credits:consume")),
        replace(REGISTER, acts_for="ana", acts_for_colleague=True),
    ],
)
def test_what_is_not_theirs_to_give_is_refused(command: Command) -> None:
    given(MACHINE).when(command).then_refused("machine-not-yours-to-give", because=[MEMBER.opened])


@pytest.mark.parametrize(
    ("command", "refused_by"),
    [
        (replace(REGISTER, acts_for="ana"), "machine-acts-for"),
        (replace(REGISTER, scopes=()), "machine-scopes"),
        (replace(REGISTER, expires_at=NOW), "machine-lifetime"),
        (replace(REGISTER, expires_at=NOW + timedelta(days=366, seconds=1)), "machine-lifetime"),
        (replace(ROTATE, overlap_days=8), "machine-unknown"),
        (RevokeMachine(revoked_by="mina"), "machine-unknown"),
    ],
)
def test_what_no_machine_may_be_is_refused(command: Command, refused_by: str) -> None:
    given(MACHINE).when(command).then_refused(refused_by)


def test_anybody_gives_their_own_agent_what_reports_installs() -> None:
    own = replace(REGISTER, administers=False, acts_for="mina", acts_for_colleague=True, scopes=("installs:report",))
    (registered,) = given(MACHINE).when(own).then_accepted()
    assert isinstance(registered, MachineRegistered) and registered.acts_for == "mina"
    given(MACHINE).when(replace(own, scopes=("installs:report", "read"))).then_refused(
        "machine-not-yours-to-give", because=[MEMBER.opened]
    )


@pytest.mark.parametrize("scope", get_args(MachineScope))
def test_the_operator_gives_anything_to_any_organisation(scope: MachineScope) -> None:
    operator = OpenedAccount(
        opened=MEMBER.opened.model_copy(update={"organisation_kind": "operator"}), profile=MEMBER.profile
    )
    command = replace(REGISTER, registered_by=operator, organisation_id="other", administers=False)
    given(MACHINE).when(replace(command, scopes=(scope,))).then_accepted()


def test_a_secret_is_good_until_its_successors_successor_and_the_end_of_the_overlap() -> None:
    state = evolve(evolve(INITIAL, REGISTERED), ROTATED)
    assert isinstance(state, Registered)
    later = NOW + timedelta(days=2)
    assert [state.accepts(rotation, NOW) for rotation in (0, 1, 2)] == [True, True, False]
    assert [state.accepts(rotation, later) for rotation in (0, 1)] == [False, True]
    again = evolve(state, ROTATED)
    assert isinstance(again, Registered)
    assert [again.accepts(rotation, NOW) for rotation in (0, 1, 2)] == [False, True, True]
    assert not again.accepts(2, REGISTERED.expires_at)


def test_the_overlap_has_its_bound() -> None:
    given(MACHINE, REGISTERED).when(ROTATE).then(ROTATED)
    given(MACHINE, REGISTERED).when(replace(ROTATE, overlap_days=8)).then_refused("machine-overlap")


def test_a_machine_that_was_revoked_stays_so() -> None:
    given(MACHINE, REGISTERED).when(RevokeMachine(revoked_by="mina")).then(REVOKED)
    given(MACHINE, REGISTERED, REVOKED).when(RevokeMachine(revoked_by="mina")).then_nothing()
    given(MACHINE, REGISTERED, REVOKED).when(ROTATE).then_refused("machine-revoked", because=[REVOKED])
    assert evolve(evolve(evolve(INITIAL, REGISTERED), REVOKED), ROTATED) == evolve(evolve(INITIAL, REGISTERED), REVOKED)
