"""What holds in marketplace for any history: commands in any order, answers late, repeated and out of place."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from services.marketplace.domain import (
    auto_renew,
    cart,
    cart_state,
    engagement,
    order,
    plan,
    seats_request,
    standing,
    subscription,
)
from services.marketplace.domain.calendar import Calendar, cancel_by, last_permitted_day
from services.marketplace.domain.checkout import CheckOut
from services.marketplace.domain.plan_choice import AddToCart
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.terms import instalments, months_after, term_ends
from services.marketplace.domain.wizard import STEPS, Selection, Step, choices, remaining
from shared.eventlog.decision import Rejected
from shared.events import (
    CartCheckedOut,
    Event,
    HeldSeat,
    Money,
    OrderLine,
    Plan,
    SeatsAdded,
    SeatsRequestConfirmed,
    SeatsRequestDeclined,
    SeatsRequested,
    SubscriptionRenewed,
)
from tests.examples import marketplace as ex
from tests.properties.live import live, nothing_more

EPOCH = datetime(2026, 11, 23, 12, tzinfo=UTC)
times = st.integers(0, 500).map(lambda days: EPOCH + timedelta(days=days))
policies = st.builds(Policy, late_disable_auto_renew=st.sampled_from(["carry_over", "refuse"]))
publishers = st.sampled_from(["autodesk", "acme"])

PLANS = (ex.AUTOCAD, ex.AUTOCAD_MONTHLY, ex.LT, ex.LT_THREE_YEARS, ex.VAULT, ex.US_PLAN, ex.OTHERS_PLAN)
plans = st.sampled_from(PLANS)
standings = st.sampled_from([standing.INITIAL, ex.WITH_CSN])


# ── plan, standing ─────────────────────────────────────────────────────────────────────────────────────

_plan_words = st.one_of(
    st.builds(
        plan.ListPlan,
        st.builds(ex.plan, price=st.integers(0, 3), months=st.integers(1, 2)),
        publishers,
        times,
    ),
    st.builds(plan.WithdrawPlan, st.just(ex.AUTOCAD_ID), publishers, publishers, times),
    st.builds(
        plan.AnnouncePrice,
        product_id=st.just(ex.AUTOCAD_ID),
        publisher=publishers,
        price=st.builds(ex.euros, st.integers(0, 3)),
        valid_from=times.map(datetime.date),
        reported_by=publishers,
        said_at=times,
    ),
    st.builds(plan.BringPriceIn, times),
)


_AGAIN_FROM_THE_BEGINNING: list[plan.Command] = [
    plan.ListPlan(ex.plan(price=1, months=2), "autodesk", EPOCH + timedelta(days=1)),
    plan.AnnouncePrice(
        product_id=ex.AUTOCAD_ID,
        publisher="autodesk",
        price=ex.euros(0),
        valid_from=date(2026, 11, 25),
        reported_by="autodesk",
        said_at=EPOCH,
    ),
    plan.BringPriceIn(EPOCH + timedelta(days=2)),
    plan.ListPlan(ex.plan(price=0, months=2), "autodesk", EPOCH + timedelta(days=1)),
]  # the last one is compared with the price that the plan has had since its beginning


@given(st.lists(_plan_words, max_size=12))
@example(_AGAIN_FROM_THE_BEGINNING)
def test_plan_decisions_survive_a_retry(commands: list[plan.Command]) -> None:
    live(plan.PLAN, commands, nothing_more)


@given(st.lists(_plan_words, max_size=12), times, st.lists(times.map(datetime.date), min_size=1, max_size=5))
def test_bringing_a_price_in_changes_no_days_price(
    commands: list[plan.Command], now: datetime, some_days: list[date]
) -> None:
    state: plan.State = plan.INITIAL
    for command in [*commands, plan.BringPriceIn(now)]:
        before, decision = state, plan.decide(command, state)
        for event in () if isinstance(decision, Rejected) else decision:
            state = plan.evolve(state, event)
        if isinstance(command, plan.BringPriceIn):
            assert [plan.price_on(day, state) for day in some_days] == [plan.price_on(day, before) for day in some_days]
    if isinstance(state, plan.Listed):
        assert [p.first for p in state.prices] == sorted({p.first for p in state.prices})
        assert state.prices[0].first == date.min


_numbers = st.sampled_from(["1", "2"])
_csn_words = st.one_of(
    st.builds(
        standing.RecordCsn,
        csn=_numbers,
        organisation_id=st.just("p"),
        publisher=publishers,
        reported_by=publishers,
        said_at=times,
    ),
    st.builds(
        standing.RevokeCsn,
        csn=_numbers,
        organisation_id=st.just("p"),
        publisher=publishers,
        reason=st.just(""),
        reported_by=publishers,
        said_at=times,
    ),
)


@given(st.lists(_csn_words, max_size=12))
def test_standing_decisions_survive_a_retry(commands: list[standing.Command]) -> None:
    live(standing.STANDING, commands, nothing_more)


@given(st.permutations(list(range(5))), st.integers(1, 5))
def test_a_standing_does_not_depend_on_the_order_in_which_words_arrive(order: list[int], count: int) -> None:
    said: list[standing.Command] = [
        standing.RecordCsn(
            csn="1", organisation_id="p", publisher="acme", reported_by="acme", said_at=EPOCH + timedelta(hours=hour)
        )
        if hour % 2 == 0
        else standing.RevokeCsn(
            csn="1",
            organisation_id="p",
            publisher="acme",
            reason="",
            reported_by="acme",
            said_at=EPOCH + timedelta(hours=hour),
        )
        for hour in order
        if hour < count
    ]
    state: standing.State = standing.INITIAL
    for command in said:
        decision = standing.decide(command, state)
        if isinstance(decision, Rejected):
            assert decision.rule == "said-later"
            continue
        for event in decision:
            state = standing.evolve(state, event)
    assert (standing.valid_csn(state, "acme") is not None) == (count % 2 == 1)


# ── cart ───────────────────────────────────────────────────────────────────────────────────────────────

_right_starts = st.integers(0, 31).map(lambda days: EPOCH.date() + timedelta(days=days))
_starts = st.integers(-2, 40).map(lambda days: EPOCH.date() + timedelta(days=days))
_offered = st.sets(plans).map(lambda some: ex.listed(*some))
_by_id = st.builds(
    lambda chosen, seats: AddToCart(
        seats=seats, product_id=chosen.product_id, offers=ex.listed(chosen), standing=ex.WITH_CSN
    ),
    st.sampled_from([ex.AUTOCAD, ex.AUTOCAD_MONTHLY, ex.LT, ex.VAULT]),
    st.integers(1, 999),
)
_checkout = CheckOut(
    customer=ex.CUSTOMER,
    purchaser=ex.PURCHASER,
    starts=EPOCH.date(),
    ordered_by=ex.CLERK,
    now=EPOCH,
    subscription_ids=tuple(f"sub-{n}" for n in range(cart.LINES_AT_MOST)),
    purchaser_account=ex.PURCHASERS_ACCOUNT,
    engagement=ex.ACCEPTED,
    offered=ex.listed(*PLANS),
    standing=ex.WITH_CSN,
)
_awry = st.one_of(
    st.just(cart.OpenCart("cart-1", ex.PARTNER, ex.CLERK)),
    st.builds(
        lambda chosen, seats, who: AddToCart(
            seats=seats, product_id=chosen.product_id, offers=ex.listed(chosen), standing=who
        ),
        plans,
        st.integers(-1, 1001),
        standings,
    ),
    st.builds(
        lambda product, seats, who: AddToCart(seats=seats, product=product, offers=ex.listed(*PLANS), standing=who),
        st.sampled_from([p.product for p in PLANS]),
        st.integers(1, 5),
        standings,
    ),
    st.builds(
        lambda customer, starts, who, offered, account, accepted: replace(
            _checkout,
            customer=customer,
            starts=starts,
            standing=who,
            offered=offered,
            purchaser_account=account,
            engagement=accepted,
        ),
        st.sampled_from([ex.CUSTOMER, "other"]),
        _starts,
        standings,
        _offered,
        st.sampled_from([None, ex.PURCHASERS_ACCOUNT]),
        st.sampled_from([engagement.INITIAL, ex.ACCEPTED, engagement.Released(ex.RELEASED)]),
    ),
)
_cart_commands = st.one_of(
    _by_id,
    st.builds(cart.RemoveFromCart, st.integers(0, 4)),
    _awry,
    _right_starts.map(lambda starts: replace(_checkout, starts=starts)),
)


def _a_carts_invariants(state: cart_state.State, command: cart.Command) -> None:
    match state:
        case cart_state.OpenedCart(_, lines):
            held = [added.line for added in lines.values()]
            assert len({line.plan.product_id for line in held}) == len(held)
            assert len({(line.plan.publisher, line.plan.price.currency) for line in held}) <= 1
            assert all(1 <= line.seats <= 999 and line.plan.commitment_months == 12 for line in held)
        case cart_state.CheckedOut(_, order):
            _an_orders_invariants(order, command)
        case _:
            pass


def _an_orders_invariants(order: CartCheckedOut, command: cart.Command) -> None:
    assert order.lines
    assert order.total.amount == sum(line.total.amount for line in order.lines)
    assert all(line.total == line.plan.price.times(line.seats) for line in order.lines)
    assert len({line.subscription_id for line in order.lines}) == len(order.lines)
    assert EPOCH.date() <= order.starts <= EPOCH.date() + timedelta(days=31)
    if any(line.plan.category == "specialised" for line in order.lines):
        assert order.csn
    assert isinstance(command, CheckOut | cart.OpenCart)


@given(st.lists(_cart_commands, max_size=20).map(lambda some: [cart.OpenCart("cart-1", ex.PARTNER, ex.CLERK), *some]))
def test_cart_decisions_survive_a_retry_and_its_orders_add_up(commands: list[cart.Command]) -> None:
    live(cart.CART, commands, _a_carts_invariants)


# ── subscription ───────────────────────────────────────────────────────────────────────────────────────

_amounts = st.integers(0, 10_000_000)
_orders = st.builds(
    lambda plan_, seats, starts: CartCheckedOut(
        cart_id="cart-1",
        partner=ex.PARTNER,
        ordered_by=ex.CLERK,
        customer=ex.CUSTOMER,
        purchaser=ex.PURCHASER,
        starts=starts,
        csn="1",
        lines=(OrderLine(subscription_id="sub-1", plan=plan_, seats=seats, total=plan_.price.times(seats)),),
        total=plan_.price.times(seats),
    ),
    st.sampled_from([ex.AUTOCAD, ex.AUTOCAD_MONTHLY]),
    st.integers(1, 999),
    st.one_of(st.dates(date(2024, 1, 1), date(2032, 12, 31)), _right_starts),
)
_berlin = Calendar(id="DE", version="1", time_zone="Europe/Berlin")
_held = (HeldSeat(seat=1, account_id="designer-1", because="seat-1"),)


def _asked(state: subscription.State) -> str:
    return state.asked.ref if isinstance(state, auto_renew.DisableRequested) else "#0"


def _answers(state: subscription.State) -> Any:
    """Orders' events to answer: the right one, none in particular, or another."""
    return state.order.ref if isinstance(state, order.Awaiting | order.Failed) else ""


