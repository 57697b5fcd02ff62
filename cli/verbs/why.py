"""`tenure why`: the causes and effects of an event, in all stores and the inbound topics."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.text import Text
from rich.tree import Tree

from cli.app import Result, verb
from cli.context import Context
from cli.event_search import (
    FoundEvent,
    Outcome,
    SearchTally,
    by_cause,
    find_correlated,
    find_effects,
    find_event,
    publisher_source,
    time_of_id,
)
from cli.exit_codes import NOT_FOUND, UNREACHABLE, USAGE, OperatorError
from cli.inbound import MOST, Search, Wanted, search
from cli.output import Output, count, duration, plain, sandbox_mark, when
from shared.events.envelope import BadName, checked_name, stamp
from shared.events.registry import ANSWERING
from shared.services import SERVICES
from shared.sql import statements

SQL: Final = statements(__file__)

_CROSSINGS: Final = 5
"""How many alternations are followed of our events and a publisher's events that answer them."""
_CORRELATIONS: Final = 20
"""How many correlations with effects of a publisher's event are followed."""


@verb("why")
async def explain_event(
    context: Context,
    output: Output,
    event: Annotated[str, typer.Argument(help="The id of an event, of a publisher's event, or of a command.")],
    show_all: Annotated[bool, typer.Option("--all", help="Show the other events of its correlation, too.")] = False,
    most: Annotated[
        int,
        typer.Option("--search", metavar="N", min=1, help="Read at most N records of the inbound topics."),
    ] = MOST,
) -> Result:
    """Show the causes and effects of an event, in all services.

    If a publisher's event was the first cause, the tree begins with it."""
    tally = SearchTally()
    history = EventHistory(context, _id(event), show_all=show_all, most=most, tally=tally)
    await history.collect()
    shown = history.shown()
    for tree in trees(shown, {each.key for each in history.asked}):
        output.show(tree)
    more = len(history.found) - len(shown)
    others = f", {more:,} more of its correlation (show them with --all)" if more else ""
    output.line(
        f"{count(len(shown), 'event')}{others}; searched {count(tally.events, 'event')} in "
        f"{len(SERVICES)} stores{history.searched()}."
    )
    for line in history.truncations():
        output.line(line)
    return Result(
        {
            "asked": history.id,
            "asked_keys": [each.key for each in history.asked],
            "looked_at": tally.events,
            "inbound": history.inbound(),
            "cut_off": [each._asdict() for each in tally.truncations],
            "not_followed": history.not_followed,
            "events": [_node(each) for each in shown],
        }
    )


def _id(text: str) -> str:
    try:
        return checked_name(text.strip() or "\n", "an event's id")
    except BadName as problem:
        raise OperatorError(f"{problem}.", USAGE) from None


