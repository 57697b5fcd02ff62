"""A customer's acceptance of a partner, one stream per customer and partner.

The stream is `engagement-<customer>/<partner>`. A partner orders only for customers that have accepted it. Orders from
before engagements existed count as the acceptance, until the customer releases the partner.
"""

from dataclasses import dataclass
from typing import Annotated, TypeAlias, assert_never

from services.marketplace.domain import rules
from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import PartnerEngaged, PartnerReleased
from shared.events.fields import Identifier

Event: TypeAlias = PartnerEngaged | PartnerReleased


def engagement_key(customer: str, partner: str) -> str:
    """Return the stream's business key."""
    return f"{customer}/{partner}"


# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class NeverEngaged:
    """A customer and a partner without any event."""


@dataclass(frozen=True, slots=True)
class Engaged:
    """A partner that the customer has accepted."""

    engaged: PartnerEngaged


@dataclass(frozen=True, slots=True)
class Released:
    """A partner that the customer has released."""

    released: PartnerReleased


State: TypeAlias = NeverEngaged | Engaged | Released
INITIAL: State = NeverEngaged()


def evolve(_state: State, event: Event) -> State:
    """Return the state after `event`."""
    match event:
        case PartnerEngaged():
            return Engaged(event)
        case PartnerReleased():
            return Released(event)
        case unreachable:
            assert_never(unreachable)


# ── Rules that orders and subscriptions apply ──────────────────────────────────────────────────────────


def order_refused(state: State, *, ordered_before: bool) -> Rejected | None:
    """Return why the partner can't order for the customer; None when it can.

    Args:
        ordered_before: whether there is a subscription that the partner ordered for the customer. Without any event of
            the engagement, that order is older than engagements and counts as the acceptance.
    """
    match state:
        case Engaged():
            return None
        case Released(released):
            return partner_released(released)
        case NeverEngaged():
            if ordered_before:
                return None
            return Rejected(
                rules.PARTNER_NOT_ENGAGED,
                "The customer has not accepted your organisation as its partner.",
                "Ask the customer to engage you (PUT /partners/{partner}, with your organisation's id), then order.",
            )
        case unreachable:
            assert_never(unreachable)


def partner_released(released: PartnerReleased) -> Rejected:
    """Return the refusal of an order or a change by a partner that the customer has released."""
    return Rejected(
        rules.PARTNER_NOT_ENGAGED,
        "The customer has released this partner: it supports what it ordered before, and orders or changes nothing.",
        "The customer can engage it again (PUT /partners/{partner}).",
        because=(released,),
    )


def release_of(state: State) -> PartnerReleased | None:
    """Return the event that released the partner; None where the customer has not released it."""
    return state.released if isinstance(state, Released) else None


def may_not_engage(*, customer: bool, entitled: bool) -> Rejected | None:
    """Return why a person may neither engage nor release partners; None when the person may.

    Args:
        customer: whether the person's organisation is a customer.
        entitled: whether the person manages the organisation's people or is Contract Manager of a contract.
    """
    if not customer:
        return Rejected(
            rules.MAY_NOT_ENGAGE,
            "Only customers engage and release partners.",
            "Ask the customer to do it.",
        )
    if not entitled:
        return Rejected(
            rules.MAY_NOT_ENGAGE,
            "Partners are engaged and released by the organisation's first account, by those whom it has named, and by "
            "the Contract Managers.",
            "Ask one of them.",
        )
    return None


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class EngagePartner:
    """Accept a partner, which may order for the caller's organisation from now on."""

    partner: Identifier
    customer: Annotated[str, SUPPLIED]
    engaged_by: Annotated[str, SUPPLIED]
    is_partner: Annotated[bool, SUPPLIED] = False
    """Whether a partner organisation with this id is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleasePartner:
    """Release a partner. What it ordered before goes on, and it supports that until it ends."""

    partner: Identifier
    customer: Annotated[str, SUPPLIED]
    released_by: Annotated[str, SUPPLIED]
    ordered_before: Annotated[bool, SUPPLIED] = False
    """Whether there is a subscription that the partner ordered for the customer."""


Command: TypeAlias = EngagePartner | ReleasePartner


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal."""
    match command:
        case EngagePartner():
            return _engage(command, state)
        case ReleasePartner():
            return _release(command, state)
        case unreachable:
            assert_never(unreachable)


def _engage(command: EngagePartner, state: State) -> Decision[Event]:
    if isinstance(state, Engaged):
        return ()
    if not command.is_partner:
        return Rejected(
            rules.PARTNER_UNKNOWN,
            f"No partner {command.partner[:40]!r} is known here.",
            "Check the id. A partner that signed up a moment ago is known in a few seconds: send a new request then.",
        )
    return (PartnerEngaged(customer=command.customer, partner=command.partner, engaged_by=command.engaged_by),)


def _release(command: ReleasePartner, state: State) -> Decision[Event]:
    if isinstance(state, Released):
        return ()
    if isinstance(state, NeverEngaged) and not command.ordered_before:
        return Rejected(
            rules.PARTNER_UNKNOWN,
            f"The organisation has not engaged a partner {command.partner[:40]!r}.",
            "Check the id (GET /partners lists the organisation's partners).",
        )
    return (PartnerReleased(customer=command.customer, partner=command.partner, released_by=command.released_by),)


ENGAGEMENT = Stream(
    category="engagement", initial=INITIAL, evolve=evolve, decide=decide, tenant=lambda event: event.customer
)