def _seats_asked(state: subscription.State) -> str:
    """The open request for seats, or one that was never made."""
    latest = state.term.seats_request if isinstance(state, subscription.Confirmed) else None
    return latest.ref if isinstance(latest, SeatsRequested) else "#99"


_releases = st.sampled_from([None, None, ex.RELEASED])
_later = st.datetimes(datetime(2026, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC))
_prices = st.one_of(st.none(), st.builds(Money, amount=_amounts, currency=st.sampled_from(["EUR", "USD"])))
_subscription_commands = st.one_of(
    st.builds(
        order.ConfirmOrder,
        reference=st.sampled_from(["A", "B"]),
        reported_by=st.just("autodesk"),
        calendar=st.just(_berlin),
    ),
    st.just(
        lambda state: order.ConfirmOrder(reference="A", reported_by="autodesk", calendar=_berlin, order=_answers(state))
    ),
    st.builds(
        order.ConfirmOrder,
        reference=st.just("A"),
        reported_by=publishers,
        calendar=st.just(_berlin),
        order=st.sampled_from(["", "#0", "#9"]),
    ),
    st.builds(order.FailOrder, st.just("no"), publishers, st.sampled_from(["", "#0", "#9"])),
    st.just(lambda state: order.FailOrder("no", "autodesk", _answers(state))),
    st.builds(
        order.Resubmit, ordered_by=st.just(ex.CLERK), now=st.just(EPOCH), starts=_starts, seats=st.integers(0, 1001)
    ),
    st.builds(
        order.Resubmit, ordered_by=st.just(ex.CLERK), now=st.just(EPOCH), starts=_right_starts, seats=st.integers(1, 9)
    ),
    st.builds(order.Resubmit, ordered_by=st.just(ex.CLERK), now=times),
    st.just(order.AbandonOrder(abandoned_by=ex.CLERK)),
    st.builds(order.Resubmit, ordered_by=st.just(ex.CLERK), now=times, starts=_right_starts, seats=st.integers(1, 9)),
    times.map(lambda now: lambda state: order.OrderAgain(_answers(state), now)),
    st.builds(auto_renew.DisableAutoRenew, st.just("somebody"), times, policies),
    st.just(lambda state: auto_renew.RecordPoolCleared(_asked(state))),
    st.just(lambda state: auto_renew.RecordPoolHeld(_asked(state), _held)),
    st.builds(auto_renew.RecordPoolCleared, st.sampled_from(["#0", "#2", "#3"])),
    st.just(subscription.RequestRefund()),
    st.builds(
        subscription.ChangeSeats, seats=st.integers(0, 1001), changed_by=st.just("clerk"), now=times, standing=standings
    ),
    st.builds(
        seats_request.RequestSeats,
        seats=st.integers(0, 1001),
        requested_by=st.just("mina"),
        now=times,
        released=_releases,
    ),
    st.builds(
        lambda now, released, who: (
            lambda state: seats_request.ConfirmSeatsRequest(
                request=_seats_asked(state), confirmed_by="clerk", now=now, released=released, standing=who
            )
        ),
        times,
        _releases,
        standings,
    ),
    st.just(
        lambda state: seats_request.DeclineSeatsRequest(request=_seats_asked(state), reason="no", declined_by="clerk")
    ),
    st.builds(subscription.Remind, st.integers(1, 3), _later),
    st.builds(subscription.CloseTerm, term=st.integers(1, 3), now=_later, calendar=st.just(_berlin), price=_prices),
    st.just(lambda state: auto_renew.AskAgain(_asked(state), EPOCH + timedelta(days=1))),
)


