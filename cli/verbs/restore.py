"""`tenure restore` and `tenure reconcile`: a store from its topic, and the reverse."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any, Final, TypeAlias

import asyncpg
import typer
from aiokafka.errors import KafkaError

from cli.app import Planned, change, group
from cli.context import Context, service_named
from cli.exit_codes import OperatorError
from cli.explain import explain
from cli.operation import ChangePlan, Operation, Outcome
from cli.output import Counter, Output, count
from cli.sentences import Count, say
from cli.verbs.verify import verify_restored
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

group("restore", "Restore a lost store from its topic, or a lost topic from its store.")

OfService: TypeAlias = Annotated[str, typer.Argument(help="The service.")]
Restore = Callable[..., Awaitable[Restored]]
_STAYS_FENCED: Final = (
    "What was imported stays. The store takes no commands, and its fence says why, until another run has continued "
    "from there to the end."
)


@change("restore store", if_cancelled=_STAYS_FENCED, long=True)
async def restore_lost_store(context: Context, output: Output, service: OfService) -> Planned:
    """Restore a service's lost store and read models from its topic.

    The database must be empty or partly restored. Positions, hashes and the chain become what they were. The store
    takes no commands meanwhile. The operation is recorded in the service's log at the end."""
    return await _from_topic(context, output, "restore store", service, engine.restore_store)


@change("reconcile", if_cancelled=_STAYS_FENCED, long=True)
async def reconcile_store(context: Context, output: Output, service: OfService) -> Planned:
    """Bring a store that was restored from a backup up to its topic.

    Refused if the store and its topic have different events at the same position. The operation is recorded in the
    service's log at the end."""
    return await _from_topic(context, output, "reconcile", service, engine.reconcile)


async def _from_topic(context: Context, output: Output, verb: str, service: str, restore: Restore) -> ChangePlan:
    definition: ServiceDefinition = definition_of(service_named(service)).whole()
    settings, topic = context.settings, topic_of(service)

    async def run(dry_run: bool, progress: ReportProgress, by: str = "") -> Restored:
        return await restore(
            definition,
            context.dsn(service),
            context.kafka_access,
            dry_run=dry_run,
            anchor_folder=settings.anchors,
            progress=progress,
            by=by,
        )

    with output.progress(f"{verb}: reading", None) as counter:
        would = await run(True, counter.at)
    fence = await _fenced(context.dsn(service))
    summary: list[str] = [
        say("%(service)s's store ends at position %(position)s.", service=service, position=would.before),
        say(
            "%(events)s would be imported from %(topic)s; the store would then end at position %(position)s.",
            events=Count(would.events, "event"),
            topic=topic,
            position=would.head,
        ),
        *(
            [say("They are of %(first)s to %(last)s.", first=would.first, last=would.last)]
            if would.first and would.last
            else []
        ),
        *([say("The store takes no commands now: %(why)s.", why=fence)] if fence else []),
        *_notes(would),
    ]
    if would.events:
        summary.append(
            say(
                "Then %(projections)s and the unique names would be rebuilt from the events, and %(reactions)s would "
                "continue from their checkpoints.",
                projections=Count(len(definition.projections), "projection"),
                reactions=Count(len(definition.reactions), "reaction"),
            )
        )
    # Without events to import there may still be a fence to lift: of an interrupted restore, or of the guard.
    arguments = [f"events={would.events}", f"from={would.before + 1}", f"to={would.head}"]

    async def apply(operation: Operation) -> Outcome:
        try:
            done = await run(False, operation.counter.at, operation.by)
        except Exception as error:
            raise await _interrupted(error, verb, service, context.dsn(service)) from error
        outcome = await _verify(context, service, operation.counter)
        return replace(
            outcome, summary=[*_imported(done), *outcome.summary], data={**outcome.data, "done": as_data(done)}
        )

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=would.events or int(bool(fence)),
        thing="event",
        summary=summary,
        data=as_data(would),
        recorded_afterwards=True,
        apply=apply,
    )


def _imported(done: Restored) -> list[str]:
    """Return what a restore has done, as text."""
    return [
        say(
            "%(events)s imported; %(names)s corrected, %(records)s folded by projections, %(checkpoints)s of reactions "
            "moved.",
            events=Count(done.events, "event"),
            names=Count(done.claims, "unique name"),
            records=Count(done.folded, "record"),
            checkpoints=Count(done.moved, "checkpoint"),
        ),
        *([say("An earlier attempt did not finish: %(record)s.", record=done.earlier)] if done.earlier else []),
        *_notes(done),
    ]


