"""An immutable mapping that is cheap to extend, for states that grow with every event.

A fold that copies a growing `dict` for each event takes a time that is quadratic in the number of events. This mapping
shares what it has with its extension.
"""

from collections.abc import Iterator, Mapping, ValuesView
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True, eq=False)
class PersistentMap(Mapping[K, V], Generic[K, V]):
    """An immutable mapping in the order of its keys' first insertion.

    On the average of many, an extension copies as many entries as the logarithm of the mapping's size. A lookup
    searches at most that many parts.

    Source: J. L. Bentley and J. B. Saxe, Decomposable searching problems (1980), the logarithmic method.
    """

    parts: tuple[dict[K, V], ...] = ()
    """The entries, each part with more than the one after it. A later part's value for a key counts."""

    def extended(self, entries: Mapping[K, V]) -> "PersistentMap[K, V]":
        """Return the mapping with these entries, which replace former ones of the same keys."""
        if not entries:
            return self
        parts, latest = list(self.parts), dict(entries)
        while parts and len(parts[-1]) <= len(latest):
            latest = {**parts.pop(), **latest}
        return PersistentMap((*parts, latest))

    def __getitem__(self, key: K) -> V:
        for part in reversed(self.parts):
            if key in part:
                return part[key]
        raise KeyError(key)

    def __iter__(self) -> Iterator[K]:
        return iter(self._merged())

    def __len__(self) -> int:
        return len(self._merged())

    def values(self) -> ValuesView[V]:
        """Return the values in the keys' order, each looked up once."""
        return self._merged().values()

    def _merged(self) -> dict[K, V]:
        merged: dict[K, V] = {}
        for part in self.parts:
            merged |= part
        return merged
