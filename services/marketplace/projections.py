"""marketplace's read models, and the lookups of routes in them."""

from collections.abc import Sequence
from typing import Final

from services.marketplace.domain.checkout import Account
from services.marketplace.domain.terms import term_of, zone_of
from shared.eventlog.deliver.projection import Connection, Projection
from shared.events import (
    AccountClosed,
    AccountOpened,
    AutoRenewDisabled,
    AutoRenewDisableRefused,
    AutoRenewDisableRequested,
    CartCheckedOut,
    CartDiscarded,
    CartLineAdded,
    CartLineRemoved,
    CartOpened,
    ClockMoved,
    ContractOpened,
    CsnIssued,
    CsnRevoked,
    Instalment,
    PartnerEngaged,
    PartnerReleased,
    PeopleAdministratorNamed,
    PeopleAdministratorRemoved,
    Plan,
    PlanListed,
    PlanPriceAnnounced,
    PlanWithdrawn,
    PoolCsnNoted,
    ProfileUpdated,
    RenewalReminded,
    SeatAssigned,
    SeatDecreaseScheduled,
    SeatsAdded,
    SeatsRequestConfirmed,
    SeatsRequestDeclined,
    SeatsRequested,
    SeatUnassigned,
    SubscriptionConfirmed,
    SubscriptionEnded,
    SubscriptionOrderAbandoned,
    SubscriptionOrdered,
    SubscriptionOrderFailed,
    SubscriptionRenewed,
    subjects,
)
from shared.events.envelope import Envelope
from shared.events.registry import ENTITLEMENTS, IDENTITY, MARKETPLACE
from shared.sql import Queryable, statements

SQL: Final = statements(__file__)

CATALOGUE = Projection(
    "catalogue",
    topics=(MARKETPLACE,),
    ignores=(*subjects.OPERATIONS, *subjects.SALES, PlanPriceAnnounced),
    tables=("catalogue", "standings"),
)
SALES = Projection(
    "sales",
    topics=(MARKETPLACE, ENTITLEMENTS),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.CSNS,
        *subjects.PLANS,
        *subjects.CREDITS,
        *subjects.POOLS,
        *subjects.POOL_ANSWERS,
        *subjects.UPDATE_RIGHTS,
        PoolCsnNoted,
    ),
    tables=(
        "engagements",
        "carts",
        "cart_lines",
        "subscriptions",
        "instalments",
        "reminders",
        "held_seats",
        "seats_requests",
    ),
)
PEOPLE = Projection(
    "people",
    topics=(IDENTITY,),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.AGREEMENTS,
        *subjects.INVITATIONS,
        *subjects.MACHINES,
        *subjects.WEBHOOKS,
        *subjects.PREFERENCES,
        *subjects.PROOFS,
        *subjects.ROLES,
        *subjects.SESSIONS,
        ClockMoved,
        ContractOpened,
    ),
    tables=("people", "organisations"),
)

# ── Catalogue and standing ─────────────────────────────────────────────────────────────────────────────


@CATALOGUE.on(PlanListed)
async def plan_listed(tx: Connection, event: PlanListed, envelope: Envelope) -> None:
    plan = event.plan
    await tx.execute(
        SQL["list_plan"],
        plan.product_id,
        plan.publisher,
        envelope.id,
        plan.model_dump_json(),
        plan.product,
        plan.period,
        plan.support,
        plan.billing,
        plan.category,
        plan.commitment_months,
    )


@CATALOGUE.on(PlanWithdrawn)
async def plan_withdrawn(tx: Connection, event: PlanWithdrawn, envelope: Envelope) -> None:
    await tx.execute(SQL["withdraw_plan"], event.product_id, event.publisher, envelope.id)


@CATALOGUE.on(CsnIssued)
async def csn_issued(tx: Connection, event: CsnIssued, envelope: Envelope) -> None:
    await _csn(tx, event, "", envelope)


@CATALOGUE.on(CsnRevoked)
async def csn_revoked(tx: Connection, event: CsnRevoked, envelope: Envelope) -> None:
    await _csn(tx, event, event.reason, envelope)


async def _csn(tx: Connection, event: CsnIssued | CsnRevoked, reason: str, envelope: Envelope) -> None:
    await tx.execute(
        SQL["set_standing"],
        event.organisation_id,
        event.publisher,
        event.csn,
        isinstance(event, CsnIssued),
        event.said_at,
        reason,
        envelope.id,
    )


# ── People ─────────────────────────────────────────────────────────────────────────────────────────────


@PEOPLE.on(AccountOpened)
async def account_opened(tx: Connection, event: AccountOpened, envelope: Envelope) -> None:
    await tx.execute(
        SQL["open_account"],
        event.account_id,
        event.organisation_id,
        event.organisation_name,
        event.organisation_kind,
        event.country,
        event.time_zone,
        event.opened_at,
        envelope.id,
    )


@PEOPLE.on(AccountClosed)
async def account_closed(tx: Connection, event: AccountClosed, envelope: Envelope) -> None:
    await tx.execute(SQL["close_account"], event.account_id, envelope.id)


