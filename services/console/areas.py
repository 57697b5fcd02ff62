"""Areas: the pages of one subject, and their links in the navigation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:  # a visit shows the links
    from services.console.visits import Page

Kind: TypeAlias = Literal["customer", "partner", "publisher", "operator"]
EVERYONE: Final[frozenset[Kind]] = frozenset({"customer", "partner", "publisher", "operator"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAt:
    """A page: its path, what shows it, and what its form does."""

    path: str
    """With the ids of what is shown in braces, which `Visit.id` reads: `/subscriptions/{subscription_id}`."""
    show: "Page"
    act: "Page | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link of the navigation."""

    path: str
    text: str
    """A marked sentence of one or two words."""
    kinds: frozenset[Kind]
    """The kinds of organisation whose people have it."""

    def current(self, path: str) -> Literal["page", "true", "false"]:
        """Return the link's `aria-current` on a page: whether it is the link's own, or one below it."""
        if path == self.path:
            return "page"
        return "true" if self.path != "/" and path.startswith(f"{self.path}/") else "false"


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """The pages of one subject. Its templates, catalogues and words of refusals have its name."""

    name: str
    pages: Sequence[PageAt]
    links: Sequence[Link] = ()


def links_for(areas: Sequence[Area], kind: str) -> Sequence[Link]:
    """Return the links of people of a kind of organisation, in the order of the areas."""
    return [link for area in areas for link in area.links if kind in link.kinds]
