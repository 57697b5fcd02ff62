"""Delays of wrong passwords.

After a few wrong passwords each further guess has to wait longer, up to 15 minutes. Two counters delay a guess at the
password of an e-mail address, whether or not an account has the address:

- one for the address and the network of the guess (`FREE_PAIR`), so that a guesser only delays itself;
- one for the address alone (`FREE_ADDRESS`), so that guesses from many networks are limited, too. It doesn't apply to a
  network from which the right password was sent in the last 90 days, so that a stranger can't lock out the owner.

Both counters are in identity's database and apply to all of its processes. A guess is counted before the password is
checked, so that concurrent guesses can't pass; it is uncounted if it was right or was never checked.
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
RESTART_AFTER: Final = timedelta(days=1)
"""A counter restarts if there was no guess for this time."""
KNOWN_FOR: Final = timedelta(days=90)
FORGET_EVERY: Final = timedelta(hours=1)
SQL: Final = statements(__file__)


@dataclass(frozen=True, slots=True)
class Counter:
    """The counter of earlier guesses at one subject."""

    subject: bytes
    failures: int
    last_at: datetime
    known_until: datetime | None = None


def wait(counter: Counter, free: int, now: datetime) -> timedelta:
    """Return how long the next guess has to wait.

    It is zero for the first `free` guesses, then 1 s, 2 s, 4 s and so on, up to LONGEST.
    """
    if counter.failures < free or restarts(counter, now):
        return timedelta(0)
    delay = min(timedelta(seconds=2 ** min(counter.failures - free, 30)), LONGEST)
    return max(counter.last_at + delay - now, timedelta(0))


def restarts(counter: Counter, now: datetime) -> bool:
    return now - counter.last_at > RESTART_AFTER


@dataclass(frozen=True, slots=True)
class Guess:
    """A guess that was counted and may be checked."""

    pair: bytes
    address: bytes
    counted: tuple[bytes, ...]
    """The subjects of the counters that count it."""


class Guesses:
    """The counters of guesses in one database."""

    def __init__(self, db: Pool, now: Callable[[], datetime], refused: Callable[[str], None] = lambda _: None) -> None:
        """Take the database and the clock; `refused` is called with the limit's name at a refusal."""
        self._db, self._now, self._refused = db, now, refused
        self._forgot_at = now()

    async def checked(self, claim: str, source: str, check: Callable[[], Awaitable[str | None]]) -> str | None:
        """Return the result of `check`, where None is a wrong guess, and count the guess.

        Args:
            claim: The claim of the e-mail address whose password is guessed.
            source: The network that the guess comes from.
            check: The check of the password. If it raises, the guess is uncounted.

        Raises:
            Problem: 429 if the guess has to wait.
        """
        if self._now() - self._forgot_at > FORGET_EVERY:
            await self.forget()
        guess = await self._begin(claim, source)
        try:
            verifier = await check()
        except Exception:
            await self._db.execute(SQL["uncount"], list(guess.counted))
            raise
        if verifier is not None:
            known_until = self._now() + KNOWN_FOR
            await self._db.execute(SQL["forgive"], [guess.pair, guess.address], guess.pair, known_until)
        return verifier

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
                restarting = [restarts(counter, now) for counter in counted]
                await tx.execute(SQL["count"], [counter.subject for counter in counted], restarting, now)
        if longest:
            self._refused("guesses")
            raise too_many(
                "Too many wrong passwords were sent for this e-mail address. Each further attempt has to wait longer.",
                longest.total_seconds(),
            )
        return Guess(pair.subject, address.subject, tuple(counter.subject for counter in counted))

    async def pardon(self, claim: str) -> None:
        """Restart the address's own counter, because its owner has set another password."""
        await self._db.execute(SQL["pardon"], claim)

    async def forget(self) -> None:
        """Delete the counters that delay no guess any more."""
        self._forgot_at = self._now()
        await self._db.execute(SQL["forget"], self._forgot_at)


def current_guesses(request: Request) -> Guesses:
    """Return the counters in this process's database."""
    state = request.app.state
    made: Guesses | None = getattr(state, "guesses", None)
    if made is None:
        parts: Parts = state.parts
        made = state.guesses = Guesses(parts.db, parts.now, parts.metrics.limited)
    return made
