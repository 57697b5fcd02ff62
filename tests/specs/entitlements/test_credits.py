"""Given what happened to a contract's credits, when a command comes, then facts or a refusal."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import reduce
from itertools import accumulate, pairwise
from math import log2

import pytest

from services.entitlements.domain import credits, seat_pool
from services.entitlements.domain.credits import (
    CREDITS,
    ConsumeCredits,
    EndCredits,
    ExpireCredits,
    GrantCredits,
)
from services.entitlements.domain.policy import Policy
from services.entitlements.domain.users import Account
from shared.events import (
    AccountClosed,
    CreditDraw,
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    SeatAssigned,
    SeatPoolOpened,
)
from tests.examples.entitlements import ENDED, EXPIRED, OPENED, SUSPENDED, account, assigned
from tests.properties.states import copied
from tests.spec import given

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = datetime(2026, 12, 1, tzinfo=UTC)
YEAR, YEAR_LATER = date(2027, 11, 20), date(2027, 11, 30)


ANA = account("ana")


def seat(account_id: str) -> SeatAssigned:
    return assigned(1, account_id)


def pool(*events: seat_pool.Event, opened: SeatPoolOpened = OPENED) -> seat_pool.OpenedSeatPool:
    state = reduce(seat_pool.evolve, (opened, *events), seat_pool.INITIAL)
    assert isinstance(state, seat_pool.OpenedSeatPool)
    return state


def grant(grant_id: str, amount: int, account_id: str | None = None, now: datetime = NOW) -> GrantCredits:
    user = None if account_id is None else ANA
    return GrantCredits(
        contract_id="c",
        grant_id=grant_id,
        amount=amount,
        customer="org",
        granted_by="publisher",
        now=now,
        account_id=account_id,
        user=user,
    )


def granted(
    grant_id: str, amount: int, account_id: str | None = None, expires: date = YEAR, following: date | None = YEAR
) -> CreditsGranted:
    return CreditsGranted(
        contract_id="c",
        customer="org",
        grant_id=grant_id,
        account_id=account_id,
        amount=amount,
        expires_on=expires,
        granted_by="publisher",
        next_expiry=following,
    )


def consume(consumption_id: str, amount: int, now: datetime = NOW, account_id: str = "ana") -> ConsumeCredits:
    return ConsumeCredits(
        contract_id="c",
        consumption_id=consumption_id,
        amount=amount,
        now=now,
        account_id=account_id,
        purpose="rendering",
        pools=(pool(seat(account_id)),),
    )


def consumed(consumption_id: str, *drawn: tuple[str, int], following: date | None = YEAR) -> CreditsConsumed:
    return CreditsConsumed(
        contract_id="c",
        customer="org",
        consumption_id=consumption_id,
        account_id="ana",
        purpose="rendering",
        amount=sum(amount for _, amount in drawn),
        next_expiry=following,
        drawn=tuple(CreditDraw(grant_id=grant_id, amount=amount) for grant_id, amount in drawn),
    )


def expired(grant_id: str, amount: int, reason: str = "time", following: date | None = None) -> CreditsExpired:
    return CreditsExpired.model_validate(
        {
            "contract_id": "c",
            "customer": "org",
            "grant_id": grant_id,
            "account_id": None,
            "amount": amount,
            "reason": reason,
            "next_expiry": following,
        }
    )


def test_one_consumption_draws_on_a_thousand_grants_at_most() -> None:
    history = [granted(f"g{number}", 1) for number in range(1001)]
    given(CREDITS, *history).when(consume("x", 1001)).then_refused("credits-too-scattered")
    assert isinstance(given(CREDITS, *history).when(consume("x", 1000)).events[-1], CreditsConsumed)


def test_credits_are_granted_to_the_pool_or_a_user_for_12_months() -> None:
    given(CREDITS).when(grant("g", 10)).then(granted("g", 10))
    given(CREDITS).when(grant("g", 10, "ana")).then(granted("g", 10, "ana"))
    until = date(2029, 2, 27)
    leap = given(CREDITS).when(grant("g", 10, now=datetime(2028, 2, 29, tzinfo=UTC)))
    leap.then(granted("g", 10, expires=until, following=until))


def test_how_long_is_policy() -> None:
    monthly = GrantCredits(
        contract_id="c",
        grant_id="g",
        amount=10,
        customer="org",
        granted_by="publisher",
        now=NOW,
        policy=Policy(credit_months=1),
    )
    given(CREDITS).when(monthly).then(granted("g", 10, expires=date(2026, 12, 20), following=date(2026, 12, 20)))


def test_a_grant_sent_again_changes_nothing_and_its_id_stands_for_no_other() -> None:
    given(CREDITS, granted("g", 10)).when(grant("g", 10, now=LATER)).then_nothing()
    for other in (grant("g", 11), grant("g", 10, "ana")):
        given(CREDITS, granted("g", 10)).when(other).then_refused("grant-id-reused", because=[granted("g", 10)])


def test_a_users_own_credits_are_spent_first_then_the_pools_by_earliest_expiry() -> None:
    history = (
        granted("pool-late", 10, expires=YEAR_LATER, following=YEAR_LATER),
        granted("pool", 10),
        granted("own", 3, "ana"),
        granted("bens", 99, "ben"),
    )
    given(CREDITS, *history).when(consume("x", 2)).then(consumed("x", ("own", 2)))
    given(CREDITS, *history).when(consume("x", 15)).then(consumed("x", ("own", 3), ("pool", 10), ("pool-late", 2)))
    all_of_it = consumed("x", ("own", 3), ("pool", 10), ("pool-late", 10))
    given(CREDITS, *history).when(consume("x", 23)).then(all_of_it)  # ben's are ben's


def test_of_a_users_own_the_earliest_expiry_first() -> None:
    history = (granted("late", 5, "ana", YEAR_LATER, YEAR_LATER), granted("early", 5, "ana"))
    given(CREDITS, *history).when(consume("x", 6)).then(consumed("x", ("early", 5), ("late", 1), following=YEAR_LATER))


def test_no_overdraft() -> None:
    history = (granted("pool", 10), granted("own", 3, "ana"), granted("bens", 99, "ben"))
    refused = (
        given(CREDITS, *history)
        .when(consume("x", 14))
        .then_refused("credits-exhausted", because=[history[1], history[0]])
    )
    assert refused.reason == "14 credits were requested. The user has 3, and the contract's pool has 10."
    given(CREDITS).when(consume("x", 1)).then_refused("credits-exhausted")


def test_a_consumption_sent_again_changes_nothing_and_its_id_stands_for_no_other() -> None:
    history = (granted("pool", 10), consumed("x", ("pool", 4)))
    given(CREDITS, *history).when(consume("x", 4, LATER)).then_nothing()
    for other in (consume("x", 5), consume("x", 4, account_id="ben")):
        given(CREDITS, *history).when(other).then_refused("consumption-id-reused", because=history[1:])


def test_what_is_left_expires_after_its_last_day() -> None:
    history = (granted("pool", 10), consumed("x", ("pool", 4)), granted("late", 5, expires=YEAR_LATER))
    given(CREDITS, *history).when(ExpireCredits(datetime(2027, 11, 20, 23, 59, tzinfo=UTC))).then_nothing()
    gone = expired("pool", 6, following=YEAR_LATER)
    given(CREDITS, *history).when(ExpireCredits(datetime(2027, 11, 21, tzinfo=UTC))).then(gone)
    given(CREDITS, *history, gone).when(ExpireCredits(datetime(2027, 11, 21, tzinfo=UTC))).then_nothing()
    given(CREDITS, *history).when(ExpireCredits(datetime(2028, 1, 1, tzinfo=UTC))).then(gone, expired("late", 5))


def test_expired_credits_are_not_spent_though_the_timer_be_late() -> None:
    history = (granted("pool", 10), granted("late", 5, expires=YEAR_LATER))
    now = datetime(2027, 11, 21, tzinfo=UTC)
    spent = consumed("x", ("late", 5), following=None)
    given(CREDITS, *history).when(consume("x", 5, now)).then(expired("pool", 10, following=YEAR_LATER), spent)
    given(CREDITS, *history).when(consume("x", 6, now)).then_refused("credits-exhausted", because=history[1:])


def test_with_the_contract_everything_ends() -> None:
    history = (granted("late", 5, expires=YEAR_LATER), granted("pool", 10))
    gone = (expired("pool", 10, "contract", YEAR_LATER), expired("late", 5, "contract"))
    given(CREDITS, *history).when(EndCredits()).then(*gone)
    given(CREDITS, *history + gone).when(EndCredits()).then_nothing()
    given(CREDITS).when(EndCredits()).then_nothing()


def test_credits_of_a_contract_that_nobody_knows_are_refused() -> None:
    given(CREDITS).when(replace(grant("g", 5), customer="")).then_refused("contract-unknown")


# ── Who may be granted credits, and who may spend them ─────────────────────────────────────────────────


GONE = AccountClosed(account_id="ana", organisation_id="org", closed_by="ana")


@pytest.mark.parametrize("user", [None, account("ana", "other"), GONE])
def test_credits_of_ones_own_are_an_open_account_of_the_customers(user: Account | None) -> None:
    given(CREDITS).when(replace(grant("g", 10, "ana"), user=user)).then_refused(
        "user-unknown", because=(GONE,) if user is GONE else ()
    )


def test_after_the_contracts_end_nothing_is_granted_but_a_grant_sent_again_changes_nothing() -> None:
    late = replace(grant("g", 10), over=(SUSPENDED, ENDED))
    given(CREDITS).when(late).then_refused("contract-ended", because=[SUSPENDED, ENDED])
    given(CREDITS, granted("g", 10)).when(late).then_nothing()


def test_who_spends_credits_holds_a_seat_of_the_contract() -> None:
    free, bens = pool(), pool(seat("ben"), opened=OPENED.model_copy(update={"subscription_id": "t"}))
    given(CREDITS, granted("pool", 10)).when(replace(consume("x", 1), pools=(free, bens))).then_refused(
        "seat-needed", because=[free.opened, bens.opened]
    )


@pytest.mark.parametrize(("steps", "may"), [((EXPIRED,), True), ((EXPIRED, SUSPENDED), False)])
def test_after_the_term_while_the_seat_can_be_used(steps: tuple[seat_pool.Step, ...], may: bool) -> None:
    outcome = given(CREDITS, granted("pool", 10)).when(replace(consume("x", 1), pools=(pool(seat("ana"), *steps),)))
    if may:
        outcome.then(consumed("x", ("pool", 1)))
    else:
        outcome.then_refused("seat-needed", because=steps[-1:])


def test_not_before_the_subscriptions_first_day() -> None:
    first = NOW.date() + timedelta(days=31)
    seated = pool(seat("ana"), opened=OPENED.model_copy(update={"starts": first}))
    begins = datetime.combine(first, time(), UTC)
    command = replace(consume("x", 1, begins - timedelta(microseconds=1)), pools=(seated,))
    refused = given(CREDITS, granted("pool", 10)).when(command).then_refused("seat-needed", because=[seated.opened])
    assert "2026-12-22" in refused.reason
    given(CREDITS, granted("pool", 10)).when(replace(command, now=begins)).then(consumed("x", ("pool", 1)))


def test_a_consumption_sent_again_needs_no_seat() -> None:
    history = (granted("pool", 10), consumed("x", ("pool", 4)))
    given(CREDITS, *history).when(replace(consume("x", 4), pools=())).then_nothing()


def test_a_fold_copies_no_map_that_grows_with_the_ledger() -> None:
    """So that a contract with many consumptions loads in linear time."""
    number = 4000
    events: list[credits.Event] = [granted("g", number), *(consumed(f"x{n}", ("g", 1)) for n in range(number))]
    states = list(accumulate(events, credits.evolve, initial=credits.INITIAL))
    assert states[-1].lots["g"].remaining == 0 and len(states[-1].consumed) == number
    written = [
        copied(before.lots, after.lots) + copied(before.consumed, after.consumed) for before, after in pairwise(states)
    ]
    assert sum(written) <= number * (log2(number) + 2)


def test_many_grants_expire_without_a_look_at_all_of_them_for_each() -> None:
    history = [granted(f"g{n}", 1, expires=YEAR + timedelta(days=n % 3)) for n in range(1500)]
    gone = given(CREDITS, *history).when(EndCredits()).events
    assert len(gone) == 1500
    last_days = [event.next_expiry for event in gone if isinstance(event, CreditsExpired)]
    assert last_days[:2] == [YEAR, YEAR] and last_days[-1] is None and last_days[499] == YEAR + timedelta(days=1)
