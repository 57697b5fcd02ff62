"""Rate limits by account, e-mail address or network address.

Each process counts in its own memory, so a service of N processes admits up to N times a limit. The limit that must
hold over all processes, on guesses of one account's password, is counted in identity's database.
"""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Literal, TypeAlias, get_args

from fastapi import Depends, Request
from limits import RateLimitItem, parse_many
from limits.storage import Storage
from limits.storage.base import SlidingWindowCounterSupport
from limits.strategies import SlidingWindowCounterRateLimiter

from shared import rules
from shared.runtime.problems import Problem

LimitName: TypeAlias = Literal[
    "sign-up",
    "sign-up-address",
    "dry-run",
    "sign-in",
    "refresh",
    "reset",
    "password",
    "invitation",
    "bulk",
    "command",
    "as-of",
    "events",
]
DEFAULTS: Final[Mapping[LimitName, str]] = {
    "sign-up": "20/minute; 100/hour",
    "sign-up-address": "10/hour",
    "dry-run": "30/minute",
    "sign-in": "60/minute",
    "refresh": "300/minute",
    "reset": "10/minute",
    "password": "10/minute",
    "invitation": "60/hour",
    "bulk": "60/minute",
    "command": "1200/minute",
    "as-of": "120/minute",
    "events": "1200/minute",
}
"""The default limits by name.

`sign-up`, `dry-run` (without a token), `sign-in`, `refresh` and `reset` are counted by network address,
`sign-up-address` by e-mail address, the others by account.
"""

_COUNTED: Final[Mapping[LimitName, str]] = {
    "sign-up": "sign-ups from this network address",
    "sign-up-address": "sign-ups with this e-mail address",
    "dry-run": "dry runs without a token from this network address",
    "sign-in": "sign-ins from this network address",
    "refresh": "renewals of a session from this network address",
    "reset": "password resets from this network address",
    "password": "changes of this account's password",
    "invitation": "invitations by this account",
    "bulk": "bulk requests by this account",
    "command": "commands by this account",
    "as-of": "questions about the past by this account",
    "events": "requests with events by this account",
}
KEYS_AT_MOST: Final = 100_000
"""The greatest number of counters, 200 bytes each; beyond it the least recently used one is dropped."""
_SUBNET: Final = 64
"""The bits of an IPv6 address that count: one user usually has all addresses of a /64."""


def parsed(text: str) -> dict[LimitName, tuple[RateLimitItem, ...]]:
    """Parse the setting TENURE_LIMITS, such as `sign-up=1000/minute, dry-run=off`.

    Limits that it does not name have their defaults.

    Raises:
        ValueError: a name is unknown, or an amount is not like `5/minute`, `2/second; 50/hour` or `off`.
    """
    amounts: dict[LimitName, str] = dict(DEFAULTS)
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, amount = (side.strip() for side in part.partition("="))
        limit = next((limit for limit in get_args(LimitName) if limit == name), None)
        if limit is None:
            raise ValueError(f"there is no limit {name[:40]!r}: choose from {', '.join(DEFAULTS)}")
        amounts[limit] = amount
    return {name: _items(name, amount) for name, amount in amounts.items()}


def _items(name: str, amount: str) -> tuple[RateLimitItem, ...]:
    if amount == "off":
        return ()
    try:
        items = tuple(parse_many(amount))
    except ValueError as error:
        raise ValueError(f"the limit {name} is not like 5/minute, 2/second; 50/hour or off: {amount[:40]!r}") from error
    if any(item.amount < 1 for item in items):
        raise ValueError(f"the limit {name} admits nothing: write off for no limit")
    return items


class _Counters(Storage, SlidingWindowCounterSupport):
    """A bounded storage for the library's sliding windows, with an injected clock.

    The library's own storage in memory starts a thread at every hit, scans all of its keys, and is unbounded.
    """

    STORAGE_SCHEME = ["tenure-memory"]  # noqa: RUF012  # the library's own declaration

    def __init__(self, clock: Callable[[], float], keys_at_most: int) -> None:
        super().__init__()
        self._clock, self._keys_at_most = clock, keys_at_most
        self._windows: OrderedDict[str, tuple[int, int, int]] = OrderedDict()
        """By key: the number of the current window, its count, and the count of the window before it."""

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return ()

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        previous, previous_ttl, current, _ = self.get_sliding_window(key, expiry)
        if math.floor(previous * previous_ttl / expiry + current) + amount > limit:
            return False
        self._put(key, (int(self._clock() / expiry), current + amount, previous))
        return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        number, into = divmod(self._clock(), expiry)
        window, current, previous = self._windows.get(key, (0, 0, 0))
        if window != number:
            current, previous = 0, current if window == number - 1 else 0
        return previous, expiry - into, current, 2 * expiry - into

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        del expiry
        self.clear(key)

    def give_back(self, key: str, expiry: int) -> None:
        """Remove one count from the current window, if it has any."""
        previous, _, current, _ = self.get_sliding_window(key, expiry)
        if current:
            self._put(key, (int(self._clock() / expiry), current - 1, previous))

    def _put(self, key: str, window: tuple[int, int, int]) -> None:
        self._windows[key] = window
        self._windows.move_to_end(key)
        if len(self._windows) > self._keys_at_most:
            self._windows.popitem(last=False)

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        previous, _, current, _ = self.get_sliding_window(key, expiry)
        self._put(key, (int(self._clock() / expiry), current + amount, previous))
        return current + amount

    def get(self, key: str) -> int:
        return self._windows.get(key, (0, 0, 0))[1]

    def get_expiry(self, key: str) -> float:
        del key
        return self._clock()

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)