@PEOPLE.on(ProfileUpdated)
async def profile_updated(tx: Connection, event: ProfileUpdated, _envelope: Envelope) -> None:
    await tx.execute(SQL["move_account"], event.account_id, event.country, event.time_zone)


@PEOPLE.on(PeopleAdministratorNamed)
async def people_administrator_named(tx: Connection, event: PeopleAdministratorNamed, _envelope: Envelope) -> None:
    await tx.execute(SQL["set_administrator"], event.account_id, True)


@PEOPLE.on(PeopleAdministratorRemoved)
async def people_administrator_removed(tx: Connection, event: PeopleAdministratorRemoved, _envelope: Envelope) -> None:
    await tx.execute(SQL["set_administrator"], event.account_id, False)


# ── Partners and their customers ───────────────────────────────────────────────────────────────────────


@SALES.on(PartnerEngaged)
async def partner_engaged(tx: Connection, event: PartnerEngaged, envelope: Envelope) -> None:
    await tx.execute(SQL["engage"], event.customer, event.partner, envelope.time, envelope.id)


@SALES.on(PartnerReleased)
async def partner_released(tx: Connection, event: PartnerReleased, envelope: Envelope) -> None:
    await tx.execute(SQL["release"], event.customer, event.partner, envelope.time, envelope.id)


@SALES.on(SeatsRequested)
async def seats_requested(tx: Connection, event: SeatsRequested, envelope: Envelope) -> None:
    await tx.execute(SQL["close_seats_request"], event.subscription_id, "replaced", "", event.requested_by)
    await tx.execute(
        SQL["add_seats_request"],
        envelope.id,
        event.subscription_id,
        event.customer,
        event.partner,
        event.seats,
        event.requested_by,
        envelope.time,
    )


@SALES.on(SeatsRequestConfirmed)
async def seats_request_confirmed(tx: Connection, event: SeatsRequestConfirmed, _envelope: Envelope) -> None:
    await tx.execute(SQL["close_seats_request"], event.subscription_id, "confirmed", "", event.confirmed_by)


@SALES.on(SeatsRequestDeclined)
async def seats_request_declined(tx: Connection, event: SeatsRequestDeclined, _envelope: Envelope) -> None:
    await tx.execute(SQL["close_seats_request"], event.subscription_id, "declined", event.reason, event.declined_by)


# ── Carts ──────────────────────────────────────────────────────────────────────────────────────────────


@SALES.on(CartOpened)
async def cart_opened(tx: Connection, event: CartOpened, envelope: Envelope) -> None:
    await tx.execute(SQL["open_cart"], event.cart_id, event.partner, event.opened_by, envelope.time)


@SALES.on(CartLineAdded)
async def cart_line_added(tx: Connection, event: CartLineAdded, envelope: Envelope) -> None:
    line = event.line
    await tx.execute(SQL["set_line"], event.cart_id, line.line, line.plan.model_dump_json(), line.seats, envelope.time)


@SALES.on(CartLineRemoved)
async def cart_line_removed(tx: Connection, event: CartLineRemoved, envelope: Envelope) -> None:
    await tx.execute(SQL["remove_line"], event.cart_id, event.line, envelope.time)


@SALES.on(CartCheckedOut)
async def cart_checked_out(tx: Connection, event: CartCheckedOut, envelope: Envelope) -> None:
    await tx.execute(SQL["check_out"], event.cart_id, event.data().decode(), envelope.time)


@SALES.on(CartDiscarded)
async def cart_discarded(tx: Connection, event: CartDiscarded, envelope: Envelope) -> None:
    await tx.execute(SQL["discard_cart"], event.cart_id, envelope.time)


# ── Subscriptions ──────────────────────────────────────────────────────────────────────────────────────


@SALES.on(SubscriptionOrdered)
async def subscription_ordered(tx: Connection, event: SubscriptionOrdered, envelope: Envelope) -> None:
    await tx.execute(
        SQL["order"],
        event.subscription_id,
        event.cart_id,
        event.contract_id,
        event.partner,
        event.customer,
        event.purchaser,
        event.ordered_by,
        event.plan.model_dump_json(),
        event.seats,
        event.total.amount,
        event.total.currency,
        event.starts,
        event.csn,
        envelope.id,
        zone_of(event),
    )
    await tx.execute(SQL["engage_before"], event.customer, event.partner)


@SALES.on(SubscriptionOrderFailed)
async def subscription_order_failed(tx: Connection, event: SubscriptionOrderFailed, _envelope: Envelope) -> None:
    await tx.execute(SQL["fail"], event.subscription_id, event.reason)


@SALES.on(SubscriptionOrderAbandoned)
async def subscription_order_abandoned(tx: Connection, event: SubscriptionOrderAbandoned, _envelope: Envelope) -> None:
    await tx.execute(SQL["abandon"], event.subscription_id, event.data().decode())


@SALES.on(SubscriptionConfirmed)
async def subscription_confirmed(tx: Connection, event: SubscriptionConfirmed, _envelope: Envelope) -> None:
    await tx.execute(
        SQL["confirm"],
        event.subscription_id,
        event.publisher_reference,
        event.starts,
        event.ends,
        event.cancel_by.model_dump_json(),
        term_of(event).time_zone,
    )
    await _add_instalments(tx, event.subscription_id, 1, event.instalments)