_accepted = order.ConfirmOrder(reference="A", reported_by="autodesk", calendar=_berlin)
_beginnings: st.SearchStrategy[list[Any]] = st.sampled_from(
    [
        [],
        [_accepted],
        [_accepted, auto_renew.DisableAutoRenew("somebody", EPOCH)],
        [order.FailOrder("no", "autodesk")],
    ]
)


def _a_subscriptions_invariants(state: subscription.State, _command: subscription.Command) -> None:
    if isinstance(state, auto_renew.Running | auto_renew.DisableRequested | auto_renew.NonRenewing):
        confirmed, term = state.confirmed, state.term
        assert 1 <= term.next_seats <= term.seats <= 999
        assert term.ends == term_ends(confirmed.starts, term.number)
        assert [part.number for part in term.instalments] == list(range(1, len(term.instalments) + 1))
        first = sum(part.amount.amount for part in term.instalments[: 12 if term.plan.billing == "instalments" else 1])
        assert first % term.plan.price.amount == 0 if term.plan.price.amount else first == 0
        assert all(part.amount.amount >= 0 and part.due <= term.ends for part in term.instalments)
        assert sum(part.amount.amount for part in confirmed.instalments) == confirmed.total.amount
        assert confirmed.starts < confirmed.cancel_by.last_day < confirmed.ends
    if isinstance(state, auto_renew.NonRenewing):
        following = (term_ends(state.confirmed.starts, state.term.number + n) for n in (-1, 0, 1))
        assert state.off.ends in following


