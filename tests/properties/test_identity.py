"""identity under whatever commands come: one Contract Manager always, clocks that only go forward, accounts that stay
closed."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.identity.domain import account, clock, contract, contract_state
from shared.administrative_access import ADMINISTRATIVE, Granted
from shared.events import AccountClosed, AccountOpened, AgreementStarted, ProfileUpdated
from tests.properties.states import live

_people = ["ana", "ben", "chiyo", "mina"]
_who = st.sampled_from(_people)
_org = st.sampled_from(["org", "other"])
_noon = datetime(2026, 11, 21, 12, tzinfo=UTC)

_contract = st.one_of(
    st.builds(
        contract.RecordSubscription,
        contract_id=st.just("c"),
        customer=st.just("org"),
        publisher=st.just("autodesk"),
        programme=st.just("programme"),
        subscription_id=st.sampled_from(["s1", "s2"]),
        purchaser=_who,
        agreement=st.sampled_from(["desktop", "maintenance", "other"]),
        product=st.just("p"),
        starts=st.none() | st.dates(date(2026, 11, 20), date(2026, 12, 22)),
    ),
    st.builds(
        contract.StartAgreements, st.datetimes(datetime(2026, 11, 20), datetime(2026, 12, 24), timezones=st.just(UTC))
    ),
    st.builds(contract.RecordSubscriptionEnd, st.sampled_from(["s1", "s2", "s3"])),
    st.builds(contract.RequestRole, _who, _org, st.sampled_from([contract_state.MANAGER, contract_state.COORDINATOR])),
    st.builds(contract.ApproveRoleRequest, _who, _who, st.booleans(), _org),
    st.builds(contract.DeclineRoleRequest, _who, _who),
    st.builds(contract.NameCoordinator, _who, _org, _who, st.booleans()),
    st.builds(contract.RevokeRole, _who, _who),
    st.builds(contract.HandOverContract, _who, _who, _org, st.booleans()),
    st.builds(contract.RecordAccountClosed, _who, _who, st.sampled_from(["", *_people])),
)


@given(st.lists(_contract, max_size=40))
def test_exactly_one_contract_manager_and_somebody_always_coordinates(commands: list[Any]) -> None:
    for state in live(contract.CONTRACT, commands):
        if isinstance(state, contract_state.OpenedContract):
            assert state.manager is not None and state.manager.role == contract_state.MANAGER
            acting = contract.coordinating(state)
            assert acting and set(acting) == (set(state.coordinators) or {state.manager.account_id})
            for person in _people:
                found = contract.access_of(state, person)
                has_role = person == state.manager.account_id or person in state.coordinators
                runs = any(a.kind in ADMINISTRATIVE for a in state.agreements.values())
                assert isinstance(found, Granted) == (has_role and runs)
            assert state.manager.account_id not in state.requests
            subscriptions = [*state.scheduled, *state.agreements, *state.ended]
            assert len(subscriptions) == len(set(subscriptions)), "to come, running, or over"


@given(st.lists(_contract, max_size=40))
def test_no_agreement_starts_before_its_first_day_and_none_that_is_due_waits(commands: list[Any]) -> None:
    state = contract_state.INITIAL
    for command in commands:
        decision = contract.decide(command, state)
        events = decision if isinstance(decision, tuple) else ()
        if isinstance(command, contract.StartAgreements) and isinstance(state, contract_state.OpenedContract):
            due = {s for s, scheduled in state.scheduled.items() if scheduled.starts <= command.now.date()}
            assert {event.subscription_id for event in events if isinstance(event, AgreementStarted)} == due
        for event in events:
            state = contract_state.evolve(state, event)


@given(st.lists(_contract, max_size=30), _who)
def test_a_closed_account_keeps_no_coordinators_role_and_no_request(commands: list[Any], gone: str) -> None:
    states = live(contract.CONTRACT, [*commands, contract.RecordAccountClosed(gone, gone)])
    if states and isinstance(states[-1], contract_state.OpenedContract):
        assert gone not in states[-1].coordinators and gone not in states[-1].requests


_seconds = st.integers(-3, 2_000 * 86_400).map(lambda s: timedelta(seconds=s))
_moves = st.builds(
    clock.MoveClock,
    to=st.one_of(st.datetimes(timezones=st.just(UTC)), _seconds.map(lambda s: _noon + s)),
    organisation_id=st.just("org"),
    sandbox=st.booleans(),
    now=st.just(_noon),
    moved_by=_who,
)


@given(st.lists(_moves, max_size=20))
def test_a_clock_never_goes_back_and_never_too_far(commands: list[Any]) -> None:
    ahead = [0, *(clock.ahead_s(state) for state in live(clock.CLOCK, commands))]
    assert ahead == sorted(ahead)
    assert timedelta(seconds=ahead[-1]) <= clock.FURTHEST


_text = st.sampled_from(["ana@x.example", "ben@x.example", "ana@xn--mller-kva.example"])
_account = st.one_of(
    st.builds(
        account.OpenAccount,
        account_id=st.just("a"),
        organisation_id=st.just("org"),
        organisation_name=st.just("Org"),
        organisation_kind=st.just("customer"),
        email=_text,
        name=st.just("Ana"),
        country=st.just("DE"),
        time_zone=st.just("UTC"),
        locale=st.just("en"),
        now=st.just(_noon),
        sandbox=st.booleans(),
    ),
    st.builds(account.UpdateProfile, email=st.none() | _text, name=st.none() | st.sampled_from(["Ana", "Ben"])),
    st.builds(account.CloseAccount, _who, st.just(())),
)


@given(st.lists(_account, max_size=12))
def test_a_closed_account_stays_closed_and_holds_nothing_personal(commands: list[Any]) -> None:
    states = live(account.ACCOUNT, commands)
    closed = [isinstance(state, account.Closed) for state in states]
    assert closed == sorted(closed)
    assert all("x.example" not in repr(state) for state in states if isinstance(state, account.Closed))


@given(st.lists(_account, max_size=12))
def test_an_open_account_claims_its_present_address_and_no_other(commands: list[Any]) -> None:
    state, held = account.INITIAL, set[str]()
    for command in commands:
        decision = account.decide(command, state)
        for event in decision if isinstance(decision, tuple) else ():
            assert isinstance(event, AccountOpened | ProfileUpdated | AccountClosed)
            claims = account.claims(state, event)
            held = (held - set(claims.release)) | set(claims.take)
            state = account.evolve(state, event)
        expected = set(account.claims_of(state.profile.email)) if isinstance(state, account.OpenedAccount) else set()
        assert held == expected
