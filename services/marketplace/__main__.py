"""marketplace's process: `python -m services.marketplace`."""

from services import migrations_of
from services.marketplace.api import COMMANDS
from services.marketplace.calendars import overrides
from services.marketplace.domain.cart import CART
from services.marketplace.domain.engagement import ENGAGEMENT
from services.marketplace.domain.plan import PLAN
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.standing import STANDING
from services.marketplace.domain.subscription import SUBSCRIPTION
from services.marketplace.projections import CATALOGUE, PEOPLE, SALES
from services.marketplace.queries import QUERIES
from services.marketplace.reactions import PROCESS, PUBLISHER
from services.marketplace.timers import TIMERS
from shared.runtime.access import access_projection
from shared.runtime.service import Service, run

SERVICE = Service(
    name="marketplace",
    migrations=migrations_of("marketplace"),
    streams=(PLAN, STANDING, ENGAGEMENT, CART, SUBSCRIPTION),
    commands=COMMANDS,
    queries=QUERIES,
    consumers=(CATALOGUE, SALES, PEOPLE, access_projection(), PUBLISHER, PROCESS),
    timers=TIMERS,
    policy=Policy,
)

if __name__ == "__main__":
    overrides()  # a calendars file that is not valid prevents the start
    run(SERVICE)
