"""identity's tables, folded from events. What a single stream answers is read from the stream itself."""

from typing import Final

from shared.eventlog.projection import Connection, Projection
from shared.events import ContractOpened, RoleAssigned
from shared.events.envelope import Envelope
from shared.events.registry import IDENTITY

DIRECTORY: Final = Projection("directory", topics=(IDENTITY,))


@DIRECTORY.on(ContractOpened)
async def _opened(tx: Connection, event: ContractOpened, _of: Envelope) -> None:
    await tx.execute(
        "insert into contracts (contract_id, customer, publisher, programme) values ($1, $2, $3, $4)",
        event.contract_id, event.customer, event.publisher, event.programme,
    )  # fmt: skip


@DIRECTORY.on(RoleAssigned)
async def _assigned(tx: Connection, event: RoleAssigned, _of: Envelope) -> None:
    if event.role == "contract_manager":
        await tx.execute(
            "update contracts set manager = $2 where contract_id = $1", event.contract_id, event.account_id
        )
