"""Tables folded from events (declared in migrations/), and what doors look up in them."""

from collections.abc import Sequence
from typing import Any

from services.marketplace.domain.cart import Account
from shared.eventlog.projection import Connection, Projection
from shared.events import (
    AccountClosed,
    AccountOpened,
    AutoRenewDisabled,
    AutoRenewDisableRefused,
    AutoRenewDisableRequested,
    CartCheckedOut,
    CartLineAdded,
    CartLineRemoved,
    CartOpened,
    CsnIssued,
    CsnRevoked,
    Instalment,
    Plan,
    PlanListed,
    PlanWithdrawn,
    ProfileUpdated,
    RenewalReminded,
    SeatAssigned,
    SeatDecreaseScheduled,
    SeatsAdded,
    SeatUnassigned,
    SubscriptionConfirmed,
    SubscriptionEnded,
    SubscriptionOrdered,
    SubscriptionOrderFailed,
    SubscriptionRenewed,
)
from shared.events.envelope import Envelope
from shared.events.registry import ENTITLEMENTS, IDENTITY, MARKETPLACE

CATALOGUE = Projection("catalogue", topics=(MARKETPLACE,), tables=("catalogue", "standings"))
SALES = Projection(
    "sales",
    topics=(MARKETPLACE, ENTITLEMENTS),
    tables=("carts", "cart_lines", "subscriptions", "instalments", "reminders", "held_seats"),
)
PEOPLE = Projection("people", topics=(IDENTITY,), tables=("people",))

# ── What is offered, and to whom ───────────────────────────────────────────────────────────────────────


@CATALOGUE.on(PlanListed)
async def _(tx: Connection, event: PlanListed, of: Envelope) -> None:
    plan = event.plan
    await tx.execute(
        """insert into catalogue values ($1, $2, true, $3, $4, $5, $6, $7, $8, $9, $10)
        on conflict (product_id, publisher) do update set listed = true, event_id = excluded.event_id,
            plan = excluded.plan, product = excluded.product, period = excluded.period, support = excluded.support,
            billing = excluded.billing, category = excluded.category, commitment_months = excluded.commitment_months""",
        plan.product_id,
        plan.publisher,
        of.id,
        plan.model_dump_json(),
        plan.product,
        plan.period,
        plan.support,
        plan.billing,
        plan.category,
        plan.commitment_months,
    )


@CATALOGUE.on(PlanWithdrawn)
async def _(tx: Connection, event: PlanWithdrawn, of: Envelope) -> None:
    await tx.execute(
        """insert into catalogue (product_id, publisher, listed, event_id) values ($1, $2, false, $3)
        on conflict (product_id, publisher) do update set listed = false, event_id = excluded.event_id""",
        event.product_id,
        event.publisher,
        of.id,
    )


@CATALOGUE.on(CsnIssued)
async def _(tx: Connection, event: CsnIssued, of: Envelope) -> None:
    await _csn(tx, event, "", of)


@CATALOGUE.on(CsnRevoked)
async def _(tx: Connection, event: CsnRevoked, of: Envelope) -> None:
    await _csn(tx, event, event.reason, of)


async def _csn(tx: Connection, event: CsnIssued | CsnRevoked, reason: str, of: Envelope) -> None:
    await tx.execute(
        """insert into standings values ($1, $2, $3, $4, $5, $6, $7)
        on conflict (organisation_id, publisher, csn) do update set valid = excluded.valid,
            said_at = excluded.said_at, reason = excluded.reason, event_id = excluded.event_id""",
        event.organisation_id,
        event.publisher,
        event.csn,
        isinstance(event, CsnIssued),
        event.said_at,
        reason,
        of.id,
    )


# ── Who belongs where ──────────────────────────────────────────────────────────────────────────────────


@PEOPLE.on(AccountOpened)
async def _(tx: Connection, event: AccountOpened, of: Envelope) -> None:
    await tx.execute(
        "insert into people values ($1, $2, $3, $4, $5, $6, $7, false, $8) on conflict (account_id) do nothing",
        event.account_id,
        event.organisation_id,
        event.organisation_name,
        event.organisation_kind,
        event.country,
        event.time_zone,
        event.opened_at,
        of.id,
    )


@PEOPLE.on(AccountClosed)
async def _(tx: Connection, event: AccountClosed, of: Envelope) -> None:
    await tx.execute("update people set closed = true, event_id = $2 where account_id = $1", event.account_id, of.id)


