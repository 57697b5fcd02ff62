"""`tenure restore` and `tenure reconcile`: a store from its topic, a topic from its store."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any, Final, TypeAlias

import asyncpg
import typer
from aiokafka.errors import KafkaError

from cli.app import Planned, change, group
from cli.context import Context
from cli.exit_codes import OperatorError
from cli.explain import explained
from cli.operation import ChangePlan, Operation, Outcome
from cli.output import Counter, Output, count, when
from cli.verbs.transfer import service_named
from cli.verbs.verify import second_look
from services import definition_of
from shared.eventlog.repair import restore as engine
from shared.eventlog.repair.republish import restore_topic
from shared.eventlog.repair.restore import Restored, ServiceDefinition
from shared.eventlog.repair.topic import ReportProgress
from shared.eventlog.write.postgres import TRANSIENT
from shared.events.registry import topic_of
from shared.services import SERVICES
from shared.sql import statements

SQL: Final = statements(__file__)

group("restore", "What was lost, made again: a store or a topic.")

OfService: TypeAlias = Annotated[str, typer.Argument(help="Whose.")]
Way = Callable[..., Awaitable[Restored]]


@change("restore store")
async def restore_lost_store(context: Context, output: Output, service: OfService) -> Planned:
    """Make a service's store and read models from its topic.

    Its database is empty, or half restored. Positions, hashes and the chain become what they were; the store takes no
    commands meanwhile. Stopped anywhere, it leaves word of that in the store, and run again it goes on. Recorded in the
    service's log when it is done."""
    return await _from_topic(context, output, "restore store", service, engine.restore_store)


@change("reconcile")
async def reconcile_store(context: Context, output: Output, service: OfService) -> Planned:
    """Bring a store that is older than its topic up to it: a PostgreSQL from a backup.

    Refused where the store has gone a way of its own since. Recorded in the service's log when it is done."""
    return await _from_topic(context, output, "reconcile", service, engine.reconcile)


async def _from_topic(context: Context, output: Output, verb: str, service: str, way: Way) -> ChangePlan:
    whole: ServiceDefinition = definition_of(service_named(service)).whole()
    settings, topic = context.settings, topic_of(service)

    async def go_through(dry_run: bool, progress: ReportProgress, by: str = "") -> Restored:
        return await way(
            whole,
            settings.dsn(service),
            settings.kafka,
            dry_run=dry_run,
            anchor_folder=settings.anchors,
            progress=progress,
            by=by,
        )

    with output.progress(f"{verb}: looking", None) as counter:
        would = await go_through(True, counter.at)
    fence = await _fenced(settings.dsn(service))
    span = f", of {when(would.first)} to {when(would.last)}" if would.first and would.last else ""
    says = [
        f"{service}'s store ends at position {would.before:,}.",
        f"{count(would.events, 'event')} would come from {topic}{span};",
        f"it would then end at position {would.head:,}.",
        *([f"It takes no commands now: {fence}."] if fence else []),
        *_notes(would),
    ]
    if would.events:
        says.append(
            f"Then {count(len(whole.projections), 'projection')} and the unique names follow from the events, "
            f"and {count(len(whole.reactions), 'reaction')} go on from where they were."
        )
    # A fence that is left is work of its own: of a restore that was cut off, or of a guard that need not hold any more.
    arguments = [f"events={would.events}", f"from={would.before + 1}", f"to={would.head}"]

    async def apply(operation: Operation) -> Outcome:
        try:
            done = await go_through(False, operation.counter.at, operation.by)
        except Exception as error:
            raise await _not_ended(error, verb, service, settings.dsn(service)) from error
        outcome = await _second_look(context, service, operation.counter)
        says = [
            f"{count(done.events, 'event')} imported; {count(done.claims, 'unique name')} put right, "
            f"{count(done.folded, 'record')} read by projections, {count(done.moved, 'checkpoint')} of reactions "
            "moved.",
            *([f"An earlier try did not end: {done.earlier}."] if done.earlier else []),
            *_notes(done),
        ]
        return replace(outcome, says=[*says, *outcome.says], data={**outcome.data, "done": as_data(done)})

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=would.events or int(bool(fence)),
        thing="event",
        says=says,
        data=as_data(would),
        recorded_afterwards=True,
        apply=apply,
    )


