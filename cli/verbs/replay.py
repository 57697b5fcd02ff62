"""`tenure replay`: stored events sent again, to a separate topic or to one consumer."""

from collections import Counter as Counts
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from cli.app import Planned, change
from cli.cloudevents import KafkaRecord
from cli.context import TOPICS, Context, consumers, service_named, service_of_consumer
from cli.event_search import FoundEvent
from cli.exit_codes import NOT_FOUND, REFUSED, USAGE, OperatorError
from cli.operation import ChangePlan, Operation, Outcome
from cli.options import Since, Until
from cli.output import Output
from cli.sentences import Count, say
from cli.verbs.transfer import AT_ONCE, EventFilter, events, known_types, send, span
from shared.eventlog.deliver.received import Raw
from shared.eventlog.repair import parked
from shared.eventlog.repair.anchors import FORMER
from shared.events.envelope import to_headers
from shared.events.registry import is_inbound, is_outcomes, topic_of


@change(
    "replay",
    if_cancelled="What was sent or parked stays. Another run sends all of it again, and parks only copies that are "
    "missing.",
    long=True,
)
async def replay_events(
    context: Context,
    output: Output,
    service: Annotated[str, typer.Argument(help="The service whose events to send.")],
    first: Annotated[int, typer.Option("--from", help="Only from this position on.")] = 1,
    last: Annotated[int | None, typer.Option("--to", help="Only up to this position.")] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Only events of this type; may be repeated.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only events of this stream.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only events of this organisation.")] = None,
    since: Since = None,
    until: Until = None,
    to_topic: Annotated[
        str | None,
        typer.Option("--to-topic", help="Send them to this topic, which must exist and not be a topic of the system."),
    ] = None,
    consumer: Annotated[str | None, typer.Option("--consumer", help="Park copies for this consumer only.")] = None,
) -> Planned:
    """Send stored events again, to a topic or to one consumer; no checkpoint is moved.

    For a consumer, copies are added to its parked records, and `tenure parked retry` applies them; its dry run shows
    the result. Other consumers are not affected."""
    if (to_topic is None) == (consumer is None):
        raise OperatorError("Give either --to-topic or --consumer.", USAGE)
    event_filter = EventFilter(
        first=first, last=last, types=known_types(only), stream=stream, tenant=tenant, since=since, until=until
    )
    db = await context.db(service_named(service))
    low, high = await span(db, event_filter)
    selection = Selection(db=db, service=service, event_filter=event_filter, low=low, high=high)
    if to_topic is not None:
        return await _to_topic(context, output, selection, to_topic)
    return await _to_consumer(context, output, selection, consumer or "")


@dataclass(kw_only=True, slots=True)
class Selection:
    """The selected events; each use reads them again, so that they need not fit into memory."""

    db: Any
    service: str
    event_filter: EventFilter
    low: int
    high: int

    @property
    def looked(self) -> int:
        return max(0, self.high - self.low + 1)

    async def batches(self, types: Collection[str] | None = None) -> AsyncIterator[list[FoundEvent]]:
        """Yield the events in order; with `types`, only those of these types."""
        async for batch in events(self.db, self.service, self.event_filter, self.low, self.high):
            yield [each for each in batch if types is None or each.envelope.type in types]

    async def by_type(self, output: Output) -> Counts[str]:
        """Count the events of each type, and show the progress."""
        found: Counts[str] = Counts()
        with output.progress(f"read {self.service}", self.looked) as counter:
            async for batch in self.batches():
                found.update(each.envelope.type for each in batch)
                counter(min(AT_ONCE, self.looked))
        return found


def _plan(
    service: str,
    selection: Selection,
    by_type: Mapping[str, int],
    where: str,
    summary: Sequence[str],
    apply: Callable[[Operation], Awaitable[Outcome]],
) -> ChangePlan:
    total = sum(by_type.values())
    arguments = [where, f"events={total}", f"positions={selection.low}-{selection.high}"]
    summary_by_type = [
        say("%(type)s: %(events)s", type=name, events=Count(number, "event"))
        for name, number in sorted(by_type.items())
    ]
    data: dict[str, Any] = {"types": dict(sorted(by_type.items())), "looked_at": selection.looked}
    summary_by_type.append(say("%(events)s read.", events=Count(selection.looked, "event")))
    return ChangePlan(
        service=service,
        arguments=arguments,
        total=total,
        thing="event",
        summary=[*summary_by_type, *summary],
        data=data,
        confirms=[where],
        apply=apply,
    )


async def _to_topic(context: Context, output: Output, selection: Selection, topic: str) -> ChangePlan:
    if topic in (*TOPICS, FORMER) or is_inbound(topic) or is_outcomes(topic):
        raise OperatorError(
            f"{topic} is a topic of the system: name another one. Only `tenure import` writes to the inbound topic.",
            REFUSED,
        )
    if topic not in await context.partitions():
        raise OperatorError(f"There is no topic {topic}, and this command does not create topics.", NOT_FOUND)
    by_type = await selection.by_type(output)

    async def records() -> AsyncIterator[list[KafkaRecord]]:
        async for batch in selection.batches():
            yield [
                KafkaRecord(each.envelope, each.envelope.stream.encode(), [*to_headers(each.envelope)], each.data)
                for each in batch
            ]

    async def apply(operation: Operation) -> Outcome:
        return await send(context, topic, records(), operation.counter)

    summary = [say("The events would be sent to %(topic)s.", topic=topic)]
    return _plan(selection.service, selection, by_type, f"topic={topic}", summary, apply)


async def _to_consumer(context: Context, output: Output, selection: Selection, consumer: str) -> ChangePlan:
    owner = service_of_consumer(consumer)
    target = consumers(owner)[consumer.removeprefix(f"{owner}.")]
    topic = topic_of(selection.service)
    if topic not in target.topics:
        raise OperatorError(f"{consumer} does not read {topic}: it reads {', '.join(target.topics)}.", REFUSED)
    by_type = await selection.by_type(output)
    concerned = {name: number for name, number in by_type.items() if name in target.types}
    summary = [
        say(
            "Copies would be parked for %(consumer)s, which reads %(read)s of %(events)s.",
            consumer=consumer,
            read=sum(concerned.values()),
            events=Count(by_type.total(), "event"),
        ),
        say("They are not applied until `tenure parked retry`; its dry run shows the result."),
    ]

    async def apply(operation: Operation) -> Outcome:
        db = await context.db(owner, write=True)
        new, offsets = 0, set[int]()
        async for batch in selection.batches(target.types):
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
        result = say(
            "%(new)s parked for %(consumer)s; the others were parked already. Checked: %(missing)s missing.",
            new=new,
            consumer=consumer,
            missing=missing,
        )
        return Outcome(not missing, [result], {"parked": new, "missing": missing})

    return _plan(owner, selection, concerned, f"consumer={consumer}", summary, apply)