async def _add_instalments(tx: Connection, subscription_id: str, term: int, parts: Sequence[Instalment]) -> None:
    await tx.executemany(
        SQL["add_instalment"], [(subscription_id, term, part.number, part.due, part.amount.amount) for part in parts]
    )


@SALES.on(SubscriptionRenewed)
async def subscription_renewed(tx: Connection, event: SubscriptionRenewed, _envelope: Envelope) -> None:
    await tx.execute(
        SQL["renew"],
        event.subscription_id,
        event.term,
        event.starts,
        event.ends,
        event.cancel_by.model_dump_json(),
        event.plan.model_dump_json(),
        event.seats,
        event.total.amount,
        term_of(event).time_zone,
    )
    await _add_instalments(tx, event.subscription_id, event.term, event.instalments)


@SALES.on(SubscriptionEnded)
async def subscription_ended(tx: Connection, event: SubscriptionEnded, _envelope: Envelope) -> None:
    await tx.execute(SQL["end"], event.subscription_id)
    await tx.execute(SQL["close_seats_request"], event.subscription_id, "lapsed", "", "")


@SALES.on(SeatsAdded)
async def seats_added(tx: Connection, event: SeatsAdded, _envelope: Envelope) -> None:
    await tx.execute(SQL["add_seats"], event.subscription_id, event.seats, event.instalment.amount.amount)
    await _add_instalments(tx, event.subscription_id, event.term, [event.instalment])


@SALES.on(SeatDecreaseScheduled)
async def seat_decrease_scheduled(tx: Connection, event: SeatDecreaseScheduled, _envelope: Envelope) -> None:
    await tx.execute(SQL["set_next_seats"], event.subscription_id, event.seats)


@SALES.on(RenewalReminded)
async def renewal_reminded(tx: Connection, event: RenewalReminded, envelope: Envelope) -> None:
    await tx.execute(
        SQL["add_reminder"], event.subscription_id, event.term, event.days_before, event.ends, envelope.time
    )


@SALES.on(AutoRenewDisableRequested)
async def auto_renew_disable_requested(tx: Connection, event: AutoRenewDisableRequested, _envelope: Envelope) -> None:
    await tx.execute(SQL["request_disable_auto_renew"], event.subscription_id, event.data().decode())


@SALES.on(AutoRenewDisableRefused)
async def auto_renew_disable_refused(tx: Connection, event: AutoRenewDisableRefused, _envelope: Envelope) -> None:
    await tx.execute(SQL["refuse_disable_auto_renew"], event.subscription_id, event.data().decode())


@SALES.on(AutoRenewDisabled)
async def auto_renew_disabled(tx: Connection, event: AutoRenewDisabled, _envelope: Envelope) -> None:
    await tx.execute(SQL["disable_auto_renew"], event.subscription_id, event.ends)


@SALES.on(SeatAssigned)
async def seat_assigned(tx: Connection, event: SeatAssigned, envelope: Envelope) -> None:
    await tx.execute(SQL["hold_seat"], event.subscription_id, event.seat, event.account_id, envelope.id)


@SALES.on(SeatUnassigned)
async def seat_unassigned(tx: Connection, event: SeatUnassigned, _envelope: Envelope) -> None:
    await tx.execute(SQL["release_seat"], event.subscription_id, event.seat)


# ── Lookups ────────────────────────────────────────────────────────────────────────────────────────────


async def publishers_of(db: Queryable, product_id: str) -> list[str]:
    """Return the publishers that have ever listed a plan under this (stored) product ID."""
    rows = await db.fetch(SQL["publishers_of"], product_id)
    return [row["publisher"] for row in rows]


async def offers_for(db: Queryable, product: str, period: str, support: str, billing: str) -> tuple[PlanListed, ...]:
    """Return the events that listed the plans which match a wizard's choices ("" matches all)."""
    rows = await db.fetch(SQL["offers_for"], product, period, support, billing)
    return tuple(PlanListed(plan=Plan.from_row(row["plan"])).recorded(row["event_id"]) for row in rows)


async def account(db: Queryable, account_id: str) -> Account | None:
    """Return the event that opened the account, or that closed it, without the personal fields.

    The country and time zone are those of the latest profile.
    """
    row = await db.fetchrow(SQL["account"], account_id)
    if row is None:
        return None
    if row["closed"]:
        fields = {"account_id": account_id, "organisation_id": row["organisation_id"]}
        return AccountClosed.model_construct(**fields).recorded(row["event_id"])
    opened = AccountOpened.model_construct(
        account_id=row["account_id"],
        organisation_id=row["organisation_id"],
        organisation_name=row["organisation_name"],
        organisation_kind=row["organisation_kind"],
        email="",
        name="",
        country=row["country"],
        time_zone=row["time_zone"],
        locale="",
        opened_at=row["opened_at"],
    )
    return opened.recorded(row["event_id"])
