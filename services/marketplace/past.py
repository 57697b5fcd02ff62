"""A subscription as it was, from its own events.

The fold makes the same view as the tables of `projections.py` do for the present;
`tests/services/test_as_of.py` compares the two after each step of a subscription's life.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import reduce
from typing import TypeAlias, assert_never

from services.marketplace.domain import auto_renew, subscription
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.terms import still_owed, term_of, zone_of
from services.marketplace.views import AutoRenewView, ChargeView, SubscriptionView, TermView, charge_views, plan_view
from shared import days
from shared.events import (
    AutoRenewDisabled,
    AutoRenewDisableRefused,
    AutoRenewDisableRequested,
    Instalment,
    RenewalReminded,
    SeatDecreaseScheduled,
    SeatsAdded,
    SeatsRequestConfirmed,
    SeatsRequestDeclined,
    SeatsRequested,
    SubscriptionConfirmed,
    SubscriptionEnded,
    SubscriptionOrderAbandoned,
    SubscriptionOrdered,
    SubscriptionOrderFailed,
    SubscriptionRenewed,
)
from shared.runtime.as_of import Past

PolicyOf: TypeAlias = Callable[[str], Policy]
"""Returns the policy of a publisher."""


def subscription_then(
    past: Past[subscription.State, subscription.Event], policy_of: PolicyOf, names: Mapping[str, str]
) -> SubscriptionView:
    """Return the view of a subscription at a time in the past.

    Args:
        names: The names of its partner and its customer, by organisation.
    """
    (first, *later) = (happened.event for happened in past.events)
    if not isinstance(first, SubscriptionOrdered):
        raise TypeError(f"a subscription begins with its order, not with {first.type()}")
    view = reduce(lambda view, event: _after(view, event, policy_of), later, _ordered(first, policy_of, names))
    today = days.day_of(past.now, view.time_zone)
    return view.model_copy(
        update={
            "instalments": charge_views(view.instalments, today),
            "still_owed": still_owed(view.instalments, view.total.currency, today),
            "auto_renew": view.auto_renew and _in_time(view.auto_renew, past.now),
        }
    )


def _ordered(event: SubscriptionOrdered, policy_of: PolicyOf, names: Mapping[str, str]) -> SubscriptionView:
    return SubscriptionView(
        subscription_id=event.subscription_id,
        status="awaiting",
        failure_reason=None,
        abandoned=None,
        publisher_reference=None,
        cart_id=event.cart_id,
        contract_id=event.contract_id,
        partner=event.partner,
        partner_name=names[event.partner],
        customer=event.customer,
        customer_name=names[event.customer],
        purchaser=event.purchaser,
        plan=plan_view(event.plan, policy_of(event.plan.publisher)),
        seats=event.seats,
        seats_next_term=None,
        total=event.total,
        csn=event.csn,
        starts=event.starts,
        time_zone=zone_of(event),
        term=None,
        auto_renew=None,
        instalments=[],
        still_owed=still_owed((), event.total.currency, event.starts),
    )


def _after(view: SubscriptionView, event: subscription.Event, policy_of: PolicyOf) -> SubscriptionView:
    """Return the view after `event`."""
    changes: dict[str, object] = {}
    match event:
        case SubscriptionOrdered():
            changes = {"status": "awaiting", "failure_reason": None, "seats": event.seats, "total": event.total}
            changes |= {"starts": event.starts, "csn": event.csn}
        case SubscriptionOrderFailed():
            changes = {"status": "failed", "failure_reason": event.reason}
        case SubscriptionOrderAbandoned():
            changes = {"status": "abandoned", "abandoned": event}
        case SubscriptionConfirmed():
            changes = {"status": "confirmed", "publisher_reference": event.publisher_reference}
            changes |= {"starts": event.starts, "seats_next_term": view.seats}
            changes |= _term(view, event)
        case SubscriptionRenewed():
            changes = {"plan": plan_view(event.plan, policy_of(event.plan.publisher)), "seats": event.seats}
            changes |= {"seats_next_term": event.seats, "total": event.total}
            changes |= _term(view, event)
        case SubscriptionEnded():
            changes = {"status": "ended"}
        case SeatsAdded():
            changes = {"seats": event.seats, "seats_next_term": event.seats}
            changes |= {"total": view.total + event.instalment.amount}
            changes |= {"instalments": [*view.instalments, *_charges([event.instalment])]}
        case SeatDecreaseScheduled():
            changes = {"seats_next_term": event.seats}
        case RenewalReminded() | AutoRenewDisableRequested() | AutoRenewDisableRefused() | AutoRenewDisabled():
            changes = {"auto_renew": view.auto_renew and _auto_renew(view.auto_renew, event)}
        case SeatsRequested() | SeatsRequestConfirmed() | SeatsRequestDeclined():
            pass
        case unreachable:
            assert_never(unreachable)
    return view.model_copy(update=changes)


def _term(view: SubscriptionView, event: SubscriptionConfirmed | SubscriptionRenewed) -> dict[str, object]:
    """Return what changes as a term begins."""
    term = term_of(event)
    if view.auto_renew is None:
        renewal = AutoRenewView(
            state="on", cancel_by=event.cancel_by, in_time=True, ends=None, reminded=[], asked=None, refused=None
        )
    else:
        renewal = view.auto_renew.model_copy(update={"cancel_by": event.cancel_by, "reminded": []})
    return {
        "term": TermView(number=term.number, starts=event.starts, ends=event.ends),
        "time_zone": term.time_zone,
        "auto_renew": renewal,
        "instalments": [*view.instalments, *_charges(event.instalments)],
    }


def _charges(parts: Sequence[Instalment]) -> list[ChargeView]:
    """Return the views of instalments; the day is compared once all events are folded."""
    return charge_views(parts, date.min)


def _auto_renew(
    view: AutoRenewView,
    event: RenewalReminded | AutoRenewDisableRequested | AutoRenewDisableRefused | AutoRenewDisabled,
) -> AutoRenewView:
    match event:
        case RenewalReminded(days_before=before):
            changes: dict[str, object] = {"reminded": sorted({*view.reminded, before}, reverse=True)}
        case AutoRenewDisableRequested():
            changes = {"state": "asked", "asked": event, "refused": None}
        case AutoRenewDisableRefused():
            changes = {"state": "on", "refused": event}
        case AutoRenewDisabled(ends=ends):
            changes = {"state": "off", "ends": ends, "refused": None}
        case unreachable:
            assert_never(unreachable)
    return view.model_copy(update=changes)


def _in_time(view: AutoRenewView, now: datetime) -> AutoRenewView:
    return view.model_copy(update={"in_time": auto_renew.is_in_time(view.cancel_by, now)})
