"""Marketplace's timers: reminders, orders sent again, prices, the end of a term."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from services.marketplace.calendars import business_calendar
from services.marketplace.domain.auto_renew import AskAgain, DisableRequested
from services.marketplace.domain.order import Awaiting, OrderAgain
from services.marketplace.domain.plan import PLAN, BringPriceIn, plan_key, price_on
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.subscription import SUBSCRIPTION, CloseTerm, Live, Remind
from services.marketplace.domain.terms import term_ends, term_of
from shared import days
from shared.eventlog.deliver.projection import ReactionContext
from shared.eventlog.deliver.timers import Cancel, Change, Set, Timers
from shared.events import (
    AutoRenewDisabled,
    AutoRenewDisableRefused,
    AutoRenewDisableRequested,
    PlanListed,
    PlanPriceAnnounced,
    PlanWithdrawn,
    RenewalReminded,
    SubscriptionConfirmed,
    SubscriptionEnded,
    SubscriptionOrderAbandoned,
    SubscriptionOrdered,
    SubscriptionOrderFailed,
    SubscriptionRenewed,
    subjects,
)
from shared.events.envelope import Envelope
from shared.events.registry import MARKETPLACE
from shared.runtime.policies import policy_of

TIMERS = Timers(
    topics=(MARKETPLACE,),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.CARTS,
        *subjects.CSNS,
        *subjects.ENGAGEMENTS,
        *subjects.SEAT_NUMBERS,
        *subjects.SEATS_REQUESTS,
        PlanListed,
        PlanWithdrawn,
        RenewalReminded,
        SubscriptionOrderAbandoned,
    ),
)

# ── What sets them ─────────────────────────────────────────────────────────────────────────────────────


@TIMERS.on(SubscriptionOrdered)
def await_confirmation(event: SubscriptionOrdered, envelope: Envelope) -> Sequence[Change]:
    again = (event.ordered_at or envelope.time) + policy_of(Policy, event.plan.publisher).order_again_after
    return [Set("order-again", event.subscription_id, again, event.customer)]


@TIMERS.on(SubscriptionOrderFailed)
def stop_awaiting_confirmation(event: SubscriptionOrderFailed, _envelope: Envelope) -> Sequence[Change]:
    return [Cancel("order-again", event.subscription_id)]


@TIMERS.on(SubscriptionConfirmed)
@TIMERS.on(SubscriptionRenewed)
def schedule_term(event: SubscriptionConfirmed | SubscriptionRenewed, _envelope: Envelope) -> Sequence[Change]:
    key, zone = event.subscription_id, term_of(event).time_zone
    reminders = [
        Set(f"remind:{before}", key, days.begins(event.ends - timedelta(days=before), zone), event.customer)
        for before in policy_of(Policy, event.plan.publisher).reminder_days
    ]
    close = Set("close-term", key, days.ends(event.ends, zone), event.customer)
    return [Cancel("order-again", key), *reminders, close]


@TIMERS.on(AutoRenewDisableRequested)
def await_answer(event: AutoRenewDisableRequested, envelope: Envelope) -> Sequence[Change]:
    again = event.requested_at + policy_of(Policy, event.publisher or None).ask_again_after
    return [Set("ask-again", event.subscription_id, again, envelope.tenant)]


@TIMERS.on(AutoRenewDisabled)
@TIMERS.on(AutoRenewDisableRefused)
def settle_after_answer(event: AutoRenewDisabled | AutoRenewDisableRefused, envelope: Envelope) -> Sequence[Change]:
    """Close the term whose end waited for this answer; in any other case do nothing."""
    key = event.subscription_id
    return [Cancel("ask-again", key), Set("settle", key, envelope.time, envelope.tenant)]


@TIMERS.on(SubscriptionEnded)
def cancel_term_timers(event: SubscriptionEnded, _envelope: Envelope) -> Sequence[Change]:
    return [Cancel(name, event.subscription_id) for name in ("close-term", "ask-again", "settle")]


@TIMERS.on(PlanPriceAnnounced)
def schedule_price(event: PlanPriceAnnounced, envelope: Envelope) -> Sequence[Change]:
    key = plan_key(event.publisher, event.product_id)
    return [Set(f"new-price:{event.valid_from}", key, days.begins(event.valid_from, "UTC"), envelope.tenant)]


# ── What they become ───────────────────────────────────────────────────────────────────────────────────


async def _live(key: str, reach: ReactionContext) -> Live | None:
    state = await reach.log.state(SUBSCRIPTION, key)
    return state if isinstance(state, Live) else None


@TIMERS.fires("order-again", SUBSCRIPTION)
async def order_again(key: str, now: datetime, reach: ReactionContext) -> OrderAgain:
    state = await reach.log.state(SUBSCRIPTION, key)
    if not isinstance(state, Awaiting):
        return OrderAgain("", now)
    return OrderAgain(state.order.ref, now, policy_of(Policy, state.order.plan.publisher))


@TIMERS.fires("remind", SUBSCRIPTION)
async def remind(key: str, now: datetime, reach: ReactionContext) -> Remind:
    state = await _live(key, reach)
    return Remind(state.term.number, now, policy_of(Policy, state.term.plan.publisher)) if state else Remind(0, now)


@TIMERS.fires("ask-again", SUBSCRIPTION)
async def ask_again(key: str, now: datetime, reach: ReactionContext) -> AskAgain:
    state = await _live(key, reach)
    if not isinstance(state, DisableRequested):
        return AskAgain("", now)
    return AskAgain(state.asked.ref, now, policy_of(Policy, state.term.plan.publisher))


@TIMERS.fires("new-price", PLAN)
async def bring_price_in(_key: str, now: datetime, _reach: ReactionContext) -> BringPriceIn:
    return BringPriceIn(now)


@TIMERS.fires("close-term", SUBSCRIPTION)
@TIMERS.fires("settle", SUBSCRIPTION)
async def close_term(key: str, now: datetime, reach: ReactionContext) -> CloseTerm:
    state = await _live(key, reach)
    if state is None:
        return CloseTerm(term=0, now=now, calendar=business_calendar("", "UTC", date(2000, 1, 1)), price=None)
    term = state.term
    listed = await reach.log.state(PLAN, plan_key(term.plan.publisher, term.plan.product_id))
    price = price_on(term.next_starts, listed)
    country = term.cancel_by.calendar
    calendar = business_calendar(country, term.cancel_by.time_zone, term_ends(state.confirmed.starts, term.number + 1))
    return CloseTerm(
        term=term.number, now=now, calendar=calendar, price=price, policy=policy_of(Policy, term.plan.publisher)
    )
