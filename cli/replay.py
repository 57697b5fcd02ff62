"""`tenure replay`: events that are stored, sent once more: to a topic of its own, or to one consumer."""

from typing import Annotated, Any

import typer

from cli.app import APP, ByWhom, Json, Reason, Since, Until, Yes, run
from cli.change import Change, Go, Outcome, carry_out
from cli.cloudevents import Foreign
from cli.ends import NOT_FOUND, REFUSED, USAGE, Trouble
from cli.place import TOPICS, Place, consumers
from cli.say import Counter, Say, count
from cli.stores import Found
from cli.transfer import Chosen, events, known_types, send, service_named, span
from shared.eventlog import parked
from shared.eventlog.plan import Raw
from shared.events.envelope import to_headers
from shared.events.registry import topic_of


@APP.command()
def replay(
    service: Annotated[str, typer.Argument(help="Whose events.")],
    first: Annotated[int, typer.Option("--from", help="From this position.")] = 1,
    last: Annotated[int | None, typer.Option("--to", help="Up to this position.")] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Only these types.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only this stream.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this organisation's.")] = None,
    since: Since = None,
    until: Until = None,
    to_topic: Annotated[str | None, typer.Option("--to-topic", help="Send them to this topic, which exists and is none "
                                                 "of the contract's.")] = None,
    consumer: Annotated[str | None, typer.Option("--consumer", help="Park copies for this consumer alone.")] = None,
    yes: Yes = False, reason: Reason = "", actor: ByWhom = "", json: Json = False,
) -> None:  # fmt: skip
    """Stored events once more, to a topic or to one consumer. No checkpoint is moved.

    A consumer gets copies in its parked records: `tenure parked retry` applies each of them once more (and its dry
    run says what comes of that). Whoever reads the contract's topics is not concerned."""

    async def work(place: Place, say: Say) -> int:
        chosen = Chosen(first, last, known_types(only), stream, tenant, since, until)
        db = await place.db(service_named(service))
        low, high = await span(db, chosen)
        found = [each async for batch in events(db, service, chosen, low, high) for each in batch]
        looked = max(0, high - low + 1)
        if (to_topic is None) == (consumer is None):
            raise Trouble("Say where to: either --to-topic or --consumer.", USAGE)
        if to_topic is not None:
            return await _to_topic(place, say, service, found, looked, to_topic, Go(yes, reason, actor))
        return await _to_consumer(place, say, service, found, looked, consumer or "", Go(yes, reason, actor))

    run(json, work)


def _types(found: list[Found]) -> dict[str, int]:
    by_type: dict[str, int] = {}
    for each in found:
        by_type[each.of.type] = by_type.get(each.of.type, 0) + 1
    return dict(sorted(by_type.items()))


def _change(service: str, found: list[Found], looked: int, where: str, says: list[str]) -> Change:
    by_type = _types(found)
    arguments = [where, f"events={len(found)}"]
    arguments += [f"positions={found[0].of.position}-{found[-1].of.position}"] if found else []
    told = [f"{count(number, name + ' event')}" for name, number in by_type.items()]
    data: dict[str, Any] = {"types": by_type, "looked_at": looked}
    told.append(f"Looked at {count(looked, 'event')}.")
    return Change("replay", service, arguments, len(found), "event", [*told, *says], data)


async def _to_topic(
    place: Place, say: Say, service: str, found: list[Found], looked: int, topic: str, go: Go
) -> int:  # fmt: skip
    if topic in TOPICS:
        raise Trouble(f"{topic} is written by its relay alone (tenure import is for the inbound topic): name another "
                      "topic.", REFUSED)  # fmt: skip
    if topic not in await place.partitions():
        raise Trouble(f"There is no topic {topic}, and none is made here.", NOT_FOUND)
    change = _change(service, found, looked, f"topic={topic}", [f"They would be sent to {topic}."])

    async def do(operation: str, counter: Counter) -> Outcome:  # noqa: ARG001
        records = [Foreign(each.of, each.of.stream.encode(), to_headers(each.of), each.data) for each in found]
        return await send(place, topic, records, counter)

    return await carry_out(place, say, change, go, do)


async def _to_consumer(
    place: Place, say: Say, service: str, found: list[Found], looked: int, consumer: str, go: Go
) -> int:  # fmt: skip
    at, _, own = consumer.partition(".")
    what = consumers(service_named(at)).get(own)
    if what is None:
        raise Trouble(f"There is no consumer {consumer}: `tenure status` lists them.", NOT_FOUND)
    topic = topic_of(service)
    if topic not in what.topics:
        raise Trouble(f"{consumer} does not read {topic}: it reads {', '.join(what.topics)}.", REFUSED)
    concerned = [each for each in found if each.of.type in what.types]
    says = [f"Copies would be parked for {consumer}; of {len(found):,} events {len(concerned):,} concern it.",
            "Nothing is applied: `tenure parked retry` does that, and its dry run says what comes of it."]  # fmt: skip
    change = _change(at, concerned, looked, f"consumer={consumer}", says)

    async def do(operation: str, counter: Counter) -> Outcome:
        raws = [
            Raw(
                topic,
                parked.FROM_STORE,
                each.of.position or 0,
                each.of.stream.encode(),
                [*to_headers(each.of)],
                each.data,
            )
            for each in concerned
        ]
        db = await place.db(at, write=True)
        new = await parked.copy_in(db, consumer, raws, operation)
        counter(len(raws))
        there = {each.raw.offset for each in await parked.look(db, consumer) if each.raw.partition == parked.FROM_STORE}
        missing = sum(raw.offset not in there for raw in raws)
        said = f"{new:,} parked for {consumer}, the others were there already. Looked again: {missing:,} are missing."
        return Outcome(not missing, [said], {"parked": new, "missing": missing})

    return await carry_out(place, say, change, go, do)
