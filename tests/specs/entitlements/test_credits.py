"""Given what happened to a contract's credits, when a command comes, then facts or a refusal."""

from dataclasses import replace
from datetime import UTC, date, datetime
from functools import reduce

import pytest

from services.entitlements.domain.credits import (
    CREDITS,
    INITIAL,
    Command,
    ConsumeCredits,
    EndCredits,
    Event,
    ExpireCredits,
    GrantCredits,
    evolve,
)
from services.entitlements.domain.policy import Policy
from shared.eventlog.decision import Decision, Rejected
from shared.events import CreditDraw, CreditsConsumed, CreditsExpired, CreditsGranted

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = datetime(2026, 12, 1, tzinfo=UTC)
YEAR, YEAR_LATER = date(2027, 11, 20), date(2027, 11, 30)


def grant(grant_id: str, amount: int, account_id: str | None = None, now: datetime = NOW) -> GrantCredits:
    return GrantCredits("c", grant_id, amount, "org", "publisher", now, account_id=account_id)


def granted(
    grant_id: str, amount: int, account_id: str | None = None, expires: date = YEAR, following: date | None = YEAR
) -> CreditsGranted:
    return CreditsGranted(
        contract_id="c", customer="org", grant_id=grant_id, account_id=account_id, amount=amount, expires_on=expires,
        granted_by="publisher", next_expiry=following,
    )  # fmt: skip


def consume(consumption_id: str, amount: int, now: datetime = NOW, account_id: str = "ana") -> ConsumeCredits:
    return ConsumeCredits("c", consumption_id, amount, now, account_id, "rendering")


def consumed(consumption_id: str, *drawn: tuple[str, int], following: date | None = YEAR) -> CreditsConsumed:
    return CreditsConsumed(
        contract_id="c", customer="org", consumption_id=consumption_id, account_id="ana", purpose="rendering",
        amount=sum(amount for _, amount in drawn), next_expiry=following,
        drawn=tuple(CreditDraw(grant_id=grant_id, amount=amount) for grant_id, amount in drawn),
    )  # fmt: skip


def expired(grant_id: str, amount: int, reason: str = "time", following: date | None = None) -> CreditsExpired:
    return CreditsExpired.model_validate(
        {"contract_id": "c", "customer": "org", "grant_id": grant_id, "account_id": None, "amount": amount,
         "reason": reason, "next_expiry": following}
    )  # fmt: skip


def when(command: Command, *, given: tuple[Event, ...]) -> Decision[Event]:
    return CREDITS.decide(command, reduce(evolve, given, INITIAL))


def test_credits_are_granted_to_the_pool_or_a_user_for_12_months() -> None:
    assert when(grant("g", 10), given=()) == (granted("g", 10),)
    assert when(grant("g", 10, "ana"), given=()) == (granted("g", 10, "ana"),)
    leap = when(grant("g", 10, now=datetime(2028, 2, 29, tzinfo=UTC)), given=())
    assert leap == (granted("g", 10, expires=date(2029, 2, 27), following=date(2029, 2, 27)),)


def test_how_long_is_policy() -> None:
    monthly = GrantCredits("c", "g", 10, "org", "publisher", NOW, Policy(credit_months=1))
    assert when(monthly, given=()) == (granted("g", 10, expires=date(2026, 12, 20), following=date(2026, 12, 20)),)


def test_a_grant_sent_again_changes_nothing_and_its_id_stands_for_no_other() -> None:
    assert when(grant("g", 10, now=LATER), given=(granted("g", 10),)) == ()
    for other in (grant("g", 11), grant("g", 10, "ana")):
        refused = when(other, given=(granted("g", 10),))
        assert isinstance(refused, Rejected)
        assert (refused.rule, refused.because) == ("grant-id-reused", (granted("g", 10),))


def test_a_users_own_credits_are_spent_first_then_the_pools_by_earliest_expiry() -> None:
    given = (
        granted("pool-late", 10, expires=YEAR_LATER, following=YEAR_LATER), granted("pool", 10),
        granted("own", 3, "ana"), granted("bens", 99, "ben"),
    )  # fmt: skip
    assert when(consume("x", 2), given=given) == (consumed("x", ("own", 2)),)
    assert when(consume("x", 15), given=given) == (consumed("x", ("own", 3), ("pool", 10), ("pool-late", 2)),)
    all_of_it = consumed("x", ("own", 3), ("pool", 10), ("pool-late", 10))
    assert when(consume("x", 23), given=given) == (all_of_it,), "ben's are ben's"