_taken: ContextVar[list[tuple[LimitName, str]] | None] = ContextVar("taken", default=None)
"""The limits and keys that the current request was counted for."""


class Limits:
    """The limits of one process, and its counters."""

    def __init__(
        self,
        text: str = "",
        *,
        clock: Callable[[], float] = time.time,
        refused: Callable[[str], None] = lambda _: None,
        keys_at_most: int = KEYS_AT_MOST,
    ) -> None:
        """Create counters for the limits.

        Args:
            text: the setting TENURE_LIMITS.
            refused: called with the name of a limit that refused a request.
            keys_at_most: the greatest number of counters.

        Raises:
            ValueError: `text` is malformed.
        """
        self._items = parsed(text)
        self._counters = _Counters(clock, keys_at_most)
        self._windows = SlidingWindowCounterRateLimiter(self._counters)
        self._refused = refused

    def take(self, name: LimitName, key: str) -> None:
        """Count one request of `key`. If the limit is reached, raise Problem 429 and count nothing."""
        items = self._items[name]
        if reached := [item for item in items if not self._windows.test(item, name, key)]:
            self._refused(name)
            raise too_many(
                f"{reached[0]} is the limit for {_COUNTED[name]}.", max(self._wait_s(i, name, key) for i in reached)
            )
        for item in items:
            self._windows.hit(item, name, key)
        if (taken := _taken.get()) is not None:
            taken.append((name, key))

    @contextmanager
    def request(self) -> Iterator[Callable[[], None]]:
        """Collect what is counted inside the block, for one request.

        Yields a function that removes these counts: for a request that got 503, which did nothing and has to be sent
        again.
        """
        taken: list[tuple[LimitName, str]] = []
        before = _taken.set(taken)

        def uncount() -> None:
            for name, key in taken:
                self.give_back(name, key)

        try:
            yield uncount
        finally:
            _taken.reset(before)

    def give_back(self, name: LimitName, key: str) -> None:
        """Remove the count of one request that turned out not to concern the limit."""
        for item in self._items[name]:
            self._counters.give_back(item.key_for(name, key), item.get_expiry())

    def _wait_s(self, item: RateLimitItem, *identifiers: str) -> float:
        """Return the seconds until the next request is admitted, if no other one is before."""
        expiry = item.get_expiry()
        previous, remaining_s, current, _ = self._counters.get_sliding_window(item.key_for(*identifiers), expiry)
        room = item.amount - 1
        if current <= room:
            return remaining_s - (room - current + 1) * expiry / previous if previous else 0.0
        return remaining_s + expiry - (room + 1) * expiry / current


def too_many(reason: str, wait_s: float) -> Problem:
    """Return Problem 429 with a Retry-After in whole seconds."""
    seconds = math.floor(wait_s) + 1
    return Problem(
        rule=rules.TOO_MANY_REQUESTS,
        reason=reason,
        remedy=f"Send it again in {seconds} s.",
        headers={"Retry-After": str(seconds)},
    )


def source_of(scope: MutableMapping[str, Any]) -> str:
    """Return the network address that a request comes from; for an IPv6 address its /64.

    It is the connection's peer, or the address that a trusted proxy (TENURE_TRUSTED_PROXIES) says it forwards for.
    """
    client = scope.get("client")
    if not client:
        return "unknown"
    return network_of(str(client[0]))


def network_of(host: str) -> str:
    """Return an address as it is counted: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:100]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _SUBNET), strict=False))
    return str(address)


def limited_by_source(name: LimitName) -> Any:
    """Return a dependency that counts a route's requests by network address.

    Use it as `@QUERIES.post("/sessions", dependencies=[limited_by_source("sign-in")])`.
    """

    async def count(request: Request) -> None:
        limits: Limits = request.app.state.parts.limits
        limits.take(name, source_of(request.scope))

    return Depends(count)
