"""entitlements' process: `python -m services.entitlements`."""

from typing import Final

from services.entitlements.api import DOORS, QUERIES
from services.entitlements.domain.seat_pool import SEAT_POOL
from services.entitlements.projections import ACCESS, PEOPLE, POOLS
from services.entitlements.reactions import REACTIONS
from shared.runtime.service import Service, run

SERVICE: Final = Service(
    name="entitlements",
    streams=(SEAT_POOL,),
    doors=DOORS,
    queries=QUERIES,
    consumers=(POOLS, PEOPLE, ACCESS, REACTIONS),
)

if __name__ == "__main__":
    run(SERVICE)