@PEOPLE.on(ProfileUpdated)
async def _(tx: Connection, event: ProfileUpdated, _of: Envelope) -> None:
    await tx.execute(
        "update people set country = $2, time_zone = $3 where account_id = $1",
        event.account_id,
        event.country,
        event.time_zone,
    )


# ── Carts ──────────────────────────────────────────────────────────────────────────────────────────────


@SALES.on(CartOpened)
async def _(tx: Connection, event: CartOpened, _of: Envelope) -> None:
    await tx.execute("insert into carts values ($1, $2, $3)", event.cart_id, event.partner, event.opened_by)


@SALES.on(CartLineAdded)
async def _(tx: Connection, event: CartLineAdded, _of: Envelope) -> None:
    await tx.execute(
        """insert into cart_lines values ($1, $2, $3, $4)
        on conflict (cart_id, line) do update set plan = excluded.plan, seats = excluded.seats""",
        event.cart_id,
        event.line.line,
        event.line.plan.model_dump_json(),
        event.line.seats,
    )


@SALES.on(CartLineRemoved)
async def _(tx: Connection, event: CartLineRemoved, _of: Envelope) -> None:
    await tx.execute("delete from cart_lines where cart_id = $1 and line = $2", event.cart_id, event.line)


@SALES.on(CartCheckedOut)
async def _(tx: Connection, event: CartCheckedOut, _of: Envelope) -> None:
    await tx.execute("update carts set checked_out = $2 where cart_id = $1", event.cart_id, event.data().decode())


# ── Subscriptions ──────────────────────────────────────────────────────────────────────────────────────


@SALES.on(SubscriptionOrdered)
async def _(tx: Connection, event: SubscriptionOrdered, of: Envelope) -> None:
    await tx.execute(
        """insert into subscriptions (subscription_id, cart_id, contract_id, partner, customer, purchaser, ordered_by,
            status, plan, seats, total_amount, currency, starts, csn, order_event)
        values ($1, $2, $3, $4, $5, $6, $7, 'awaiting', $8, $9, $10, $11, $12, $13, $14)
        on conflict (subscription_id) do update set status = 'awaiting', ordered_by = excluded.ordered_by,
            seats = excluded.seats, total_amount = excluded.total_amount, starts = excluded.starts,
            csn = excluded.csn, order_event = excluded.order_event, failure_reason = null""",
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
        of.id,
    )


@SALES.on(SubscriptionOrderFailed)
async def _(tx: Connection, event: SubscriptionOrderFailed, _of: Envelope) -> None:
    await tx.execute(
        "update subscriptions set status = 'failed', failure_reason = $2 where subscription_id = $1",
        event.subscription_id,
        event.reason,
    )


@SALES.on(SubscriptionConfirmed)
async def _(tx: Connection, event: SubscriptionConfirmed, _of: Envelope) -> None:
    await tx.execute(
        """update subscriptions set status = 'confirmed', publisher_reference = $2, starts = $3, ends = $4,
            cancel_by = $5, auto_renew = 'on', term = 1, term_starts = $3, next_seats = seats
        where subscription_id = $1""",
        event.subscription_id,
        event.publisher_reference,
        event.starts,
        event.ends,
        event.cancel_by.model_dump_json(),
    )
    await _owe(tx, event.subscription_id, 1, event.instalments)


async def _owe(tx: Connection, subscription_id: str, term: int, parts: Sequence[Instalment]) -> None:
    await tx.executemany(
        "insert into instalments values ($1, $2, $3, $4, $5)",
        [(subscription_id, term, part.number, part.due, part.amount.amount) for part in parts],
    )


@SALES.on(SubscriptionRenewed)
async def _(tx: Connection, event: SubscriptionRenewed, _of: Envelope) -> None:
    await tx.execute(
        """update subscriptions set term = $2, term_starts = $3, ends = $4, cancel_by = $5, plan = $6, seats = $7,
            next_seats = $7, total_amount = $8 where subscription_id = $1""",
        event.subscription_id,
        event.term,
        event.starts,
        event.ends,
        event.cancel_by.model_dump_json(),
        event.plan.model_dump_json(),
        event.seats,
        event.total.amount,
    )
    await _owe(tx, event.subscription_id, event.term, event.instalments)


