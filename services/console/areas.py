"""Areas: the pages of one subject, their links, and what of them Home points out."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:  # a visit shows the links
    from services.console.visits import Page, Visit

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
class Attention:
    """Something that waits for the person, as Home says it."""

    text: str
    """A sentence, translated already."""
    path: str
    """The page where it is seen to."""
    urgent: bool = False
    """Whether it holds somebody up, or has a day after which it is too late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A question that Home asks for the person, whatever waits for them.

    A refusal of it hides the answer.
    """

    find: "Callable[[Visit], Awaitable[Sequence[Attention]]]"
    kinds: frozenset[Kind]
    """The kinds of organisation whose people it concerns."""
    administrators: bool = False
    """Whether it concerns only those who have a role on a contract, or manage the organisation's people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """The pages of one subject. Its templates, catalogues and words of refusals have its name."""

    name: str
    pages: Sequence[PageAt]
    links: Sequence[Link] = ()
    watches: Sequence[Watch] = ()


def links_for(areas: Sequence[Area], kind: str) -> Sequence[Link]:
    """Return the links of people of a kind of organisation, in the order of the areas.

    Those that everybody has come last, except Home.
    """
    found = [link for area in areas for link in area.links if kind in link.kinds]
    return sorted(found, key=lambda link: link.kinds == EVERYONE and link.path != "/")