async def _interrupted(error: Exception, verb: str, service: str, dsn: str) -> OperatorError:
    """Return the error with the fence's text: how far the restore got, and what to do."""
    sentence, code = explain(error)
    try:
        fence = await _fenced(dsn)
    except (*TRANSIENT, asyncpg.PostgresError):
        fence = (
            f"{service}'s database can't be reached to read the progress. To continue, run `tenure {verb} {service}` "
            "again"
        )
    return OperatorError(f"{sentence} {fence[:1].upper()}{fence[1:]}." if fence else sentence, code)


async def _verify(context: Context, service: str, counter: Counter) -> Outcome:
    """Verify the restored store; if that is impossible, return an outcome that says so.

    The restore is complete by now, and has to be recorded in any case.
    """
    try:
        return await verify_restored(context, service, counter)
    except (KafkaError, asyncpg.PostgresError, *TRANSIENT) as error:
        why, _ = explain(error)
        unverified = say(
            "The result could NOT be verified: %(why)s Run `tenure verify %(service)s` later.", why=why, service=service
        )
        return Outcome(False, [unverified])


async def _fenced(dsn: str) -> str | None:
    """Return why the store takes no commands; None if it takes them or does not exist."""
    try:
        db = await asyncpg.connect(dsn)
    except asyncpg.InvalidCatalogNameError:
        return None
    try:
        if await db.fetchval(SQL["has_log"]) is None:
            return None
        reason: str | None = await db.fetchval(SQL["fenced"])
        return reason
    finally:
        await db.close()


def _notes(result: Restored) -> list[str]:
    strange = [f"Skipped, as it is not an intact event of {result.service}: {each}" for each in result.strange[:20]]
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


@change(
    "restore topic",
    if_cancelled="What was published stays. Another run publishes the rest.",
    long=True,
)
async def restore_lost_topic(context: Context, output: Output, service: OfService) -> Planned:
    """Publish the events that a service's topic has lost again, byte for byte.

    Stop the service's processes first. Afterwards the consumers of all services read the topic from its start and
    ignore the versions that they have processed."""
    name = topic_of(service_named(service))
    databases, missing = await _databases(context)

    async def run(dry_run: bool, progress: ReportProgress) -> Restored:
        return await restore_topic(
            service, context.dsn(service), context.kafka_access, consumers=databases, dry_run=dry_run, progress=progress
        )

    with output.progress("restore topic: reading", None) as counter:
        would = await run(True, counter.at)
    summary = [
        say(
            "%(topic)s ends at position %(before)s, the store at %(head)s.",
            topic=name,
            before=would.before,
            head=would.head,
        ),
        say(
            "%(events)s would be published, byte for byte as they were, and %(checkpoints)s of consumers would be "
            "moved to the start.",
            events=Count(would.events, "event"),
            checkpoints=Count(would.moved, "checkpoint"),
        ),
        *(say("%(service)s has no database, so it has no checkpoints to move.", service=each) for each in missing),
    ]
    arguments = [f"topic={name}", f"events={would.events}", f"from={would.before + 1}", f"to={would.head}"]

    async def apply(operation: Operation) -> Outcome:
        done = await run(False, operation.counter.at)
        outcome = await verify_restored(context, service, operation.counter)
        result = say(
            "%(events)s published, one of them the record of this operation; %(checkpoints)s moved.",
            events=Count(done.events, "event"),
            checkpoints=Count(done.moved, "checkpoint"),
        )
        return replace(outcome, summary=[result, *outcome.summary], data={**outcome.data, "done": as_data(done)})

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=would.events or would.moved,
        thing="event" if would.events or not would.moved else "checkpoint",
        summary=summary,
        data=as_data(would),
        apply=apply,
    )


async def _databases(context: Context) -> tuple[dict[str, str], list[str]]:
    """Return the services' databases by name, and the services without checkpoints."""
    found, missing = {}, []
    for service in SERVICES:
        dsn = context.dsn(service)
        try:
            db = await asyncpg.connect(dsn)
        except asyncpg.InvalidCatalogNameError:
            missing.append(service)
            continue
        checkpoints = await db.fetchval(SQL["has_checkpoints"])
        await db.close()
        if checkpoints is None:
            missing.append(service)
        else:
            found[service] = dsn
    return found, missing
