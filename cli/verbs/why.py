"""`tenure why`: what led to an event and what followed from it, over all stores and the publishers' topic."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.text import Text
from rich.tree import Tree

from cli.app import Result, verb
from cli.context import Context
from cli.event_search import Found, Looked, born, caused_by, children, find, publishers, related
from cli.exit_codes import NOT_FOUND, UNREACHABLE, USAGE, OperatorError
from cli.inbound import MOST, Search, Wanted, search
from cli.output import Output, count, duration, plain, when
from shared.events.envelope import BadName, checked_name, stamp
from shared.services import SERVICES

_CROSSINGS: Final = 5
"""A publisher may answer an event of ours with one of its own, and so on: so often it is looked for the next one."""
_CORRELATIONS: Final = 20


@verb("why")
async def explain_event(
    context: Context,
    output: Output,
    event: Annotated[str, typer.Argument(help="The event's id; a publisher's, or a command's, too.")],
    whole: Annotated[bool, typer.Option("--all", help="The other events of its correlation, too.")] = False,
    most: Annotated[
        int,
        typer.Option("--search", metavar="N", min=1, help="Look at so many records of the inbound topic at the most."),
    ] = MOST,
) -> Result:
    """Show what led to an event and what followed from it, over all services.

    The publisher's event that began it comes first, where there is one."""
    looked = Looked()
    story = Story(context, _id(event), whole, most, looked)
    await story.told()
    shown = story.shown()
    for tree in trees(shown, {each.key for each in story.asked}):
        if not output.json:
            output.out.print(tree)
    more = len(story.found) - len(shown)
    others = f", {more:,} more of its correlation (--all)" if more else ""
    output.line(
        f"{count(len(shown), 'event')}{others}; looked at {count(looked.events, 'event')} in "
        f"{len(SERVICES)} stores{story.searched()}."
    )
    for line in story.cut_off():
        output.line(line)
    return Result(
        {
            "asked": story.id,
            "looked_at": looked.events,
            "inbound": story.inbound(),
            "cut_off": [cut._asdict() for cut in looked.cuts],
            "not_followed": story.not_followed,
            "events": [_node(each) for each in shown],
        }
    )


def _id(text: str) -> str:
    try:
        return checked_name(text.strip() or "\n", "an event's id")
    except BadName as why_not:
        raise OperatorError(f"{why_not}.", USAGE) from None


class Story:
    """One event's: what was `asked` for, and all that was `found` that may have to do with it, oldest first."""

    def __init__(self, context: Context, event_id: str, whole: bool, most: int, looked: Looked) -> None:
        self.id, self.asked = event_id, list[Found]()
        self.found: list[Found] = []
        self.searches: list[Search] = []
        self.not_followed = {"correlations": 0, "publishers_events": 0}
        """How many there were more of than are followed."""
        self._place, self._whole, self._most, self._looked = context, whole, most, looked

    async def told(self) -> None:
        """Finds it all. OperatorError where there is no such event."""
        own = await find(self._place, self.id.lower(), self._looked)
        if own is not None:
            self.asked, self.found = [own], await related(self._place, own, self._looked)
        else:
            await self._publishers()
        tried: set[Wanted] = set()
        for _ in range(_CROSSINGS):
            unseen = self._unseen(tried)
            if not unseen:
                return
            await self._search(list(unseen), max(unseen.values()))
            tried |= unseen.keys()
        self.not_followed["publishers_events"] = len(self._unseen(tried))

    def shown(self) -> list[Found]:
        return self.found if self._whole else kin(self.found, *self._starts())

    def cut_off(self) -> Iterator[str]:
        """What of it may be missing, a line each."""
        for service, about, taken, after, left in self._looked.cuts:
            yield (
                f"CUT OFF in {service}'s store after {count(taken, 'event')} of {about}: "
                f"{count(left, 'event')} after position {after:,} not looked at."
            )
        if more := self.not_followed["correlations"]:
            yield f"CUT OFF: {count(more, 'correlation')} more in which it has effects, not followed."
        if more := self.not_followed["publishers_events"]:
            yield f"CUT OFF: {count(more, 'event')} more of publishers that it goes back to, not looked for."

    def searched(self) -> str:
        last = self.searches[-1] if self.searches else None
        if last is None:
            return ""
        found = any(each.found for each in self.searches) or last.whole or last.problem is not None
        return f" and {last.told()}" + ("" if found else ", where it was not found: --search N looks at more")

    def inbound(self) -> dict[str, Any] | None:
        last = self.searches[-1] if self.searches else None
        if last is None:
            return None
        looked, found = (sum(each.looked for each in self.searches), sum(len(each.found) for each in self.searches))
        return {"looked_at": looked, "records": last.held, "found": found, "problem": last.problem}

    def _starts(self) -> list[Found]:
        """What the trees are grown from: what was asked for, or what followed from it where it could not be found."""
        return self.asked or [each for each in self.found if each.envelope.causation_id == self.id]

    async def _publishers(self) -> None:
        """It is in no store: what followed from it, and the event itself in the inbound topic."""
        effects = await caused_by(self._place, self.id, self._looked)
        firsts = {(each.envelope.correlation_id, each.cause): each for each in reversed(effects)}
        self.not_followed["correlations"] = max(0, len(firsts) - _CORRELATIONS)
        for each in list(firsts.values())[:_CORRELATIONS]:
            self._add(await related(self._place, each, self._looked))
        self._add(effects)
        if effects and not any(publishers(each.envelope) for each in effects):
            return  # they followed from a command of this id
        sources = sorted({publishers(each.envelope) for each in effects})
        wanted = [Wanted(self.id, source) for source in sources] or [Wanted(self.id)]
        near = max((each.envelope.time for each in firsts.values()), default=born(self.id))
        await self._search(wanted, near)
        self.asked = [each for each in self.found if not each.service and each.envelope.id == self.id]
        if not self.found:
            last = self.searches[-1]
            further = "" if last.whole or last.problem else ": --search N looks at more"
            raise OperatorError(
                f"No service has the event {self.id}, and nothing followed from it: looked at "
                f"{count(self._looked.events, 'event')} and {last.told()}{further}.",
                UNREACHABLE if last.problem else NOT_FOUND,
            )

    def _unseen(self, tried: Collection[Wanted]) -> dict[Wanted, datetime]:
        """The publishers' events that something of this followed from, and when: those not looked for yet."""
        known, unseen = {each.key for each in self.found}, dict[Wanted, datetime]()
        for each in self.shown():
            wanted = Wanted(each.envelope.causation_id, publishers(each.envelope))
            if wanted.source and each.cause not in known and wanted not in tried and wanted.id != self.id:
                unseen.setdefault(wanted, each.envelope.time)
        return unseen

    async def _search(self, wanted: Sequence[Wanted], near: datetime | None) -> None:
        self.searches.append(await search(self._place, wanted, near, self._most))
        self._add(self.searches[-1].found)

    def _add(self, more: Sequence[Found]) -> None:
        every = {each.key: each for each in [*self.found, *more]}
        self.found = sorted(every.values(), key=lambda each: (each.envelope.time, each.envelope.id))


