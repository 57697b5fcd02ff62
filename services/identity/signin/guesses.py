"""Guesses at passwords: after a few wrong ones, each further one has to wait longer, up to a quarter of an hour.

Two counters delay a guess at the password of one e-mail address, whether or not anybody has it:

- of the address and the network that the guess comes from (`FREE_PAIR`), so that a guesser delays itself;
- of the address alone (`FREE_ADDRESS`), so that many networks guess no more than one. From a network where the right
  password came from in the last months this one does not count: a stranger can't lock the address's owner out there.

Both stand in identity's database and hold over all of its processes. A guess counts before it is compared, so that no
number of them at once passes; one that was right, or never compared, is taken back.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from fastapi import Request

from shared.runtime.database import Pool
from shared.runtime.limits import too_many
from shared.runtime.parts import Parts
from shared.sql import statements

FREE_PAIR: Final = 5
FREE_ADDRESS: Final = 50
LONGEST: Final = timedelta(minutes=15)
ANEW_AFTER: Final = timedelta(days=1)
"""Without a guess for so long the count begins anew."""
KNOWN_FOR: Final = timedelta(days=90)
FORGET_EVERY: Final = timedelta(hours=1)
SQL: Final = statements(__file__)


@dataclass(frozen=True, slots=True)
class Counter:
    """What is known of earlier guesses at one subject."""

    subject: bytes
    failures: int
    last_at: datetime
    known_until: datetime | None = None


def wait(counter: Counter, free: int, now: datetime) -> timedelta:
    """How long the next guess has to wait: not at all for the first ones, then 1 s, 2 s, 4 s, up to the longest."""
    if counter.failures < free or begins_anew(counter, now):
        return timedelta(0)
    delay = min(timedelta(seconds=2 ** min(counter.failures - free, 30)), LONGEST)
    return max(counter.last_at + delay - now, timedelta(0))


def begins_anew(counter: Counter, now: datetime) -> bool:
    return now - counter.last_at > ANEW_AFTER


@dataclass(frozen=True, slots=True)
class Guess:
    """A guess that was let through."""

    pair: bytes
    address: bytes
    counted: tuple[bytes, ...]
    """The counters that it stands in."""


class Guesses:
    """The guesses at the passwords of one database."""

    def __init__(self, db: Pool, now: Callable[[], datetime], refused: Callable[[str], None] = lambda _: None) -> None:
        """`refused` is told the name of the limit when a guess has to wait."""
        self._db, self._now, self._refused = db, now, refused
        self._forgot_at = now()

    async def checked(self, claim: str, source: str, check: Callable[[], Awaitable[str | None]]) -> str | None:
        """What `check` answers, None being a wrong guess: at the secret of `claim`, from the network `source`.

        Raises Problem 429 when the guess has to wait, and whatever `check` raises, which then does not count.
        """
        if self._now() - self._forgot_at > FORGET_EVERY:
            await self.forget()
        guess = await self._begin(claim, source)
        try:
            found = await check()
        except Exception:
            await self._db.execute(SQL["uncount"], list(guess.counted))
            raise
        if found is not None:
            known_until = self._now() + KNOWN_FOR
            await self._db.execute(SQL["forgive"], [guess.pair, guess.address], guess.pair, known_until)
        return found

    async def _begin(self, claim: str, source: str) -> Guess:
        now = self._now()
        async with self._db.acquire() as tx, tx.transaction():
            rows = await tx.fetch(SQL["hold"], [f"{claim}\n{source}", claim], now)
            by_pair = {row["of_pair"]: Counter(*(row[name] for name in Counter.__slots__)) for row in rows}
            pair, address = by_pair[True], by_pair[False]
            known = pair.known_until is not None and now < pair.known_until
            longest = max(wait(pair, FREE_PAIR, now), timedelta(0) if known else wait(address, FREE_ADDRESS, now))
            counted = (pair,) if known else (pair, address)
            if not longest:
                anew = [begins_anew(counter, now) for counter in counted]
                await tx.execute(SQL["count"], [counter.subject for counter in counted], anew, now)
        if longest:
            self._refused("guesses")
            raise too_many(
                "Too many wrong passwords were tried for this e-mail address: each further one has to wait longer.",
                longest.total_seconds(),
            )
        return Guess(pair.subject, address.subject, tuple(counter.subject for counter in counted))

    async def pardon(self, claim: str) -> None:
        """Let the address's own counter begin anew: its owner has set another password."""
        await self._db.execute(SQL["pardon"], claim)

    async def forget(self) -> None:
        """Delete what delays nobody any more."""
        self._forgot_at = self._now()
        await self._db.execute(SQL["forget"], self._forgot_at)


def current_guesses(request: Request) -> Guesses:
    """The guesses at this process's database."""
    state = request.app.state
    made: Guesses | None = getattr(state, "guesses", None)
    if made is None:
        parts: Parts = state.parts
        made = state.guesses = Guesses(parts.db, parts.now, parts.metrics.limited)
    return made
