"""entitlements' process: `python -m services.entitlements`."""

from typing import Final

from services import migrations_of
from services.entitlements.api import COMMANDS
from services.entitlements.domain.credits import CREDITS
from services.entitlements.domain.policy import Policy
from services.entitlements.domain.seat_pool import SEAT_POOL
from services.entitlements.projections import ACCESS, LEDGER, NUMBERS, PEOPLE, POOLS
from services.entitlements.queries import QUERIES
from services.entitlements.reactions import MEETINGS, REACTIONS
from services.entitlements.timers import TIMERS
from shared.runtime.service import Service, run

SERVICE: Final = Service(
    name="entitlements",
    migrations=migrations_of("entitlements"),
    streams=(SEAT_POOL, CREDITS),
    commands=COMMANDS,
    queries=QUERIES,
    consumers=(POOLS, LEDGER, PEOPLE, NUMBERS, ACCESS, REACTIONS, MEETINGS),
    timers=TIMERS,
    policy=Policy,
)

if __name__ == "__main__":
    run(SERVICE)