async def _not_ended(error: Exception, verb: str, service: str, dsn: str) -> OperatorError:
    """What went wrong, how far it came, what to do; the same is left in the store for whoever looks later."""
    sentence, code = explained(error)
    try:
        fence = await _fenced(dsn)
    except (*TRANSIENT, asyncpg.PostgresError):
        fence = (
            f"{service}'s database can't be asked how far it came. Run `tenure {verb} {service}` again, which goes on"
        )
    return OperatorError(f"{sentence} {fence[:1].upper()}{fence[1:]}." if fence else sentence, code)


async def _second_look(context: Context, service: str, counter: Counter) -> Outcome:
    """The restore is done by now, and is recorded so, even where it can't be looked at again."""
    try:
        return await second_look(context, service, counter)
    except (KafkaError, asyncpg.PostgresError, *TRANSIENT) as error:
        sentence, _ = explained(error)
        return Outcome(False, [f"It could NOT be looked at again: {sentence} `tenure verify {service}` does that."])


async def _fenced(dsn: str) -> str | None:
    """Why the store takes no commands, if there is one and it takes none."""
    try:
        db = await asyncpg.connect(dsn)
    except asyncpg.InvalidCatalogNameError:
        return None
    try:
        if await db.fetchval(SQL["has_log"]) is None:
            return None
        found: str | None = await db.fetchval(SQL["fenced"])
        return found
    finally:
        await db.close()


def _notes(result: Restored) -> list[str]:
    strange = [f"Passed over, as it is no intact event of {result.service}: {each}" for each in result.strange[:20]]
    more = len(result.strange) - len(strange)
    return [*result.notes, *strange, *([f"and {count(more, 'more such record')}"] if more else [])]


def as_data(result: Restored) -> dict[str, Any]:
    return {
        "service": result.service,
        "before": result.before,
        "events": result.events,
        "head": result.head,
        "chain": result.chain.hex(),
        "first": result.first,
        "last": result.last,
        "claims": result.claims,
        "folded": result.folded,
        "moved": result.moved,
        "strange": result.strange,
        "notes": result.notes,
        "earlier": result.earlier,
    }


@change("restore topic")
async def restore_lost_topic(context: Context, output: Output, service: OfService) -> Planned:
    """Publish again what a service's topic has lost, byte for byte: all of it, or a tail.

    Stop the service's processes first. All services' consumers then read the topic from its start, and drop by
    version what they know."""
    settings, name = context.settings, topic_of(service_named(service))
    consumers, gone = await _databases(context)

    async def go_through(dry_run: bool, progress: ReportProgress) -> Restored:
        return await restore_topic(
            service, settings.dsn(service), settings.kafka, consumers=consumers, dry_run=dry_run, progress=progress
        )

    with output.progress("restore topic: looking", None) as counter:
        would = await go_through(True, counter.at)
    says = [
        f"{name} ends at position {would.before:,}, the store at {would.head:,}.",
        f"{count(would.events, 'event')} would be published, byte for byte as they were,",
        f"and {count(would.moved, 'checkpoint')} of consumers moved to the start.",
        *(f"{each} has no database now, so no consumer of it is concerned." for each in gone),
    ]
    arguments = [f"topic={name}", f"events={would.events}", f"from={would.before + 1}", f"to={would.head}"]

    async def apply(operation: Operation) -> Outcome:
        done = await go_through(False, operation.counter.at)
        outcome = await second_look(context, service, operation.counter)
        said = (
            f"{count(done.events, 'event')} published, one of them the record of this operation.id; "
            f"{count(done.moved, 'checkpoint')} moved."
        )
        return replace(outcome, says=[said, *outcome.says], data={**outcome.data, "done": as_data(done)})

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=would.events or would.moved,
        thing="event" if would.events or not would.moved else "checkpoint",
        says=says,
        data=as_data(would),
        apply=apply,
    )


async def _databases(context: Context) -> tuple[dict[str, str], list[str]]:
    """The services' databases by name, and the services that have none: a lost one has no checkpoints."""
    found, gone = {}, []
    for service in SERVICES:
        dsn = context.settings.dsn(service)
        try:
            db = await asyncpg.connect(dsn)
        except asyncpg.InvalidCatalogNameError:
            gone.append(service)
            continue
        there = await db.fetchval(SQL["has_checkpoints"])
        await db.close()
        if there is None:
            gone.append(service)
        else:
            found[service] = dsn
    return found, gone
