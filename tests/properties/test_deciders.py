"""Whatever commands come, in whatever order: every decision survives a retry, folding never fails, invariants hold."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.distribution.domain import update
from services.entitlements.domain import seat_pool
from services.identity.domain import contract, contract_state
from shared.administrative_access import ADMINISTRATIVE, Granted
from shared.events import UpdatePublished, UpdateWithdrawn
from tests.properties.pools import POOL_COMMANDS
from tests.properties.states import live

_who = st.sampled_from(["ana", "ben", "chiyo", "mina"])
_when = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.lists(POOL_COMMANDS, max_size=25))
def test_never_more_seats_than_bought_and_nobody_with_two(commands: list[Any]) -> None:
    for state in live(seat_pool.SEAT_POOL, commands):
        if isinstance(state, seat_pool.OpenedSeatPool):
            holders = [held.account_id for held in state.held.values()]
            assert len(holders) == len(set(holders)) <= state.seats
            assert all(1 <= seat <= state.seats for seat in state.held)


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
    ),
    st.builds(contract.RecordSubscriptionEnd, st.sampled_from(["s1", "s2", "s3"])),
    st.builds(
        contract.RequestRole,
        _who,
        st.sampled_from(["org", "other"]),
        st.sampled_from(["software_coordinator", "contract_manager"]),
    ),
    st.builds(contract.ApproveRoleRequest, _who, _who, st.booleans()),
    st.builds(contract.DeclineRoleRequest, _who, _who),
    st.builds(contract.RevokeRole, _who, _who),
    st.builds(contract.HandOverContract, _who, _who, st.sampled_from(["org", "other"])),
)


@given(st.lists(_contract, max_size=30))
def test_never_two_contract_managers_and_never_none(commands: list[Any]) -> None:
    for state in live(contract.CONTRACT, commands):
        if isinstance(state, contract_state.OpenedContract):
            assert state.manager is not None
            for person in ("ana", "ben", "chiyo", "mina"):
                found = contract.access_of(state, person)
                has_role = person == state.manager.account_id or person in state.coordinators
                runs = any(a.kind in ADMINISTRATIVE for a in state.agreements.values())
                assert isinstance(found, Granted) == (has_role and runs)


_published = st.builds(
    UpdatePublished,
    update_id=st.just("u"),
    publisher=st.just("p"),
    product=st.just("x"),
    kind=st.just("update"),
    title=st.sampled_from("ab"),
    version=st.just("1"),
    platform=st.just("win"),
    severity=st.just("normal"),
    sha256=st.just("0" * 64),
    size_bytes=st.just(1),
    location=st.just("https://u.example"),
    published_at=st.just(_when),
)
_withdrawn = st.builds(UpdateWithdrawn, update_id=st.just("u"), publisher=st.just("p"), reason=st.just("r"))
_update = st.one_of(
    st.builds(update.RecordUpdate, _published, st.sampled_from(["p", "q"])),
    st.builds(update.WithdrawUpdate, _withdrawn, st.sampled_from(["p", "q"])),
)


@given(st.lists(_update, max_size=10))
def test_a_withdrawn_update_stays_withdrawn(commands: list[Any]) -> None:
    states = live(update.UPDATE, commands)
    gone = [isinstance(state, update.Withdrawn) for state in states]
    assert gone == sorted(gone)
