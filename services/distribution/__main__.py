"""distribution's process: `python -m services.distribution`."""

from typing import Final

from services.distribution.api import DOORS, QUERIES
from services.distribution.domain.update import UPDATE
from services.distribution.projections import ACCESS, AVAILABILITY
from services.distribution.reactions import REACTIONS
from shared.runtime.service import Service, run

SERVICE: Final = Service(
    name="distribution",
    streams=(UPDATE,),
    doors=DOORS,
    queries=QUERIES,
    consumers=(AVAILABILITY, ACCESS, REACTIONS),
)

if __name__ == "__main__":
    run(SERVICE)
