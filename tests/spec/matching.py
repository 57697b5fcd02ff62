"""How the language compares events: by their fields and ids, or by their class where a test names only that."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import TypeAlias

from shared.events import Event

Expected: TypeAlias = Event | type[Event]
"""An event, or a class that stands for any event of it."""


def assert_events(found: Sequence[Event], expected: Sequence[Expected], *, ids: bool = False) -> None:
    """Check that these events are the expected ones, in order. With `ids` they are the same records, too."""

    def shown(event: Event | None, wanted: Expected | None) -> object:
        if event is None or isinstance(wanted, type):
            return None if event is None else type(event)
        return (type(event), event, event.ref if ids else "")

    pairs = list(zip_longest(found, expected))
    assert [shown(event, wanted) for event, wanted in pairs] == [
        wanted if wanted is None or isinstance(wanted, type) else shown(wanted, None) for _, wanted in pairs
    ]
