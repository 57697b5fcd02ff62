"""Waiting for one's own write: `Tenure-At-Least: <stream>@<version>` makes a query wait until the tables have it.

All waiters of a process share one question to the database, asked while anybody waits. Their number is bounded, for
the process and for each account.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple

from shared import rules
from shared.runtime.auth import Actor
from shared.runtime.database import Pool
from shared.runtime.limits import too_many
from shared.runtime.problems import Problem, busy
from shared.sql import statements

WAIT_S: Final = 2.0
ASK_EVERY_S: Final = 0.01
WAITING_AT_MOST: Final = 1000
"""In one process; the next is answered 503 at once."""
WAITING_OF_AN_ACCOUNT: Final = 50
_WANTED: Final = re.compile(r"([!-~]{1,400})@([0-9]{1,10})")
_INT_AT_MOST: Final = 2**31 - 1
SQL: Final = statements(__file__)


class Wanted(NamedTuple):
    """A version of a stream, and who asks for it; None is of every organisation."""

    stream: str
    version: int
    account_id: str
    organisation_id: str | None


class Freshness:
    """Who waits in this process, and for which version of which stream."""

    def __init__(
        self,
        db: Callable[[], Pool],
        own_projections: Sequence[str],
        own_categories: Collection[str],
        *,
        wait_s: float = WAIT_S,
        refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`own_projections` fold the service's own streams, which `own_categories` begin the names of."""
        self._db, self._own_projections, self._own_categories = db, list(own_projections), frozenset(own_categories)
        self._wait_s, self._refused = wait_s, refused
        self._waiting: dict[asyncio.Future[None], Wanted] = {}
        self._by_account: Counter[str] = Counter()
        self._asking: asyncio.Task[None] | None = None
        self.questions = 0
        """How often the database was asked."""

    def __len__(self) -> int:
        return len(self._waiting)

    async def reached(self, header: str, actor: Actor) -> None:
        """Wait until this service's tables have what the header names.

        What is another organisation's is as if it did not exist, unless the caller has written to it.

        Raises:
            Problem: 422 where the header is malformed or names what this service's log does not have; 429 or 503
                where too many wait already; 503 where the tables do not get there within two seconds.
        """
        wanted, account_id = _read(header, actor), actor.account_id
        if self._by_account[account_id] >= WAITING_OF_AN_ACCOUNT:
            self._refused("waiting")
            raise too_many(f"{WAITING_OF_AN_ACCOUNT} queries of this account wait already.", 0)
        if len(self._waiting) >= WAITING_AT_MOST:
            raise busy("Too many queries wait for newer tables.")
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = wanted
        self._by_account[account_id] += 1
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="freshness")
        try:
            async with asyncio.timeout(self._wait_s):
                await future
        except TimeoutError:
            raise _not_yet(wanted) from None
        finally:
            del self._waiting[future]
            self._by_account -= Counter([account_id])  # which leaves out those that are at 0

    async def _ask(self) -> None:
        """Ask for everybody who waits, until nobody does."""
        while self._waiting:
            asked = list(set(self._waiting.values()))
            try:
                outcomes = await self._outcomes(asked)
            except Exception as error:  # noqa: BLE001  # whatever it is, those who wait are told
                outcomes = dict.fromkeys(asked, error)
            for future, wanted in self._waiting.items():
                if wanted in outcomes and not future.done():
                    outcome = outcomes[wanted]
                    if outcome is None:
                        future.set_result(None)
                    else:
                        future.set_exception(outcome)
            await asyncio.sleep(ASK_EVERY_S)

    async def _outcomes(self, asked: Sequence[Wanted]) -> dict[Wanted, Exception | None]:
        """For those that need wait no longer: None, or why they wait in vain."""
        self.questions += 1
        streams, versions, accounts, organisations = zip(*asked, strict=True)
        rows = await self._db().fetch(SQL["reached"], streams, versions, accounts, organisations, self._own_projections)
        found: dict[Wanted, Exception | None] = {}
        for row in rows:
            wanted = asked[row["n"] - 1]
            if row["reached"]:
                found[wanted] = None
            elif wanted.stream.partition("-")[0] in self._own_categories and (row["written"] or 0) < wanted.version:
                found[wanted] = _never(wanted)
        return found


def _read(header: str, actor: Actor) -> Wanted:
    match = _WANTED.fullmatch(header)
    if match is None or int(match[2]) > _INT_AT_MOST:
        raise Problem(
            422,
            rule=rules.MALFORMED,
            reason="Tenure-At-Least reads <stream>@<version>.",
            remedy="Send back the Tenure-Version of a command's answer.",
        )
    organisation = None if actor.organisation_kind == "operator" else actor.organisation_id
    return Wanted(match[1], int(match[2]), actor.account_id, organisation)


def _never(wanted: Wanted) -> Problem:
    return Problem(
        422,
        rule=rules.VERSION_UNKNOWN,
        reason=f"This service's log has no {wanted.stream}@{wanted.version}.",
        remedy="Send back the Tenure-Version of a command's answer.",
    )


def _not_yet(wanted: Wanted) -> Problem:
    return Problem(
        503,
        rule=rules.NOT_YET,
        reason=f"{wanted.stream}@{wanted.version} has not reached this service's tables yet.",
        remedy="Ask again in a moment.",
        headers={"Retry-After": "1"},
    )