class EventHistory:
    """The event that was `asked` for, and all events `found` that may be related to it."""

    def __init__(self, context: Context, event_id: str, *, show_all: bool, most: int, tally: SearchTally) -> None:
        self.id, self.asked = event_id, list[FoundEvent]()
        self.found: list[FoundEvent] = []
        self.searches: list[Search] = []
        self.not_followed = {"correlations": 0, "publishers_events": 0}
        """The numbers beyond the limits of what is followed."""
        self._context, self._show_all, self._most, self._tally = context, show_all, most, tally

    async def collect(self) -> None:
        """Search for the event, its causes and its effects.

        Raises:
            OperatorError: There is no such event.
        """
        own = await find_event(self._context, self.id.lower(), self._tally)
        if own is not None:
            self.asked, self.found = [own], await find_correlated(self._context, own, self._tally)
        else:
            await self._collect_from_publisher()
        tried: set[Wanted] = set()
        for _ in range(_CROSSINGS):
            if not (unseen := self._unseen(tried)):
                break
            await self._search(list(unseen), max(unseen.values()))
            tried |= unseen.keys()
        self.not_followed["publishers_events"] = len(self._unseen(tried))
        self.found = await with_outcomes(self._context, self.found)

    def shown(self) -> list[FoundEvent]:
        """Return the events to show."""
        return self.found if self._show_all else same_root(self.found, *self._starts())

    def truncations(self) -> Iterator[str]:
        """Yield a line for each part of the result that is incomplete."""
        for service, about, taken, after, left in self._tally.truncations:
            yield (
                f"INCOMPLETE in {service}'s store: the limit of {count(taken, 'event')} about {about} was reached; "
                f"{count(left, 'event')} after position {after:,} not searched."
            )
        if more := self.not_followed["correlations"]:
            yield f"INCOMPLETE: it has effects in {count(more, 'more correlation')}, which were not followed."
        if more := self.not_followed["publishers_events"]:
            yield f"INCOMPLETE: {count(more, 'more publisher event')} among its causes, not searched for."

    def searched(self) -> str:
        """Return how much of the inbound topics was searched, as the end of a sentence."""
        last = self.searches[-1] if self.searches else None
        if last is None:
            return ""
        complete = any(each.found for each in self.searches) or last.whole or last.problem is not None
        return f" and {last.describe()}" + ("" if complete else ", without finding it; --search N reads more")

    def inbound(self) -> dict[str, Any] | None:
        """Return the searches of the inbound topics as data; None if there was none."""
        last = self.searches[-1] if self.searches else None
        if last is None:
            return None
        looked, found = (sum(each.looked for each in self.searches), sum(len(each.found) for each in self.searches))
        return {"looked_at": looked, "records": last.held, "found": found, "problem": last.problem}

    def _starts(self) -> list[FoundEvent]:
        """Return the event that was asked for, or its effects if it could not be found."""
        return self.asked or [each for each in self.found if each.envelope.causation_id == self.id]

    async def _collect_from_publisher(self) -> None:
        """Search for an event that is in no store, in the inbound topics, and for its effects."""
        effects = await find_effects(self._context, self.id, self._tally)
        firsts = {(each.envelope.correlation_id, each.cause): each for each in reversed(effects)}
        self.not_followed["correlations"] = max(0, len(firsts) - _CORRELATIONS)
        for each in list(firsts.values())[:_CORRELATIONS]:
            self._add(await find_correlated(self._context, each, self._tally))
        self._add(effects)
        if effects and not any(publisher_source(each.envelope) for each in effects):
            return  # a command of this id caused them
        sources = sorted({publisher_source(each.envelope) for each in effects})
        wanted = [Wanted(self.id, source) for source in sources] or [Wanted(self.id)]
        near = max((each.envelope.time for each in firsts.values()), default=time_of_id(self.id))
        await self._search(wanted, near)
        self.asked = [each for each in self.found if not each.service and each.envelope.id == self.id]
        if not self.found:
            last = self.searches[-1]
            further = "" if last.whole or last.problem else "; --search N reads more"
            raise OperatorError(
                f"No service has the event {self.id} or an effect of it; searched "
                f"{count(self._tally.events, 'event')} and {last.describe()}{further}.",
                UNREACHABLE if last.problem else NOT_FOUND,
            )

    def _unseen(self, tried: Collection[Wanted]) -> dict[Wanted, datetime]:
        """Return the publishers' events that caused shown events and were not searched for yet.

        The values are the times of their effects.
        """
        known, unseen = {each.key for each in self.found}, dict[Wanted, datetime]()
        for each in self.shown():
            wanted = Wanted(each.envelope.causation_id, publisher_source(each.envelope))
            if wanted.source and each.cause not in known and wanted not in tried and wanted.id != self.id:
                unseen.setdefault(wanted, each.envelope.time)
        return unseen

    async def _search(self, wanted: Sequence[Wanted], near: datetime | None) -> None:
        self.searches.append(await search(self._context, wanted, near, self._most))
        self._add(self.searches[-1].found)

    def _add(self, more: Sequence[FoundEvent]) -> None:
        every = {each.key: each for each in [*self.found, *more]}
        self.found = sorted(every.values(), key=lambda each: (each.envelope.time, each.envelope.id))


async def with_outcomes(context: Context, found: Sequence[FoundEvent]) -> list[FoundEvent]:
    """Return the events, those of publishers with what became of them."""
    foreign = [each for each in found if not each.service]
    if not foreign:
        return list(found)
    outcomes: dict[str, list[Outcome]] = {each.key: [] for each in foreign}
    places = [each.where.rsplit("/", 2) for each in foreign]
    asked = (
        [each.envelope.source for each in foreign],
        [each.envelope.id for each in foreign],
        [topic for topic, _, _ in places],
        [int(partition) for _, partition, _ in places],
        [int(offset) for _, _, offset in places],
    )
    for service in ANSWERING:
        for row in await (await context.db(service)).fetch(SQL["outcomes"], *asked):
            said = Outcome(service, *(row[name] for name in Outcome._fields[1:]))
            outcomes[foreign[row["n"] - 1].key].append(said)
    return [each if each.service else each._replace(outcomes=outcomes[each.key]) for each in found]


