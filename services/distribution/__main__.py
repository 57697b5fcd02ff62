"""distribution's process: `python -m services.distribution`."""

from typing import Final

from services import migrations_of
from services.distribution.api import COMMANDS
from services.distribution.domain.fleet import FLEET
from services.distribution.domain.line import LINE
from services.distribution.domain.policy import Policy
from services.distribution.domain.rollout import ROLLOUT
from services.distribution.domain.update import UPDATE
from services.distribution.projections import ACCESS, AVAILABILITY, FLEETS, ROLLOUTS
from services.distribution.queries import QUERIES
from services.distribution.reactions import PROCESS, REACTIONS
from services.distribution.timers import TIMERS
from shared.runtime.service import Service, run

SERVICE: Final = Service(
    name="distribution",
    migrations=migrations_of("distribution"),
    streams=(UPDATE, LINE, FLEET, ROLLOUT),
    commands=COMMANDS,
    queries=QUERIES,
    consumers=(AVAILABILITY, FLEETS, ROLLOUTS, ACCESS, REACTIONS, PROCESS),
    timers=TIMERS,
    policy=Policy,
)

if __name__ == "__main__":
    run(SERVICE)
