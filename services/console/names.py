"""Names: the people behind the account ids of what a page shows."""

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from services.console.doors import Refused
from services.console.shapes.identity import NamedAccounts
from services.console.texts import marked
from services.console.visits import Visit

AT_ONCE: Final = 200
"""The greatest number of accounts that identity names at a time."""
ELSEWHERE: Final = marked("Somebody outside your organisation, or who has left")
BY_ITSELF: Final = marked("The system")
_ACCOUNT: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


@dataclass(frozen=True, slots=True)
class Named:
    """Somebody as a page names them."""

    name: str
    email: str = ""
    at: str = ""
    """The page about them, where it is not their colleague's."""
    organisation: str = ""
    """The name of their organisation, where it was asked for."""

    def has(self, text: str) -> bool:
        """Return whether the name or the address has a text, which is in lower case."""
        return text in self.name.casefold() or text in self.email.casefold()


class Names(Mapping[str, Named]):
    """The names by account id.

    An id of nobody whom the person may know is named, too: by what kind of actor it is.
    """

    def __init__(self, visit: Visit, known: Mapping[str, Named]) -> None:
        self._texts, self._known = visit.texts, known

    def __getitem__(self, account_id: str) -> Named:
        known = self._known.get(account_id)
        if known is not None:
            return known
        return Named(self._texts.gettext(ELSEWHERE if _ACCOUNT.fullmatch(account_id) else BY_ITSELF))

    def knows(self, account_id: str) -> bool:
        """Return whether the person may know who it is."""
        return account_id in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


async def names_of(visit: Visit, account_ids: Iterable[str | None], *, organisations: bool = False) -> Names:
    """Return the names of any number of people, with addresses where the person may see them.

    Args:
        organisations: Whether their organisations are named, too.
    """
    own = visit.account
    known = {own.account_id: Named(own.name, own.email or "", "/profile", own.organisation_name)} if own else {}
    wanted = sorted({each for each in account_ids if each and _is_person(each)} - known.keys())
    parts = [wanted[start : start + AT_ONCE] for start in range(0, len(wanted), AT_ONCE)]
    for found in await asyncio.gather(*(_named(visit, part, organisations) for part in parts)):
        known |= found
    return Names(visit, known)


def _is_person(actor: str) -> bool:
    """Return whether an actor may be an account; services and timers have words for names."""
    return _ACCOUNT.fullmatch(actor) is not None


async def _named(visit: Visit, account_ids: Sequence[str], organisations: bool) -> dict[str, Named]:
    """Return those of these people whom the person may know; nobody while identity says no."""
    body: dict[str, JsonValue] = {"account_ids": [*account_ids], **({"organisations": True} if organisations else {})}
    try:
        found = await visit.ask("identity", "POST", "/accounts/names", NamedAccounts, body)
    except Refused:
        return {}
    return {
        each.account_id: Named(each.name, each.email or "", organisation=each.organisation_name or "")
        for each in found.items
    }
