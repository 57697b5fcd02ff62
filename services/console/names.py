"""Names: the people behind the account ids of what a page shows."""

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from services.console.doors import Refused, path
from services.console.shapes.identity import Colleague, People
from services.console.texts import marked
from services.console.visits import Visit

AT_ONCE: Final = 200
"""The greatest number of people that identity lists at a time."""
FEW: Final = 3
"""The number of people up to whom each is asked for by themself."""
ELSEWHERE: Final = marked("Somebody outside your organisation, or who has left")
BY_ITSELF: Final = marked("The system")
_ACCOUNT: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


@dataclass(frozen=True, slots=True)
class Named:
    """Somebody as a page names them."""

    name: str
    email: str = ""


class Names(Mapping[str, Named]):
    """The names by account id.

    An id that nobody here has is named, too: by what kind of actor it is.
    """

    def __init__(self, visit: Visit, known: Mapping[str, Named]) -> None:
        self._texts, self._known = visit.texts, known

    def __getitem__(self, account_id: str) -> Named:
        known = self._known.get(account_id)
        if known is not None:
            return known
        return Named(self._texts.gettext(ELSEWHERE if _ACCOUNT.fullmatch(account_id) else BY_ITSELF))

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


async def names_of(visit: Visit, account_ids: Iterable[str | None]) -> Names:
    """Return the names of colleagues, with their addresses where the person may see these."""
    own = visit.account
    known = {own.account_id: Named(own.name, own.email or "")} if own else {}
    wanted = sorted({each for each in account_ids if each and _is_person(each)} - known.keys())
    if len(wanted) > FEW:
        known |= await _listed(visit)
    missing = [each for each in wanted if each not in known]
    found = await asyncio.gather(*(_one(visit, each) for each in missing))
    return Names(visit, known | {key: named for key, named in zip(missing, found, strict=True) if named is not None})


def _is_person(actor: str) -> bool:
    """Return whether an actor may be an account; services and timers have words for names."""
    return _ACCOUNT.fullmatch(actor) is not None


async def _listed(visit: Visit) -> dict[str, Named]:
    try:
        people = await visit.see("identity", "/people", People, limit=str(AT_ONCE))
    except Refused:
        return {}
    return {each.account_id: Named(each.name, each.email or "") for each in people.items}


async def _one(visit: Visit, account_id: str) -> Named | None:
    """Return a colleague's name, with the address where the person may see it."""
    for template in ("/people/{account_id}", "/accounts/{account_id}"):
        try:
            found = await visit.see("identity", path(template, account_id=account_id), Colleague)
        except Refused as refused:
            if refused.problem.status == HTTPStatus.FORBIDDEN:
                continue
            return None
        return Named(found.name, found.email or "")
    return None