def _each_request_has_one_answer(history: list[Event]) -> None:
    requests = {event.ref: event for event in history if isinstance(event, SeatsRequested)}
    answers = [event for event in history if isinstance(event, SeatsRequestConfirmed | SeatsRequestDeclined)]
    assert len({answer.request for answer in answers}) == len(answers)
    for answer in answers:
        if isinstance(answer, SeatsRequestConfirmed):
            assert answer.seats >= requests[answer.request].seats
            before = history[history.index(answer) - 1]
            assert isinstance(before, SeatsAdded) and before.seats == answer.seats


@given(_orders, _beginnings, st.lists(_subscription_commands, min_size=3, max_size=25))
def test_subscription_decisions_survive_a_retry_and_off_is_final(
    checked_out: CartCheckedOut, beginning: list[Any], rest: list[Any]
) -> None:
    commands = [*order.orders(checked_out, EPOCH), *beginning, *rest]
    history = live(subscription.SUBSCRIPTION, commands, _a_subscriptions_invariants)
    kinds = [event.type() for event in history]
    assert kinds.count("SubscriptionConfirmed") <= 1
    assert kinds.count("AutoRenewDisabled") <= 1
    if "SubscriptionOrderAbandoned" in kinds:
        assert kinds[-2:] == ["SubscriptionOrderFailed", "SubscriptionOrderAbandoned"]
    if "AutoRenewDisabled" in kinds:
        after = kinds[kinds.index("AutoRenewDisabled") + 1 :]
        requests = {"SeatsRequested", "SeatsRequestConfirmed", "SeatsRequestDeclined"}
        rest_of_it = {"SeatsAdded", "SeatDecreaseScheduled", "SubscriptionRenewed", "SubscriptionEnded"}
        assert set(after) <= requests | rest_of_it
        assert after.count("SubscriptionRenewed") <= 1, "a late request binds the next term, and no more"
    if "SubscriptionEnded" in kinds:
        assert kinds[-1] == "SubscriptionEnded"
    _each_request_has_one_answer(history)
    renewals = [event for event in history if isinstance(event, SubscriptionRenewed)]
    assert [event.term for event in renewals] == list(range(2, len(renewals) + 2))
    for event in renewals:
        assert sum(part.amount.amount for part in event.instalments) == event.total.amount
        assert event.total == event.plan.price.times(event.seats)
    price = checked_out.lines[0].plan.price.amount
    for added in history:
        if isinstance(added, SeatsAdded) and added.term == 1:
            assert 0 < added.instalment.amount.amount <= added.added * price


