"""Whatever commands come, in any order: seats within bounds, rights as the facts have it, credits as the ledger."""

from datetime import date
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.entitlements.domain import credits, seat_pool
from shared.eventlog.decision import Rejected
from shared.events import (
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    SeatAssigned,
    SeatPoolEnded,
    SeatPoolOpened,
    SeatPoolSuspended,
)
from tests.properties.pools import CSNS, OPENING, OTHER, PEOPLE, POOL_COMMANDS, TIMES, USER
from tests.properties.states import live


@given(st.lists(POOL_COMMANDS, max_size=25))
def test_a_pool_is_within_its_bounds_through_its_whole_course(commands: list[Any]) -> None:
    for state in live(seat_pool.SEAT_POOL, [OPENING, *commands]):
        assert isinstance(state, seat_pool.OpenedSeatPool)
        holders = [held.account_id for held in state.held.values()]
        assert len(holders) == len(set(holders)) <= state.seats
        assert all(1 <= seat <= state.seats for seat in state.held)
        assert not (isinstance(state.over, SeatPoolEnded) and holders)
        valid = {noted.csn for noted in state.numbers.values()} - {None}
        assert (state.right is not None) == bool(state.usable and valid)
        assert state.right is None or state.right.csn in valid


@given(st.lists(PEOPLE, unique=True, max_size=5), st.integers(5, 9), st.integers(1, 9), st.data())
def test_a_renewal_keeps_whoever_was_there_longest(people: list[str], seats: int, fewer: int, data: Any) -> None:
    commands: list[Any] = [seat_pool.ResizePool(seats), *(seat_pool.AssignSeat(one, "admin", USER) for one in people)]
    gone = data.draw(st.sets(st.sampled_from(people))) if people else set()
    commands += [seat_pool.UnassignSeat(one, "admin") for one in sorted(gone)]
    state = live(seat_pool.SEAT_POOL, [OPENING, *commands, seat_pool.RenewPool(fewer, date(2027, 12, 31))])[-1]
    staying = [one for one in people if one not in gone][:fewer]
    assert {held.account_id for held in state.held.values()} == set(staying)


@given(st.lists(st.tuples(st.sampled_from(["org", "reseller"]), CSNS, st.integers(1, 6)), max_size=12), st.data())
def test_the_right_is_the_same_in_whatever_order_numbers_come(words: list[Any], data: Any) -> None:
    """Of each organisation one word a version, and the newest counts."""
    unique = {(organisation, as_of): csn for organisation, csn, as_of in words}
    notes = [seat_pool.NoteCsn(organisation, csn, as_of) for (organisation, as_of), csn in unique.items()]
    ends = []
    for order in (notes, data.draw(st.permutations(notes))):
        state = live(seat_pool.SEAT_POOL, [OPENING, *order])[-1]
        ends.append((state.right is not None, {name: noted.csn for name, noted in state.numbers.items()}))
    assert ends[0] == ends[1]


_opened = SeatPoolOpened(
    subscription_id="s",
    contract_id="c",
    customer="org",
    product="p",
    product_name="P",
    seats=3,
    starts=date(2026, 2, 1),
    ends=date(2027, 1, 31),
)
_over = SeatPoolSuspended(
    subscription_id="s", contract_id="c", customer="org", product="p", kept_until=date(2027, 3, 31)
)
_seats = st.sets(PEOPLE).map(
    lambda people: {
        number: SeatAssigned(subscription_id="s", contract_id="c", seat=number, account_id=one, assigned_by="admin")
        for number, one in enumerate(sorted(people), start=1)
    }
)
_pools = st.lists(
    st.builds(
        seat_pool.OpenedSeatPool,
        opened=st.just(_opened),
        seats=st.just(5),
        ends=st.just(_opened.ends),
        held=_seats,
        answered=st.just(frozenset[str]()),
        over=st.sampled_from([None, None, _over]),
    ),
    max_size=3,
).map(tuple)
_credits = st.one_of(
    st.builds(
        credits.GrantCredits,
        contract_id=st.just("c"),
        grant_id=st.sampled_from("abcdef"),
        amount=st.integers(1, 9),
        customer=st.just("org"),
        granted_by=st.just("publisher"),
        now=TIMES,
        account_id=st.one_of(st.none(), PEOPLE),
        user=st.sampled_from([USER, USER, OTHER, None]),
        over=st.sampled_from([(), (), (_over,)]),
    ),
    st.builds(
        credits.ConsumeCredits,
        contract_id=st.just("c"),
        consumption_id=st.sampled_from("uvwxyz"),
        amount=st.integers(1, 12),
        now=TIMES,
        account_id=PEOPLE,
        pools=_pools,
    ),
    st.builds(credits.ExpireCredits, TIMES),
    st.builds(credits.EndCredits),
)


@given(st.lists(_credits, max_size=25))
def test_a_balance_is_never_negative_and_always_what_the_ledger_says(commands: list[Any]) -> None:
    state, ledger = credits.INITIAL, 0
    for command in commands:
        decision = credits.CREDITS.decide(command, state)
        if isinstance(decision, Rejected):
            assert decision.rule and decision.reason and decision.remedy
            continue
        for event in decision:
            match event:
                case CreditsGranted(amount=amount):
                    assert not command.over and (event.account_id is None or command.user is USER)
                    ledger += amount
                case CreditsConsumed(amount=amount, drawn=drawn):
                    assert sum(draw.amount for draw in drawn) == amount
                    assert any(
                        event.account_id in {held.account_id for held in pool.held.values()}
                        and pool.over is None
                        and pool.opened.starts <= command.now.date()
                        for pool in command.pools
                    )
                    assert all(state.lots[draw.grant_id].grant.account_id in (None, event.account_id) for draw in drawn)
                    ledger -= amount
                case CreditsExpired(amount=amount):
                    ledger -= amount
            state = credits.evolve(state, event)
            ahead = [lot.grant.expires_on for lot in state.lots.values() if lot.remaining]
            assert event.next_expiry == min(ahead, default=None), "the timer is set for what is left"
        assert credits.CREDITS.decide(command, state) == (), f"{command} decides something new a second time"
        assert credits.balance(state.lots.values()) == ledger
        assert all(lot.remaining >= 0 for lot in state.lots.values())
