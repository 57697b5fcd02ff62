"""The rows that the benchmark of lists asks for: 1,000 customers with 25,000 subscriptions and 100,000 seats.

They are written straight into the read models and not through their projections, which would take most of an hour. What
a list reads from a log is appended there.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import md5
from typing import Final, TypeAlias
from uuid import UUID

import asyncpg

from services.distribution.domain.fleet import FLEET
from services.distribution.domain.rollout import ROLLOUT
from services.entitlements.domain.seat_pool import SEAT_POOL
from services.identity.domain.account import ACCOUNT
from services.identity.domain.contract import CONTRACT
from services.identity.domain.invitation import INVITATION
from services.identity.domain.machine import MACHINE
from services.identity.domain.webhook import WEBHOOK
from services.identity.persons import Persons
from services.marketplace.domain.subscription import SUBSCRIPTION
from shared.eventlog.decision import Stream
from shared.eventlog.write.log import Accepted, Log
from shared.events import (
    AccountOpened,
    ContractOpened,
    Event,
    InvitationIssued,
    MachineRegistered,
    Money,
    PeopleAdministratorNamed,
    Plan,
    RenewalReminded,
    RoleAssigned,
    RolloutPaused,
    SeatAssigned,
    UserPutInGroup,
    WebhookRegistered,
)
from shared.runtime.database import Pool
from shared.sql import statements
from tests.benchmarks.measure import meta
from tests.contracts.golden import sample
from tests.databases import as_operator
from tests.examples.marketplace import AUTOCAD

SQL: Final = statements(__file__)

PEOPLE: Final = 100_000
LARGEST: Final = 2_000
"""The number of people of the largest customer."""
PLANS: Final = 1_000
PUBLISHERS: Final = ("autodesk", "bentley", "nemetschek")
TRADES: Final = ("architects", "surveyors", "plant design", "structural engineers", "roads and rail", "interiors")
MACHINES: Final = 20
NAMED: Final = 50
"""The number of people whom notifications name."""
INVITATIONS: Final = 500
"""Of the largest customer, as are the machine accounts; those of others are in the tables only."""
HISTORY: Final = 300
"""The number of events of each history."""
AT_ONCE: Final = 50
OPENED_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def id_of(kind: str, number: int) -> str:
    """Return the id of a row, as `ids` in rows.sql makes it."""
    return str(UUID(md5(f"{kind}{number}".encode(), usedforsecurity=False).hexdigest()))


OWNER, CONTRACT_ID, BOUGHT = id_of("account", 0), id_of("contract", 0), id_of("subscription", 1)
GROUP, STARTED = id_of("group", 1), id_of("rollout", 1)


async def fill(service: str, dsn: str, pool: Pool, log: Log) -> None:
    """Fill the service's tables and the streams that its lists read, and analyse them."""
    db = await asyncpg.connect(as_operator(dsn))
    try:
        await db.execute(SQL["ids"])
        await db.execute(SQL["refusals"])
        match service:
            case "identity":
                await _identity(db, Persons(pool))
            case "marketplace":
                await _marketplace(db)
            case "entitlements":
                await db.execute(SQL["entitlements"])
            case _:
                await db.execute(SQL["distribution"])
        for stream_id, events in _histories(service):
            await _append(log, stream_id, events)
        await db.execute("vacuum analyze")
    finally:
        await db.close()


async def _identity(db: Connection, sealer: Persons) -> None:
    await db.execute(SQL["identity"])
    await db.execute(SQL["notifications"])
    opened = sample(AccountOpened)
    people = await sealer.seal([opened.model_copy(update=_person(number)) for number in range(PEOPLE)])
    await db.copy_records_to_table(
        "people",
        columns=("account_id", "organisation_id", "sealed_name", "sealed_email", "founder", "joined_at"),
        records=[
            (person.account_id, person.organisation_id, person.name, person.email, False, OPENED_AT)
            for person in people
            if isinstance(person, AccountOpened)
        ],
    )


def _opened(number: int) -> AccountOpened:
    opened: AccountOpened = sample(AccountOpened).model_copy(update=_person(number))
    return opened


def _person(number: int) -> dict[str, str]:
    customer = 0 if number < LARGEST else 1 + number % 999
    return {
        "account_id": id_of("account", number),
        "organisation_id": id_of("organisation", customer),
        "name": f"Person {number} Okafor",
        "email": f"person.{number}@{customer}.example",
    }