# ── dates and money ────────────────────────────────────────────────────────────────────────────────────

days = st.dates(date(2020, 1, 1), date(2080, 12, 31))


@given(_amounts, days)
def test_instalments_add_up_and_fall_due_within_the_term_in_order(amount: int, starts: date) -> None:
    parts = instalments(Money(amount=amount, currency="EUR"), starts, "instalments")
    assert sum(part.amount.amount for part in parts) == amount
    assert max(part.amount.amount for part in parts) - min(part.amount.amount for part in parts) <= 1
    due = [part.due for part in parts]
    assert due[0] == starts
    assert due == sorted(set(due))
    assert due[-1] < term_ends(starts)


@given(days, st.integers(1, 12))
def test_terms_follow_each_other_without_gap_or_overlap(starts: date, term: int) -> None:
    next_starts = term_ends(starts, term) + timedelta(days=1)
    assert next_starts == months_after(starts, 12 * term)
    assert 364 <= (term_ends(starts, term + 1) - next_starts).days <= 365


_calendars = st.builds(
    Calendar,
    id=st.just("drawn"),
    version=st.just("1"),
    time_zone=st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu"]),
    holidays=st.frozensets(st.dates(date(2026, 11, 1), date(2027, 2, 1)), max_size=20),
    working_days=st.frozensets(st.dates(date(2026, 11, 1), date(2027, 2, 1)), max_size=5),
)


@given(_calendars, st.dates(date(2026, 12, 15), date(2027, 2, 1)), st.integers(1, 10))
def test_exactly_so_many_business_days_lie_from_the_last_permitted_day_to_the_end(
    calendar: Calendar, ends: date, business_days: int
) -> None:
    last = last_permitted_day(ends, calendar, business_days)
    between = [last + timedelta(days=n) for n in range((ends - last).days)]
    assert calendar.works(last)
    assert sum(calendar.works(day) for day in between) == business_days
    deadline = cancel_by(ends, calendar, business_days).deadline
    assert timedelta(hours=8) < deadline - datetime(last.year, last.month, last.day, tzinfo=UTC) < timedelta(hours=40)


# ── wizard ─────────────────────────────────────────────────────────────────────────────────────────────

_some_plans = st.lists(plans, max_size=7, unique=True)


@given(_some_plans, st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9)), max_size=6))
def test_whoever_follows_the_wizards_choices_always_keeps_a_plan(
    offered: list[Plan], walk: list[tuple[Step, int]]
) -> None:
    selection = Selection()
    for step, pick in walk:
        shown = choices(offered, selection, step)
        if not shown:
            assert not offered
            continue
        chosen = {name: selection.chosen(name) for name in STEPS} | {step: shown[pick % len(shown)]}
        selection = Selection(**chosen)
        assert remaining(offered, selection)
