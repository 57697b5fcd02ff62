"""identity's tables, folded from events. What a single stream answers is read from the stream itself."""

from typing import Any, Final

from shared.eventlog.projection import Connection, Projection
from shared.events import ContractOpened, RoleAssigned, RoleRequested
from shared.events.envelope import Envelope
from shared.events.registry import IDENTITY

DIRECTORY: Final = Projection(
    "directory", topics=(IDENTITY,), tables=("contracts", "account_contracts"),
    # Doors note in it who is about to be given a role, before an event says so.
    takes_over="insert into {new}.account_contracts select * from public.account_contracts on conflict do nothing",
)  # fmt: skip


@DIRECTORY.on(ContractOpened)
async def _opened(tx: Connection, event: ContractOpened, _of: Envelope) -> None:
    await tx.execute(
        "insert into contracts (contract_id, customer, publisher, programme) values ($1, $2, $3, $4)",
        event.contract_id, event.customer, event.publisher, event.programme,
    )  # fmt: skip


@DIRECTORY.on(RoleAssigned)
async def _assigned(tx: Connection, event: RoleAssigned, _of: Envelope) -> None:
    await involve(tx, event.account_id, event.contract_id)
    if event.role == "contract_manager":
        await tx.execute(
            "update contracts set manager = $2 where contract_id = $1", event.contract_id, event.account_id
        )


@DIRECTORY.on(RoleRequested)
async def _requested(tx: Connection, event: RoleRequested, _of: Envelope) -> None:
    await involve(tx, event.account_id, event.contract_id)


async def involve(db: Any, account_id: str, contract_id: str) -> None:
    """Notes that the account has, had or is about to have something to do with the contract. Before a role is given,
    so that whoever closes the account later finds the contract."""
    await db.execute(
        "insert into account_contracts (account_id, contract_id) values ($1, $2) on conflict do nothing",
        account_id, contract_id,
    )  # fmt: skip


async def contracts_of(db: Any, account_id: str) -> list[str]:
    """All contracts on which the account may hold a role; which it does hold, each contract says."""
    rows = await db.fetch("select contract_id from account_contracts where account_id = $1 order by 1", account_id)
    return [row["contract_id"] for row in rows]
