"""`tenure replay`: events that are stored, sent once more: to a topic of its own, or to one consumer."""

from collections import Counter as Counts
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from cli.app import Planned, change
from cli.cloudevents import Foreign
from cli.context import TOPICS, Context, consumers
from cli.event_search import Found
from cli.exit_codes import NOT_FOUND, REFUSED, USAGE, OperatorError
from cli.operation import ChangePlan, Operation, Outcome
from cli.options import Since, Until
from cli.output import Output, count
from cli.verbs.transfer import AT_ONCE, Chosen, events, known_types, send, service_named, span
from shared.eventlog.deliver.plan import Raw
from shared.eventlog.repair import parked
from shared.eventlog.repair.anchors import FORMER
from shared.events.envelope import to_headers
from shared.events.registry import is_inbound, topic_of


@change("replay")
async def replay_events(
    context: Context,
    output: Output,
    service: Annotated[str, typer.Argument(help="Whose events.")],
    first: Annotated[int, typer.Option("--from", help="From this position.")] = 1,
    last: Annotated[int | None, typer.Option("--to", help="Up to this position.")] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Only these types.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only this stream.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this organisation's.")] = None,
    since: Since = None,
    until: Until = None,
    to_topic: Annotated[
        str | None,
        typer.Option("--to-topic", help="Send them to this topic, which exists and is none of the contract's."),
    ] = None,
    consumer: Annotated[str | None, typer.Option("--consumer", help="Park copies for this consumer alone.")] = None,
) -> Planned:
    """Send stored events once more, to a topic or to one consumer. No checkpoint is moved.

    A consumer gets copies in its parked records: `tenure parked retry` applies each of them once more (and its dry
    run says what comes of that). Whoever reads the contract's topics is not concerned."""
    if (to_topic is None) == (consumer is None):
        raise OperatorError("Say where to: either --to-topic or --consumer.", USAGE)
    chosen = Chosen(
        first=first, last=last, types=known_types(only), stream=stream, tenant=tenant, since=since, until=until
    )
    db = await context.db(service_named(service))
    low, high = await span(db, chosen)
    selection = Selection(db=db, service=service, chosen=chosen, low=low, high=high)
    if to_topic is not None:
        return await _to_topic(context, output, selection, to_topic)
    return await _to_consumer(context, output, selection, consumer or "")


@dataclass(kw_only=True, slots=True)
class Selection:
    """The chosen events, read as often as they are needed instead of kept."""

    db: Any
    service: str
    chosen: Chosen
    low: int
    high: int

    @property
    def looked(self) -> int:
        return max(0, self.high - self.low + 1)

    async def batches(self, types: Collection[str] | None = None) -> AsyncIterator[list[Found]]:
        """In order; with `types` only the events of these."""
        async for batch in events(self.db, self.service, self.chosen, self.low, self.high):
            yield [each for each in batch if types is None or each.envelope.type in types]

    async def by_type(self, output: Output) -> Counts[str]:
        """How many there are of each type; shows how far it is."""
        found: Counts[str] = Counts()
        with output.progress(f"look at {self.service}", self.looked) as counter:
            async for batch in self.batches():
                found.update(each.envelope.type for each in batch)
                counter(min(AT_ONCE, self.looked))
        return found


def _plan(
    service: str,
    selection: Selection,
    by_type: Mapping[str, int],
    where: str,
    says: Sequence[str],
    apply: Callable[[Operation], Awaitable[Outcome]],
) -> ChangePlan:
    total = sum(by_type.values())
    arguments = [where, f"events={total}", f"positions={selection.low}-{selection.high}"]
    told = [f"{count(number, name + ' event')}" for name, number in sorted(by_type.items())]
    data: dict[str, Any] = {"types": dict(sorted(by_type.items())), "looked_at": selection.looked}
    told.append(f"Looked at {count(selection.looked, 'event')}.")
    return ChangePlan(
        service=service,
        arguments=arguments,
        total=total,
        thing="event",
        says=[*told, *says],
        data=data,
        apply=apply,
    )


async def _to_topic(context: Context, output: Output, selection: Selection, topic: str) -> ChangePlan:
    if topic in (*TOPICS, FORMER) or is_inbound(topic):
        raise OperatorError(
            f"{topic} is written by its relay alone (tenure import is for the inbound topic): name another topic.",
            REFUSED,
        )
    if topic not in await context.partitions():
        raise OperatorError(f"There is no topic {topic}, and none is made here.", NOT_FOUND)
    by_type = await selection.by_type(output)

    async def records() -> AsyncIterator[list[Foreign]]:
        async for batch in selection.batches():
            yield [
                Foreign(each.envelope, each.envelope.stream.encode(), [*to_headers(each.envelope)], each.data)
                for each in batch
            ]

    async def apply(operation: Operation) -> Outcome:
        return await send(context, topic, records(), operation.counter)

    says = [f"They would be sent to {topic}."]
    return _plan(selection.service, selection, by_type, f"topic={topic}", says, apply)


async def _to_consumer(context: Context, output: Output, selection: Selection, consumer: str) -> ChangePlan:
    at, _, own = consumer.partition(".")
    what = consumers(service_named(at)).get(own)
    if what is None:
        raise OperatorError(f"There is no consumer {consumer}: `tenure status` lists them.", NOT_FOUND)
    topic = topic_of(selection.service)
    if topic not in what.topics:
        raise OperatorError(f"{consumer} does not read {topic}: it reads {', '.join(what.topics)}.", REFUSED)
    by_type = await selection.by_type(output)
    concerned = {name: number for name, number in by_type.items() if name in what.types}
    says = [
        f"Copies would be parked for {consumer}; of {by_type.total():,} events {sum(concerned.values()):,} concern it.",
        "Nothing is applied: `tenure parked retry` does that, and its dry run says what comes of it.",
    ]

    async def apply(operation: Operation) -> Outcome:
        db = await context.db(at, write=True)
        new, offsets = 0, set[int]()
        async for batch in selection.batches(what.types):
            raws = [
                Raw(
                    topic,
                    parked.FROM_STORE,
                    each.envelope.position or 0,
                    each.envelope.stream.encode(),
                    [*to_headers(each.envelope)],
                    each.data,
                )
                for each in batch
            ]
            new += await parked.copy_in(db, consumer, raws, operation.id)
            offsets |= {raw.offset for raw in raws}
            operation.counter(len(raws))
        there = {
            each.raw.offset
            for each in await parked.list_parked(db, consumer)
            if each.raw.partition == parked.FROM_STORE
        }
        missing = len(offsets - there)
        said = f"{new:,} parked for {consumer}, the others were there already. Looked again: {missing:,} are missing."
        return Outcome(not missing, [said], {"parked": new, "missing": missing})

    return _plan(at, selection, concerned, f"consumer={consumer}", says, apply)
