"""The causes and effects of an event as a graph: the places of boxes, and the lines."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.console.shapes.operations import RelatedEvent

DRAWN: Final = 60
"""How many events a graph has at most: the asked one's causes and effects come first."""
WIDTH: Final = 216
HEIGHT: Final = 46
ACROSS: Final = 252
DOWN: Final = 58
MARGIN: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An event in the graph, with the place of its box's corner."""

    event: RelatedEvent
    asked: bool
    x: int
    y: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A graph that reads from causes at the left to effects at the right."""

    nodes: Sequence[Node]
    edges: Sequence[str]
    """The lines, as paths."""
    width: int
    height: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Effects:
    """An event with its effects, and theirs."""

    event: RelatedEvent
    effects: "Sequence[Effects]"


class Related:
    """Related events, each below its cause."""

    def __init__(self, events: Sequence[RelatedEvent], asked: Sequence[str]) -> None:
        self.events, self.asked = {each.key: each for each in events}, set(asked)
        self._effects: dict[str, list[str]] = {}
        for each in events:
            self._effects.setdefault(each.cause, []).append(each.key)

    def causes(self, key: str) -> list[RelatedEvent]:
        """Return an event's causes, the first one first."""
        found: list[RelatedEvent] = []
        seen = {key}
        while (cause := self.events[key].cause) in self.events and cause not in seen:
            seen.add(cause)
            found.insert(0, self.events[cause])
            key = cause
        return found

    def effects(self, key: str) -> Sequence[str]:
        """Return the keys of an event's direct effects."""
        return self._effects.get(key, ()) if key in self.events else ()

    def below(self, key: str, most: int) -> Sequence[Effects]:
        """Return an event's effects and theirs, as a tree of the nearest ones."""
        return self._tree(key, set(self._nearest([key], most + 1)) - {key})

    def _tree(self, key: str, chosen: set[str]) -> Sequence[Effects]:
        return [Effects(self.events[each], self._tree(each, chosen)) for each in self.effects(key) if each in chosen]

    def _nearest(self, first: Sequence[str], most: int) -> list[str]:
        """Return these events and their nearest effects."""
        found, waiting = dict[str, None](), deque(first)
        while waiting and len(found) < most:
            key = waiting.popleft()
            if key not in found:
                found[key] = None
                waiting.extend(self.effects(key))
        return list(found)

    def graph(self) -> Graph:
        """Return the graph of those asked for, then of causes and effects, then of others."""
        asked = [key for key in self.events if key in self.asked]
        causes = [cause.key for key in asked for cause in self.causes(key)][-DRAWN // 2 :]
        wanted = dict.fromkeys([*asked, *causes, *self._nearest(asked, DRAWN), *self.events])
        places = _places(self.events, self._effects, set(list(wanted)[:DRAWN]))
        nodes = [
            Node(
                event=self.events[key],
                asked=key in self.asked,
                x=MARGIN + column * ACROSS,
                y=MARGIN + row * DOWN,
            )
            for key, (column, row) in places.items()
        ]
        edges = [
            _edge(places[self.events[key].cause], at) for key, at in places.items() if self.events[key].cause in places
        ]
        return Graph(
            nodes=nodes,
            edges=edges,
            width=max((node.x for node in nodes), default=0) + WIDTH + MARGIN,
            height=max((node.y for node in nodes), default=0) + HEIGHT + MARGIN,
            left_out=len(self.events) - len(places),
        )


def _places(
    events: Mapping[str, RelatedEvent], effects: Mapping[str, Sequence[str]], chosen: set[str]
) -> dict[str, tuple[int, int]]:
    """Return column and row of each event.

    A cause is in the row of its first effect; further effects are in rows below.
    """
    places: dict[str, tuple[int, int]] = {}
    roots = [key for key in events if key in chosen and events[key].cause not in chosen - {key}]
    rows = 0
    for root in roots:
        waiting = [(root, 0, True)]
        while waiting:
            key, column, beside = waiting.pop()
            if key in places:
                continue
            rows += 0 if beside and places and column else 1
            places[key] = (column, rows - 1)
            below = [each for each in effects.get(key, ()) if each in chosen]
            waiting += [(each, column + 1, number == 0) for number, each in reversed(list(enumerate(below)))]
    return places


def _edge(cause: tuple[int, int], effect: tuple[int, int]) -> str:
    """Return the line from a cause's right side to an effect's left side."""
    x, y = MARGIN + cause[0] * ACROSS + WIDTH, MARGIN + cause[1] * DOWN + HEIGHT // 2
    to_x, to_y = MARGIN + effect[0] * ACROSS, MARGIN + effect[1] * DOWN + HEIGHT // 2
    middle = (x + to_x) // 2
    return f"M{x},{y} C{middle},{y} {middle},{to_y} {to_x},{to_y}"