async def _marketplace(db: Connection) -> None:
    plans = [_plan(number) for number in range(PLANS)]
    columns = ("product", "period", "support", "billing", "category", "commitment_months")
    await db.copy_records_to_table(
        "catalogue",
        columns=("product_id", "publisher", "listed", "event_id", "plan", *columns),
        records=[
            (
                plan.product_id,
                plan.publisher,
                True,
                id_of("plan", number),
                plan.model_dump_json(),
                *(getattr(plan, column) for column in columns),
            )
            for number, plan in enumerate(plans)
        ],
    )
    await db.execute(SQL["marketplace"])
    await db.execute(SQL["marketplace_parts"])
    await db.execute(SQL["marketplace_carts"])


def _plan(number: int) -> Plan:
    return AUTOCAD.model_copy(
        update={
            "product_id": f"C1RK1WW1762L{number:03}",
            "publisher": PUBLISHERS[number % 3],
            "product": f"product-{number % 150}",
            "product_name": f"Product {number % 150} for {TRADES[number % len(TRADES)]}",
            "period": ("annual", "monthly")[number % 2],
            "price": Money(amount=100_000 + number, currency="EUR"),
        }
    )


def _histories(service: str) -> Sequence[tuple[str, Sequence[Event]]]:
    """Return the streams that the service's lists read, by their ids."""
    match service:
        case "identity":
            opened = _opened(0)
            administrator = sample(PeopleAdministratorNamed).model_copy(
                update={"account_id": OWNER, "organisation_id": opened.organisation_id}
            )
            contract = sample(ContractOpened).model_copy(
                update={"contract_id": CONTRACT_ID, "customer": opened.organisation_id}
            )
            return (
                (ACCOUNT.id(OWNER), (opened, administrator)),
                (CONTRACT.id(CONTRACT_ID), (contract, *_repeated(sample(RoleAssigned)))),
                *((ACCOUNT.id(id_of("account", number)), (_opened(number),)) for number in range(1, NAMED)),
                *(_machine(number, opened.organisation_id) for number in range(MACHINES)),
                *(_webhook(number, opened.organisation_id) for number in range(MACHINES)),
                *(_invitation(number, opened.organisation_id) for number in range(INVITATIONS)),
            )
        case "marketplace":
            return ((SUBSCRIPTION.id(BOUGHT), _repeated(sample(RenewalReminded))),)
        case "entitlements":
            return ((SEAT_POOL.id(BOUGHT), _repeated(sample(SeatAssigned))),)
        case _:
            in_group = sample(UserPutInGroup).model_copy(update={"group_id": GROUP})
            return (
                (ROLLOUT.id(STARTED), _repeated(sample(RolloutPaused))),
                (FLEET.id(CONTRACT_ID), _repeated(in_group)),
            )


def _machine(number: int, organisation_id: str) -> tuple[str, Sequence[Event]]:
    changed = {
        "client_id": id_of("machine", number),
        "organisation_id": organisation_id,
        "name": f"Agent {number}",
        "registered_by": OWNER,
    }
    return MACHINE.id(id_of("machine", number)), [sample(MachineRegistered).model_copy(update=changed)]


def _webhook(number: int, organisation_id: str) -> tuple[str, Sequence[Event]]:
    changed = {
        "webhook_id": id_of("webhook", number),
        "organisation_id": organisation_id,
        "name": f"Dashboard {number}",
        "account_id": OWNER,
    }
    return WEBHOOK.id(id_of("webhook", number)), [sample(WebhookRegistered).model_copy(update=changed)]


def _invitation(number: int, organisation_id: str) -> tuple[str, Sequence[Event]]:
    changed = {"invitation_id": id_of("invitation", number), "organisation_id": organisation_id}
    return INVITATION.id(id_of("invitation", number)), [sample(InvitationIssued).model_copy(update=changed)]


def _repeated(event: Event) -> Sequence[Event]:
    return (event,) * HISTORY


async def _append(log: Log, stream_id: str, events: Sequence[Event]) -> None:
    category, _, key = stream_id.partition("-")
    stream: Stream[int, Sequence[Event], Event] = Stream(
        category=category,
        initial=0,
        evolve=lambda count, _: count + 1,
        decide=lambda asked, _: tuple(asked),
        tenant=lambda _: id_of("organisation", 0),
    )
    for start in range(0, len(events), AT_ONCE):
        answer = await log.execute(stream, key, events[start : start + AT_ONCE], meta())
        assert isinstance(answer, Accepted), answer
