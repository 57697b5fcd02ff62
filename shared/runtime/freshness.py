"""Read-your-writes: queries that wait until the read models have a version of a stream.

A request asks for it with the header `Tenure-At-Least: <stream>@<version>`.

The database is queried when a request begins to wait, when a consumer's checkpoint has moved, and at the request's
deadline, but never by a timer in between. All waiting requests of a process share these queries. Their number is
bounded, for the process and for each account.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from shared import rules
from shared.eventlog.deliver.notices import CheckpointNotices
from shared.runtime.auth import Actor
from shared.runtime.database import Pool
from shared.runtime.limits import too_many
from shared.runtime.problems import Problem, busy
from shared.sql import statements

WAIT_S: Final = 2.0
LAST_ANSWER_S: Final = 1.0
"""The timeout of the query at the deadline."""
WAITING_AT_MOST: Final = 1000
"""The greatest number of waiting requests in a process; the next one gets 503 at once."""
WAITING_OF_AN_ACCOUNT: Final = 50
_WANTED: Final = re.compile(r"([!-~]{1,400})@([1-9][0-9]{0,8})")
SQL: Final = statements(__file__)


class Wanted(NamedTuple):
    """A version of a stream that a caller waits for."""

    stream: str
    version: int
    account_id: str
    organisation_id: str | None
    """The caller's organisation; None for the operator, who sees all organisations."""


@dataclass(eq=False, slots=True)
class _Waiter:
    wanted: Wanted
    reached: asyncio.Future[None]
    last: bool = False
    """Whether its deadline has passed: the next query is its last."""


class Freshness:
    """The requests of this process that wait for versions of streams."""

    def __init__(
        self,
        db: Callable[[], Pool],
        own_projections: Sequence[str],
        own_categories: Collection[str],
        notices: CheckpointNotices,
        *,
        wait_s: float = WAIT_S,
        refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Create it without waiting requests.

        Args:
            own_projections: the names of the consumers that fold the service's own streams.
            own_categories: the categories of the service's own streams.
            notices: the notices after which the database is queried.
            wait_s: the timeout of a wait.
            refused: called with the name of a limit that refused a request.
        """
        self._db, self._own_projections, self._own_categories = db, list(own_projections), frozenset(own_categories)
        self._notices, self._wait_s, self._refused = notices, wait_s, refused
        self._waiting: set[_Waiter] = set()
        self._unasked: set[_Waiter] = set()
        self._by_account: Counter[str] = Counter()
        self._asking: asyncio.Task[None] | None = None
        self.questions = 0
        """How often the database was asked."""
        notices.subscribe(lambda: self._ask_for(self._waiting))

    def __len__(self) -> int:
        return len(self._waiting)

    async def reached(self, header: str, actor: Actor) -> None:
        """Wait until this service's tables have the version that the header names.

        A stream of another organisation is treated as unknown, unless the caller has written to it.

        Raises:
            Problem: 422 if the header is malformed or names a version that this service's log does not have; 429 or 503
                if too many requests wait already; 503 if the tables do not have the version within two seconds.
        """
        wanted, account_id = _read(header, actor), actor.account_id
        if self._by_account[account_id] >= WAITING_OF_AN_ACCOUNT:
            self._refused("waiting")
            raise too_many(f"{WAITING_OF_AN_ACCOUNT} queries of this account are already waiting.", 0)
        if len(self._waiting) >= WAITING_AT_MOST:
            raise busy("Too many queries are waiting for newer data.")
        loop = asyncio.get_running_loop()
        waiter = _Waiter(wanted, loop.create_future())
        self._waiting.add(waiter)
        self._by_account[account_id] += 1
        self._ask_for([waiter])
        over = loop.call_later(self._wait_s, self._ask_for_the_last_time, waiter)
        try:
            async with asyncio.timeout(self._wait_s + LAST_ANSWER_S):
                await waiter.reached
        except TimeoutError:
            raise _not_yet(wanted) from None
        finally:
            over.cancel()
            self._waiting.remove(waiter)
            self._unasked.discard(waiter)
            self._by_account -= Counter([account_id])  # `-=` also removes entries that reach 0

    def _ask_for_the_last_time(self, waiter: _Waiter) -> None:
        waiter.last = True
        self._ask_for([waiter])

    def _ask_for(self, waiters: Iterable[_Waiter]) -> None:
        """Include these in the next query, which is sent at once unless one is running."""
        self._unasked.update(waiters)
        if self._unasked and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._ask(), name="freshness")

    async def _ask(self) -> None:
        """Query the database until a query has begun after the last notice."""
        while self._unasked:
            asked = [(waiter, waiter.last) for waiter in self._unasked]
            self._unasked.clear()
            wanted = list({waiter.wanted for waiter, _ in asked})
            try:
                outcomes = await self._outcomes(wanted)
            except Exception as error:  # noqa: BLE001  # any error is passed on to the waiting requests
                outcomes = dict.fromkeys(wanted, error)
            for waiter, last in asked:
                self._tell(waiter, last, outcomes)

    def _tell(self, waiter: _Waiter, last: bool, outcomes: Mapping[Wanted, Exception | None]) -> None:
        if waiter.reached.done() or not (last or waiter.wanted in outcomes):
            return
        outcome = outcomes.get(waiter.wanted, _not_yet(waiter.wanted))
        if outcome is not None:
            waiter.reached.set_exception(outcome)
            return
        if last:  # No notice came: the listening connection may be dead.
            self._notices.renew()
        waiter.reached.set_result(None)

    async def _outcomes(self, asked: Sequence[Wanted]) -> dict[Wanted, Exception | None]:
        """Return the outcomes that are certain: None if the version is reached, or the error."""
        self.questions += 1
        streams, versions, accounts, organisations = zip(*asked, strict=True)
        rows = await self._db().fetch(SQL["reached"], streams, versions, accounts, organisations, self._own_projections)
        outcomes: dict[Wanted, Exception | None] = {}
        for row in rows:
            wanted = asked[row["n"] - 1]
            if row["reached"]:
                outcomes[wanted] = None
            elif wanted.stream.partition("-")[0] in self._own_categories and (row["written"] or 0) < wanted.version:
                outcomes[wanted] = _unknown_version(wanted)
        return outcomes


def _read(header: str, actor: Actor) -> Wanted:
    match = _WANTED.fullmatch(header)
    if match is None:
        raise Problem(
            rule=rules.MALFORMED,
            reason="The header Tenure-At-Least has the form <stream>@<version>.",
            remedy="Send back the Tenure-Version of a command's answer.",
        )
    organisation = None if actor.organisation_kind == "operator" else actor.organisation_id
    return Wanted(match[1], int(match[2]), actor.account_id, organisation)


def _unknown_version(wanted: Wanted) -> Problem:
    return Problem(
        rule=rules.VERSION_UNKNOWN,
        reason=f"This service's log has no {wanted.stream}@{wanted.version}.",
        remedy="Send back the Tenure-Version of a command's answer.",
    )


def _not_yet(wanted: Wanted) -> Problem:
    return Problem(
        rule=rules.NOT_YET,
        reason=f"{wanted.stream}@{wanted.version} has not reached this service's tables yet.",
        remedy="Ask again in a moment.",
        headers={"Retry-After": "1"},
    )