def kin(found: Sequence[Found], *asked: Found) -> list[Found]:
    """Those that have the first cause in common with what was asked for."""
    known, reached, waiting = {each.key: each for each in found}, set[str](), list[Found]()
    for root in asked:
        seen = {root.key}
        while (cause := known.get(root.cause)) is not None and cause.key not in seen:
            root = cause
            seen.add(cause.key)
        reached.add(root.key)
        waiting.append(root)
    by_cause = children(found)
    while waiting:
        effects = [each for each in by_cause.get(waiting.pop().key, ()) if each.key not in reached]
        reached |= {each.key for each in effects}
        waiting += effects
    return [each for each in found if each.key in reached]


def _node(found: Found) -> dict[str, Any]:
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
        "causation": envelope.causation_id,
        "correlation": envelope.correlation_id,
        "where": found.where or None,
    }


def trees(found: Sequence[Found], marked: Collection[str]) -> list[Tree]:
    """The events as trees, each under the one that caused it; what has no cause among them is a root, and so is the
    publisher's event that began it all. Those of the keys `marked` are what was asked for."""
    by_cause, known = children(found), {each.key for each in found}
    roots: dict[str, Tree] = {}
    for each in found:
        if each.cause in known and each.cause != each.key:
            continue
        if not each.service:
            root = roots.setdefault(f"is {each.key}", Tree(_label(each, marked, each.envelope.time), guide_style="dim"))
            _grow(root, by_cause.get(each.key, ()), by_cause, marked, each.envelope.time)
            continue
        root = roots.setdefault(each.cause, Tree(Text(plain(_because(each))), guide_style="dim"))
        _grow(root, [each], by_cause, marked, found[0].envelope.time)
    return list(roots.values())


def _because(first: Found) -> str:
    """Of what is not there to be shown."""
    cause, source = first.envelope.causation_id, publishers(first.envelope)
    if not cause:
        return "begun here"
    if source:
        return f"because of {cause} of {source}, which was not found"
    return f"because of the command {cause}" if ":" in cause else f"because of {cause}, from outside"


def _label(each: Found, marked: Collection[str], start: datetime) -> Text:
    envelope, mark = each.envelope, "  <- asked" if each.key in marked else ""
    if not each.service:
        return Text(
            plain(
                f"{envelope.type}  from {envelope.source}  {when(envelope.time)}{mark}\n{envelope.id} in {each.where}"
            )
        )
    late = (envelope.time - start).total_seconds()  # before its cause, where a publisher's clock is ahead
    shown = f"{'-' if late < 0 else '+'}{duration(abs(late))}"
    return Text(plain(f"{envelope.type}  {each.service} {shown}{mark}\n{envelope.stream}@{envelope.version}"))


def _grow(
    root: Tree,
    firsts: Sequence[Found],
    by_cause: Mapping[str, Sequence[Found]],
    marked: Collection[str],
    start: datetime,
) -> None:
    """Adds events and all that followed. Not recursive: a chain of renewals has no end."""
    waiting, seen = [(root, each) for each in reversed(firsts)], set()
    while waiting:
        parent, each = waiting.pop()
        if each.key in seen:
            continue
        seen.add(each.key)
        branch = parent.add(_label(each, marked, start))
        waiting += [(branch, effect) for effect in reversed(by_cause.get(each.key, ()))]
