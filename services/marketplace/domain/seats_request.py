"""A customer's request for more seats, a part of the subscription's stream.

The Contract Manager asks the partner that ordered. The partner confirms in one step, by which the seats are added, or
declines. `subscription.py` decides whether seats can be added.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, TypeAlias

from services.marketplace.domain import rules
from services.marketplace.domain.checkout import seats_out_of_range
from services.marketplace.domain.engagement import partner_released
from services.marketplace.domain.policy import DEFAULT, Policy
from services.marketplace.domain.standing import INITIAL as NO_STANDING
from services.marketplace.domain.standing import State as Standing
from services.marketplace.domain.terms import Term
from shared.eventlog.decision import SUPPLIED, Decision, Rejected
from shared.events import (
    PartnerReleased,
    SeatsAdded,
    SeatsRequestConfirmed,
    SeatsRequestDeclined,
    SeatsRequested,
    SubscriptionConfirmed,
)
from shared.events.fields import Count, Identifier, Text

Event: TypeAlias = SeatsRequested | SeatsRequestConfirmed | SeatsRequestDeclined


def evolve(term: Term, event: Event) -> Term:
    """Return the term after `event`."""
    return replace(term, seats_request=event)


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestSeats:
    """Ask the partner for more seats: `seats` is the number of all that there shall be.

    A request with another number replaces an open one.
    """

    seats: Count
    requested_by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    released: Annotated[PartnerReleased | None, SUPPLIED] = None
    """The event by which the customer released the partner, if it did."""
    policy: Annotated[Policy, SUPPLIED] = DEFAULT


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfirmSeatsRequest:
    """Confirm a request for seats: they are added at once, as `ChangeSeats` adds them."""

    request: Identifier
    confirmed_by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    standing: Annotated[Standing, SUPPLIED] = NO_STANDING
    released: Annotated[PartnerReleased | None, SUPPLIED] = None
    """The event by which the customer released the partner, if it did."""
    policy: Annotated[Policy, SUPPLIED] = DEFAULT


@dataclass(frozen=True, kw_only=True, slots=True)
class DeclineSeatsRequest:
    """Decline a request for seats, with a reason for the customer."""

    request: Identifier
    reason: Text
    declined_by: Annotated[str, SUPPLIED]


Command: TypeAlias = RequestSeats | ConfirmSeatsRequest | DeclineSeatsRequest


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def request_seats(command: RequestSeats, confirmed: SubscriptionConfirmed, term: Term) -> Decision[SeatsRequested]:
    """Return the request, or why it is refused."""
    if command.released is not None:
        return partner_released(command.released)
    if not 1 <= command.seats <= command.policy.seats_at_most:
        return seats_out_of_range(command.policy)
    if command.seats <= term.seats:
        return Rejected(
            rules.NO_MORE_SEATS_REQUESTED,
            f"The subscription has {term.seats} seats already. A request says how many there shall be in all.",
            "Ask for more than that. Fewer seats take effect at the renewal: ask the partner to order fewer then.",
            because=(confirmed,),
        )
    open_request = open_seats_request(term)
    if open_request is not None and open_request.seats == command.seats:
        return ()
    request = SeatsRequested(
        subscription_id=confirmed.subscription_id,
        contract_id=confirmed.contract_id,
        partner=confirmed.partner,
        customer=confirmed.customer,
        seats=command.seats,
        requested_by=command.requested_by,
    )
    return (request,)


def open_seats_request(term: Term) -> SeatsRequested | None:
    """Return the request for seats that the partner has not answered, or None."""
    return term.seats_request if isinstance(term.seats_request, SeatsRequested) else None


def requested(command: ConfirmSeatsRequest | DeclineSeatsRequest, term: Term) -> SeatsRequested | Rejected | None:
    """Return the open request, or why it has no answer; None where it has this one already."""
    latest = term.seats_request
    match latest:
        case SeatsRequested() if latest.ref == command.request:
            return latest
        case SeatsRequestConfirmed(request=answered) if answered == command.request:
            if isinstance(command, ConfirmSeatsRequest):
                return None
            return _answered(latest, "confirmed")
        case SeatsRequestDeclined(request=answered) if answered == command.request:
            if isinstance(command, DeclineSeatsRequest):
                return None
            return _answered(latest, "declined")
        case _:
            return Rejected(
                rules.NO_SEATS_REQUEST,
                "There is no such open request for seats: a later one has replaced it, or it never was.",
                "See GET /seats-requests for the open ones.",
                because=(latest,) if latest is not None else (),
            )


def _answered(answer: SeatsRequestConfirmed | SeatsRequestDeclined, how: str) -> Rejected:
    return Rejected(
        rules.NO_SEATS_REQUEST,
        f"This request for seats was {how} already.",
        "Change the number of seats (PUT /subscriptions/{subscription_id}/seats), or wait for a new request.",
        because=(answer,),
    )


def decline(command: DeclineSeatsRequest, term: Term) -> Decision[SeatsRequestDeclined]:
    """Return the answer that declines the request, or why it is refused."""
    request = requested(command, term)
    if not isinstance(request, SeatsRequested):
        return () if request is None else request
    declined = SeatsRequestDeclined(
        subscription_id=request.subscription_id,
        partner=request.partner,
        customer=request.customer,
        request=request.ref,
        reason=command.reason,
        declined_by=command.declined_by,
    )
    return (declined,)


def with_confirmation(added: SeatsAdded, term: Term) -> tuple[SeatsAdded | SeatsRequestConfirmed, ...]:
    """Return the added seats, and the confirmation of the open request that they meet."""
    request = open_seats_request(term)
    if request is None or added.seats < request.seats:
        return (added,)
    return added, confirmation(request, added.seats, added.added_by)


def confirmation(request: SeatsRequested, seats: int, confirmed_by: str) -> SeatsRequestConfirmed:
    """Return the confirmation of a request that `seats` seats meet."""
    return SeatsRequestConfirmed(
        subscription_id=request.subscription_id,
        partner=request.partner,
        customer=request.customer,
        request=request.ref,
        seats=seats,
        confirmed_by=confirmed_by,
    )
