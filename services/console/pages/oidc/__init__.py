"""Sign-in by other providers: to the provider and back, and the identities that are linked."""

from typing import Final

from services.console.areas import Area, PageAt
from services.console.pages.oidc import identities

AREA: Final = Area(
    name="oidc",
    pages=(PageAt(path="/profile/identities", show=identities.identities, act=identities.change),),
)
"""The profile leads to the page."""
