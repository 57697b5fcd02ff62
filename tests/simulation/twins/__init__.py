"""What stands in for PostgreSQL: the engine's tables, and the lookups of each service whose reactions ask any.

`tests/engine/test_tables.py` and `tests/services/test_lookups.py` hold each to the answers of its sibling.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.eventlog.deliver.projection import Projection
from tests.simulation.database import Pool
from tests.simulation.twins import entitlements, identity


@dataclass(frozen=True, slots=True)
class Twin:
    """What stands in for a service's read models: the projections, by the product's names, and the lookups."""

    projections: tuple[Projection, ...]
    lookups: Callable[[Pool], Any]


TWINS: Final[Mapping[str, Twin]] = {
    "identity": Twin((identity.DIRECTORY, identity.PEOPLE), identity.MemoryLookups),
    "entitlements": Twin((entitlements.POOLS, entitlements.PEOPLE, entitlements.NUMBERS), entitlements.MemoryLookups),
}