@SALES.on(SubscriptionEnded)
async def _(tx: Connection, event: SubscriptionEnded, _of: Envelope) -> None:
    await tx.execute("update subscriptions set status = 'ended' where subscription_id = $1", event.subscription_id)


@SALES.on(SeatsAdded)
async def _(tx: Connection, event: SeatsAdded, _of: Envelope) -> None:
    await tx.execute(
        "update subscriptions set seats = $2, next_seats = $2, total_amount = total_amount + $3 "
        "where subscription_id = $1",
        event.subscription_id,
        event.seats,
        event.instalment.amount.amount,
    )
    await _owe(tx, event.subscription_id, event.term, [event.instalment])


@SALES.on(SeatDecreaseScheduled)
async def _(tx: Connection, event: SeatDecreaseScheduled, _of: Envelope) -> None:
    await tx.execute(
        "update subscriptions set next_seats = $2 where subscription_id = $1", event.subscription_id, event.seats
    )


@SALES.on(RenewalReminded)
async def _(tx: Connection, event: RenewalReminded, of: Envelope) -> None:
    await tx.execute(
        "insert into reminders values ($1, $2, $3, $4, $5) on conflict do nothing",
        event.subscription_id,
        event.term,
        event.days_before,
        event.ends,
        of.time,
    )


@SALES.on(AutoRenewDisableRequested)
async def _(tx: Connection, event: AutoRenewDisableRequested, _of: Envelope) -> None:
    await tx.execute(
        "update subscriptions set auto_renew = 'asked', asked = $2, refused = null where subscription_id = $1",
        event.subscription_id,
        event.data().decode(),
    )


@SALES.on(AutoRenewDisableRefused)
async def _(tx: Connection, event: AutoRenewDisableRefused, _of: Envelope) -> None:
    await tx.execute(
        "update subscriptions set auto_renew = 'on', refused = $2 where subscription_id = $1",
        event.subscription_id,
        event.data().decode(),
    )


@SALES.on(AutoRenewDisabled)
async def _(tx: Connection, event: AutoRenewDisabled, _of: Envelope) -> None:
    await tx.execute(
        "update subscriptions set auto_renew = 'off', refused = null, last_day = $2 where subscription_id = $1",
        event.subscription_id,
        event.ends,
    )


@SALES.on(SeatAssigned)
async def _(tx: Connection, event: SeatAssigned, of: Envelope) -> None:
    await tx.execute(
        """insert into held_seats values ($1, $2, $3, $4) on conflict (subscription_id, seat) do update
        set account_id = excluded.account_id, event_id = excluded.event_id""",
        event.subscription_id,
        event.seat,
        event.account_id,
        of.id,
    )


@SALES.on(SeatUnassigned)
async def _(tx: Connection, event: SeatUnassigned, _of: Envelope) -> None:
    await tx.execute(
        "delete from held_seats where subscription_id = $1 and seat = $2", event.subscription_id, event.seat
    )


# ── What doors look up ─────────────────────────────────────────────────────────────────────────────────


async def publishers_of(db: Any, product_id: str) -> list[str]:
    """Who has ever offered a plan under this (stored) product ID."""
    rows = await db.fetch("select publisher from catalogue where product_id = $1 order by publisher", product_id)
    return [row["publisher"] for row in rows]


async def offers_for(db: Any, product: str, period: str, support: str, billing: str) -> tuple[PlanListed, ...]:
    """The listed plans that fit a wizard's choices ("" fits all), as the events that listed them."""
    rows = await db.fetch(
        """select plan, event_id from catalogue where listed and product = coalesce(nullif($1, ''), product)
            and period = coalesce(nullif($2, ''), period) and support = coalesce(nullif($3, ''), support)
            and billing = coalesce(nullif($4, ''), billing) order by product_id, publisher""",
        product,
        period,
        support,
        billing,
    )
    return tuple(PlanListed(plan=Plan.from_stored(row["plan"])).recorded(row["event_id"]) for row in rows)


async def account(db: Any, account_id: str) -> Account | None:
    """The last word about the account: for which organisation it was opened and where, without what is personal about
    it, or that it was closed."""
    row = await db.fetchrow("select * from people where account_id = $1", account_id)
    if row is None:
        return None
    if row["closed"]:
        who = {"account_id": account_id, "organisation_id": row["organisation_id"]}
        return AccountClosed.model_construct(**who).recorded(row["event_id"])
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
