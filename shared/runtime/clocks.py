"""The projection of organisations' clocks from identity's events, in every service."""

from typing import Final

from shared.eventlog.deliver.projection import Connection, Projection
from shared.events import ClockMoved, ContractOpened, subjects
from shared.events.envelope import Envelope
from shared.events.registry import IDENTITY
from shared.sql import statements

SQL: Final = statements(__file__)

CLOCKS: Final = Projection(
    "clocks",
    topics=(IDENTITY,),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.ACCOUNTS,
        *subjects.AGREEMENTS,
        *subjects.ROLES,
        *subjects.SIGN_IN,
        ContractOpened,
    ),
    tables=("engine.clocks",),
    excluded_from_digest=("change",),
    # Readers of the old table must see every row of the new one as changed.
    carry_over_sql=SQL["carry_over"],
)


@CLOCKS.on(ClockMoved)
async def clock_moved(tx: Connection, event: ClockMoved, _envelope: Envelope) -> None:
    await tx.execute(SQL["alone"])
    await tx.execute(SQL["move"], event.organisation_id, event.ahead_s)
