"""`tenure restore status`: the restores under way, wherever they were started."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Final, Literal, TypeAlias

import asyncpg
import typer
from aiokafka.errors import KafkaError

from cli.app import Result, verb
from cli.context import ANSWER_S, Context, consumers
from cli.output import Output, duration
from cli.sentences import say
from cli.verbs.status import Lag, gather
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.repair.restore import OWNER
from shared.eventlog.repair.restore import SQL as RESTORE
from shared.eventlog.repair.topic import TopicReader
from shared.eventlog.repair.tries import MENDING, continued_by, highest_position
from shared.eventlog.write.log import utc_now
from shared.eventlog.write.postgres import TRANSIENT
from shared.events.envelope import stamp
from shared.events.registry import topic_of
from shared.services import SERVICES
from shared.sql import Row, statements, with_statements

SQL: Final = statements(__file__)
STANDING: Final = with_statements(SQL["standing"], runs=RESTORE["runs"])

State: TypeAlias = Literal["open", "running", "restoring", "publishing", "interrupted", "fenced", "unreadable"]
"""`restoring` imports events from the topic, `publishing` publishes what the topic has lost; of `running` it does not
show yet which of them it does; `interrupted` has begun and does not run any more; `fenced` waits for a reconciliation;
`open` takes commands."""
_WRONG: Final = ("interrupted", "fenced", "unreadable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Folding:
    """A projection that has records left to fold."""

    consumer: str
    behind: int
    per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRestore:
    """The store of a service, and the restore that it or its topic is in."""

    service: str
    state: State
    why: str
    """Why the store takes no commands, which is the record of the restore; "" if it takes them."""
    continued_by: str | None
    """The verb by which the store takes commands again, if nothing is restoring it."""
    position: int | None
    """Up to which position events are imported, or published."""
    of: int | None
    """The position at which this ends."""
    per_s: float
    remaining_s: float | None
    folding: Sequence[Folding]


async def _standings(context: Context) -> Mapping[str, Row | str]:
    """Return what each database says, or why it can't be read."""

    async def one(service: str) -> Row | str:
        try:
            found: Row = await (await context.db(service)).fetchrow(STANDING, OWNER)
        except (*TRANSIENT, asyncpg.PostgresError) as fault:
            error = f"{type(fault).__name__}: {fault}"
            return say("its database can't be read (%(error)s)", error=error)
        return found

    return dict(zip(SERVICES, await asyncio.gather(*map(one, SERVICES)), strict=True))


def state_of(standing: Row | str) -> State:
    if isinstance(standing, str):
        return "unreadable"
    if (standing["fenced"] or "").startswith(MENDING):
        return "restoring" if standing["runs"] else "interrupted"
    if standing["fenced"] or not standing["runs"]:
        return "fenced" if standing["fenced"] else "open"
    # A store's restore fences the store only when it has the lease and has read the ends of the topic.
    return "publishing" if standing["has_lease"] and standing["relayed"] < standing["position"] else "running"


async def _end_of_topic(context: Context, service: str) -> int | None:
    """Return the last position in the service's topic; None while Kafka can't be read."""
    try:
        async with asyncio.timeout(ANSWER_S), TopicReader(topic_of(service), context.settings.kafka) as reader:
            return await highest_position(reader, service)
    except (KafkaError, OSError, TimeoutError):
        return None


async def _restore(
    context: Context, service: str, first: Row | str, last: Row | str, over_s: float, lags: Sequence[Lag]
) -> ServiceRestore:
    state = state_of(last)
    if isinstance(last, str) or isinstance(first, str):
        why = last if isinstance(last, str) else str(first)
        return ServiceRestore(
            service=service,
            state=state,
            why=why,
            continued_by=None,
            position=None,
            of=None,
            per_s=0,
            remaining_s=None,
            folding=(),
        )
    column = "relayed" if state == "publishing" else "position"
    position, per_s = int(last[column]), (last[column] - first[column]) / over_s
    of: int | None = position
    if state != "open":
        of = last["position"] if state == "publishing" else await _end_of_topic(context, service)
    left = None if of is None else max(0, of - position)
    names = {f"{service}.{name}" for name, what in consumers(service).items() if isinstance(what, Projection)}
    behind = [each for each in lags if each.consumer in names and each.events]
    return ServiceRestore(
        service=service,
        state=state,
        why=(last["fenced"] or "").removeprefix(MENDING),
        continued_by={"interrupted": continued_by(last["fenced"] or ""), "fenced": "reconcile"}.get(state),
        position=position,
        of=of,
        per_s=round(per_s, 1),
        remaining_s=round(left / per_s, 1) if left and per_s > 0 else None,
        folding=[Folding(consumer=each.consumer, behind=each.events, per_s=round(-each.per_s, 1)) for each in behind]
        if state != "open"
        else (),
    )


@verb(
    "restore status",
    fails_when="a store takes no commands and nothing restores it, or a database or Kafka can't be read",
)
async def show_restores(
    context: Context,
    output: Output,
    over: Annotated[float, typer.Option(min=0.1, max=60, help="Seconds over which the pace is measured.")] = 2.0,
) -> Result:
    """Show which stores and topics are being restored, how far that is, and how fast.

    It does not matter where a restore was started. If one was interrupted, this shows the record of its beginning or of
    its failure: who began it, where it stopped and why, and the command that continues it."""
    began, first = time.monotonic(), await _standings(context)
    _, lags, kafka = await gather(context, over)
    last, took = await _standings(context), time.monotonic() - began
    found = await asyncio.gather(
        *(_restore(context, each, first[each], last[each], took, [] if kafka else lags) for each in SERVICES)
    )
    _print(output, found)
    wrong = [each.service for each in found if each.state in _WRONG]
    if kafka:
        output.line(say("%(why)s, so no end and no folding is known.", why=kafka))
    data = {"at": stamp(utc_now()), "over_s": over, "kafka": kafka, "services": [asdict(each) for each in found]}
    return Result(data, ok=not wrong and not kafka)


def _print(output: Output, found: Sequence[ServiceRestore]) -> None:
    output.table(
        ("service", "state", ">position", ">of", ">per s", ">remaining"),
        [
            (
                each.service,
                each.state,
                _number(each.position),
                _number(each.of),
                f"{each.per_s:,.0f}",
                "" if each.remaining_s is None else duration(each.remaining_s),
            )
            for each in found
        ],
    )
    folding = [each for service in found for each in service.folding]
    output.table(
        ("projection", ">records left", ">per s"),
        [(each.consumer, f"{each.behind:,}", f"{each.per_s:,.0f}") for each in folding],
    )
    for each in found:
        if each.why:
            output.line(say("%(service)s: %(why)s.", service=each.service, why=each.why))
    if all(each.state == "open" for each in found):
        output.line(say("Every store takes commands: nothing is being restored."))


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"