def test_of_a_users_own_the_earliest_expiry_first() -> None:
    given = (granted("late", 5, "ana", YEAR_LATER, YEAR_LATER), granted("early", 5, "ana"))
    assert when(consume("x", 6), given=given) == (consumed("x", ("early", 5), ("late", 1), following=YEAR_LATER),)


def test_no_overdraft() -> None:
    given = (granted("pool", 10), granted("own", 3, "ana"), granted("bens", 99, "ben"))
    refused = when(consume("x", 14), given=given)
    assert isinstance(refused, Rejected)
    assert (refused.rule, refused.because) == ("credits-exhausted", (given[1], given[0]))
    assert refused.reason == "14 credits are asked for; the user has 3 and the contract's pool 10."
    nothing = when(consume("x", 1), given=())
    assert isinstance(nothing, Rejected) and nothing.rule == "credits-exhausted"


def test_a_consumption_sent_again_changes_nothing_and_its_id_stands_for_no_other() -> None:
    given = (granted("pool", 10), consumed("x", ("pool", 4)))
    assert when(consume("x", 4, LATER), given=given) == ()
    for other in (consume("x", 5), consume("x", 4, account_id="ben")):
        refused = when(other, given=given)
        assert isinstance(refused, Rejected)
        assert (refused.rule, refused.because) == ("consumption-id-reused", given[1:])


def test_what_is_left_expires_after_its_last_day() -> None:
    given = (granted("pool", 10), consumed("x", ("pool", 4)), granted("late", 5, expires=YEAR_LATER))
    assert when(ExpireCredits(datetime(2027, 11, 20, 23, 59, tzinfo=UTC)), given=given) == ()
    gone = expired("pool", 6, following=YEAR_LATER)
    assert when(ExpireCredits(datetime(2027, 11, 21, tzinfo=UTC)), given=given) == (gone,)
    assert when(ExpireCredits(datetime(2027, 11, 21, tzinfo=UTC)), given=(*given, gone)) == ()
    assert when(ExpireCredits(datetime(2028, 1, 1, tzinfo=UTC)), given=given) == (gone, expired("late", 5))


def test_expired_credits_are_not_spent_though_the_timer_be_late() -> None:
    given = (granted("pool", 10), granted("late", 5, expires=YEAR_LATER))
    now = datetime(2027, 11, 21, tzinfo=UTC)
    spent = consumed("x", ("late", 5), following=None)
    assert when(consume("x", 5, now), given=given) == (expired("pool", 10, following=YEAR_LATER), spent)
    refused = when(consume("x", 6, now), given=given)
    assert isinstance(refused, Rejected) and refused.because == given[1:]


def test_with_the_contract_everything_ends() -> None:
    given = (granted("late", 5, expires=YEAR_LATER), granted("pool", 10))
    gone = (expired("pool", 10, "contract", YEAR_LATER), expired("late", 5, "contract"))
    assert when(EndCredits(), given=given) == gone
    assert when(EndCredits(), given=given + gone) == ()
    assert when(EndCredits(), given=()) == ()


@pytest.mark.parametrize("amount", [0, -1, 1_000_000_001])
def test_an_amount_is_a_sensible_number_from_one(amount: int) -> None:
    for command in (grant("g", amount), consume("x", amount)):
        refused = when(command, given=(granted("pool", 10),))
        assert isinstance(refused, Rejected) and refused.rule == "amount-out-of-range"


@pytest.mark.parametrize("text", ["", "\x00", "ä", "x" * 201])
def test_an_id_is_short_and_printable(text: str) -> None:
    for command in (grant(text, 1), consume(text, 1)):
        refused = when(command, given=(granted("pool", 10),))
        assert isinstance(refused, Rejected) and refused.rule == "malformed-text"


def test_a_purpose_is_printable() -> None:
    refused = when(ConsumeCredits("c", "x", 1, NOW, "ana", "\x00"), given=(granted("pool", 10),))
    assert isinstance(refused, Rejected) and refused.rule == "malformed-text"


def test_credits_of_a_contract_that_nobody_knows_are_refused() -> None:
    refusal = CREDITS.decide(replace(grant("g", 5), customer=""), INITIAL)
    assert isinstance(refusal, Rejected) and refusal.rule == "contract-unknown"