def same_root(found: Sequence[FoundEvent], *asked: FoundEvent) -> list[FoundEvent]:
    """Return the events that have the same first cause as the events asked for."""
    known, reached, waiting = {each.key: each for each in found}, set[str](), list[FoundEvent]()
    for root in asked:
        seen = {root.key}
        while (cause := known.get(root.cause)) is not None and cause.key not in seen:
            root = cause
            seen.add(cause.key)
        reached.add(root.key)
        waiting.append(root)
    effects_of = by_cause(found)
    while waiting:
        effects = [each for each in effects_of.get(waiting.pop().key, ()) if each.key not in reached]
        reached |= {each.key for each in effects}
        waiting += effects
    return [each for each in found if each.key in reached]


def _node(found: FoundEvent) -> dict[str, Any]:
    envelope = found.envelope
    return {
        "id": envelope.id,
        "type": envelope.type,
        "service": found.service or None,
        "source": envelope.source,
        "stream": envelope.stream,
        "version": envelope.version,
        "time": stamp(envelope.time),
        "actor": envelope.actor,
        "sandbox": envelope.sandbox,
        "causation": envelope.causation_id,
        "correlation": envelope.correlation_id,
        "key": found.key,
        "cause": found.cause,
        "where": found.where or None,
        "outcomes": [{**each._asdict(), "time": stamp(each.time)} for each in found.outcomes or ()],
    }


def trees(found: Sequence[FoundEvent], marked: Collection[str]) -> list[Tree]:
    """Return the events as trees, each event below its cause.

    An event whose cause is not among them is a root, and so is a publisher's event that was the first cause. The
    events with the keys `marked` are marked as those asked for.
    """
    effects_of, known = by_cause(found), {each.key for each in found}
    roots: dict[str, Tree] = {}
    for each in found:
        if each.cause in known and each.cause != each.key:
            continue
        if not each.service:
            root = roots.setdefault(f"is {each.key}", Tree(_label(each, marked, each.envelope.time), guide_style="dim"))
            _grow(root, effects_of.get(each.key, ()), effects_of, marked, each.envelope.time)
            continue
        root = roots.setdefault(each.cause, Tree(Text(plain(_because(each))), guide_style="dim"))
        _grow(root, [each], effects_of, marked, found[0].envelope.time)
    return list(roots.values())


def _because(first: FoundEvent) -> str:
    """Return the text for a cause that is not itself shown."""
    cause, source = first.envelope.causation_id, publisher_source(first.envelope)
    if not cause:
        return "no earlier cause"
    if source:
        return f"caused by {cause} of {source}, which was not found"
    return (
        f"caused by the command {cause}"
        if ":" in cause
        else f"caused by {cause}, which is not an event of these services"
    )


def _label(each: FoundEvent, marked: Collection[str], start: datetime) -> Text:
    envelope, mark = each.envelope, "  <- asked" if each.key in marked else ""
    if not each.service:
        said = f"{envelope.type}  from {envelope.source}  {when(envelope.time)}{mark}"
        return _lines(said, f"{envelope.id} in {each.where}", *_answered(each))
    late = (envelope.time - start).total_seconds()  # negative if a publisher's clock is ahead
    shown = f"{'-' if late < 0 else '+'}{duration(abs(late))}"
    mark = sandbox_mark(envelope) + mark
    return _lines(f"{envelope.type}  {each.service} {shown}{mark}", f"{envelope.stream}@{envelope.version}")


def _answered(each: FoundEvent) -> Iterator[str]:
    """Yield a line for what each service has answered to a publisher's event."""
    if each.outcomes is not None and not each.outcomes:
        yield "no service has answered it"
    for said in each.outcomes or ():
        because = f", {said.rule}: {said.reason}" if said.rule else ""
        yield f"{said.status} by {said.service} {when(said.time)}{because}"


def _lines(*lines: str) -> Text:
    return Text("\n".join(map(plain, lines)))


def _grow(
    root: Tree,
    firsts: Sequence[FoundEvent],
    effects_of: Mapping[str, Sequence[FoundEvent]],
    marked: Collection[str],
    start: datetime,
) -> None:
    """Add events and all their effects; not recursive, as chains may be very long."""
    waiting, seen = [(root, each) for each in reversed(firsts)], set()
    while waiting:
        parent, each = waiting.pop()
        if each.key in seen:
            continue
        seen.add(each.key)
        branch = parent.add(_label(each, marked, start))
        waiting += [(branch, effect) for effect in reversed(effects_of.get(each.key, ()))]
