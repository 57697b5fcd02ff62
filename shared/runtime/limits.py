"""Limits: how often one account, address or source may ask for something, and the 429 that says when to come back.

Each process counts in its own memory, so a service of N processes admits up to N times a limit. What has to hold over
all of them, the guesses at one account's password, is counted in identity's database.
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
    "sign-up", "sign-up-address", "dry-run", "sign-in", "refresh", "reset", "password", "invitation", "bulk", "command"
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
}
"""By name, how often. `sign-up`, `dry-run` (without a token), `sign-in`, `refresh` and `reset` are counted by source,
`sign-up-address` by e-mail address, the others by account."""

_WHOSE: Final[Mapping[LimitName, str]] = {
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
}
KEYS_AT_MOST: Final = 100_000
"""Counters that are kept, 200 bytes each; beyond that the one longest not asked for is forgotten."""
_SUBNET: Final = 64
"""The bits of an IPv6 address that count: whoever has one address has all of its /64."""


def parsed(text: str) -> dict[LimitName, tuple[RateLimitItem, ...]]:
    """The limits of the setting TENURE_LIMITS, such as `sign-up=1000/minute, dry-run=off`, over the defaults.

    Raises:
        ValueError: A name is unknown, or an amount is not like `5/minute`, `2/second; 50/hour` or `off`.
    """
    amounts: dict[LimitName, str] = dict(DEFAULTS)
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, _, amount = (each.strip() for each in part.partition("="))
        known = next((each for each in get_args(LimitName) if each == name), None)
        if known is None:
            raise ValueError(f"there is no limit {name[:40]!r}: choose from {', '.join(DEFAULTS)}")
        amounts[known] = amount
    return {name: _items(name, amount) for name, amount in amounts.items()}


def _items(name: str, amount: str) -> tuple[RateLimitItem, ...]:
    if amount == "off":
        return ()
    try:
        items = tuple(parse_many(amount))
    except ValueError as error:
        raise ValueError(f"the limit {name} is not like 5/minute, 2/second; 50/hour or off: {amount[:40]!r}") from error
    if any(item.amount < 1 for item in items):
        raise ValueError(f"the limit {name} admits nothing: say off for no limit")
    return items


class _Counters(Storage, SlidingWindowCounterSupport):
    """Counters of the library's sliding windows, bounded, on a clock of our own.

    The library's own storage in memory starts a thread at every hit, looks through all of its keys, and keeps as many
    as come.
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
        """Uncount one entry of the current window, if it is still there."""
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
"""What the request under way was counted for."""


class Limits:
    """The limits of one process, and what was asked of it so far."""

    def __init__(
        self,
        text: str = "",
        *,
        clock: Callable[[], float] = time.time,
        refused: Callable[[str], None] = lambda _: None,
        keys_at_most: int = KEYS_AT_MOST,
    ) -> None:
        """`text` is the setting TENURE_LIMITS; `refused` is told the name of a limit that refused something."""
        self._items = parsed(text)
        self._counters = _Counters(clock, keys_at_most)
        self._windows = SlidingWindowCounterRateLimiter(self._counters)
        self._refused = refused

    def take(self, name: LimitName, key: str) -> None:
        """Count one request of `key`. Raises Problem 429, and counts nothing, where the limit is reached."""
        items = self._items[name]
        if reached := [item for item in items if not self._windows.test(item, name, key)]:
            self._refused(name)
            raise too_many(
                f"{reached[0]} is the limit for {_WHOSE[name]}.", max(self._wait_s(i, name, key) for i in reached)
            )
        for item in items:
            self._windows.hit(item, name, key)
        if (taken := _taken.get()) is not None:
            taken.append((name, key))

    @contextmanager
    def request(self) -> Iterator[Callable[[], None]]:
        """Note what is counted within, for one request.

        Yields a function that uncounts all of it: for a request that was answered 503, which did nothing and is to be
        sent again.
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
        """Uncount one request: it turned out to be none of those that the limit is for."""
        for item in self._items[name]:
            self._counters.give_back(item.key_for(name, key), item.get_expiry())

    def _wait_s(self, item: RateLimitItem, *identifiers: str) -> float:
        """After how many seconds the next request is admitted, if none is until then."""
        expiry = item.get_expiry()
        previous, left, current, _ = self._counters.get_sliding_window(item.key_for(*identifiers), expiry)
        room = item.amount - 1
        if current <= room:
            return left - (room - current + 1) * expiry / previous if previous else 0.0
        return left + expiry - (room + 1) * expiry / current


def too_many(reason: str, wait_s: float) -> Problem:
    """429, with the whole seconds after which to come back."""
    seconds = math.floor(wait_s) + 1
    return Problem(
        429,
        rule=rules.TOO_MANY_REQUESTS,
        reason=reason,
        remedy=f"Send it again in {seconds} s.",
        headers={"Retry-After": str(seconds)},
    )


def source_of(scope: MutableMapping[str, Any]) -> str:
    """The network address that a request comes from; of an IPv6 address its /64.

    It is the connection's other end, or what a trusted proxy (TENURE_TRUSTED_PROXIES) says it forwards for.
    """
    client = scope.get("client")
    if not client:
        return "unknown"
    return network_of(str(client[0]))


def network_of(host: str) -> str:
    """The address as it is counted: an IPv4 address, or an IPv6 network of 64 bits."""
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
    """A route's dependency: `@QUERIES.post("/sessions", dependencies=[limited_by_source("sign-in")])`."""

    async def count(request: Request) -> None:
        limits: Limits = request.app.state.parts.limits
        limits.take(name, source_of(request.scope))

    return Depends(count)
