"""`tenure verify`: whether the logs are what they were."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli.app import Result, verb
from cli.context import ANCHOR_TOPICS, Context
from cli.exit_codes import USAGE, OperatorError
from cli.operation import Outcome
from cli.output import Counter, Output, count
from cli.verbs.topics import named
from cli.verbs.transfer import service_named
from services import definition_of
from shared.eventlog.repair.verify import Report, verify_topic
from shared.eventlog.repair.verify import verify as judged
from shared.events.registry import is_inbound, topic_of
from shared.services import SERVICES

SHOWN: Final = 40
"""Findings of a service that are shown to a person; --json has the first thousand."""


@verb("verify", fails_when="something is not what it was")
async def verify_logs(
    context: Context,
    output: Output,
    service: Annotated[str | None, typer.Argument(help="Only this service's log.")] = None,
    store_only: Annotated[bool, typer.Option("--store-only", help="Not the topic, nor its anchors: no Kafka.")] = False,
    anchors: Annotated[
        Path | None,
        typer.Option("--anchors", metavar="FOLDER", help="Where the relays' anchors are; otherwise TENURE_ANCHORS."),
    ] = None,
    topic: Annotated[
        str | None,
        typer.Option(
            "--topic", metavar="NAME", help="This topic alone, or this service's, without its store: no PostgreSQL."
        ),
    ] = None,
) -> Result:
    """Check every hash of stores and topics, one against the other and against the anchors.

    With --topic, of one topic without its store: its hashes, headers, chains, order and repeats, and the anchors.

    The services may run meanwhile."""
    alone = None if topic is None else _publisher(topic, service, store_only=store_only)
    names = (alone,) if alone else SERVICES if service is None else (service_named(service),)
    reports = []
    for name in names:
        with output.progress(f"verify {name}", None) as counter:
            if alone is None:
                reports.append(await check_service(context, name, counter, folder=anchors, topic=not store_only))
            else:
                reports.append(
                    await verify_topic(
                        name,
                        context.settings.kafka,
                        progress=counter.at,
                        anchor_folder=anchors or context.settings.anchors,
                    )
                )
        told(output, reports[-1], store_only=store_only, alone=alone is not None)
    sound = all(each.sound for each in reports)
    return Result({"sound": sound, "services": [as_data(each) for each in reports]}, ok=sound)


def _publisher(topic: str, service: str | None, *, store_only: bool) -> str:
    """Whose topic it is."""
    if service is not None or store_only:
        raise OperatorError("--topic looks at one topic without its store: leave out SERVICE and --store-only.", USAGE)
    if is_inbound(topic):
        raise OperatorError(
            f"{topic} holds publishers' events, which have no hashes: nothing there can be checked.", USAGE
        )
    (name,) = named([topic])
    if name in ANCHOR_TOPICS:
        raise OperatorError(
            f"{name} holds no events but where the store's head stood: `tenure verify` compares it.", USAGE
        )
    return next(each for each in SERVICES if topic_of(each) == name)


async def check_service(
    context: Context, service: str, counter: Counter, *, folder: Path | None = None, topic: bool = True
) -> Report:
    settings = context.settings
    return await judged(
        service,
        settings.dsn(service),
        settings.kafka,
        streams=definition_of(service).streams,
        anchor_folder=folder or settings.anchors,
        topic=topic,
        progress=counter.at,
    )


async def second_look(context: Context, service: str, counter: Counter) -> Outcome:
    """After a restore: everything against everything."""
    report = await check_service(context, service, counter)
    says = [f"Looked again: {_looked(report)}; {_judgement(report)}."]
    says += [str(finding) for finding in report.findings.first[:SHOWN]]
    return Outcome(report.sound, says, {"verified": as_data(report)})


def told(output: Output, report: Report, *, store_only: bool = False, alone: bool = False) -> None:
    for finding in report.findings.first[:SHOWN]:
        output.line(f"{finding.place}:")
        output.line(f"    {finding.what}")
    if report.findings.number > SHOWN:
        shown = "the first thousand" if report.findings.number > len(report.findings.first) else "all"
        output.line(f"and {report.findings.number - SHOWN:,} more (--json has {shown})")
    if alone:
        output.line(f"{topic_of(report.service)}: {_judgement(report)}.")
        output.line(
            f"    Looked at {count(report.records, 'record')}: {count(report.events, 'event')} up to position "
            f"{report.head:,}, {count(report.repeats, 'repeat')} (allowed); {count(report.anchors, 'anchor')}."
        )
        output.line("    The store was not looked at: whether it holds the same, or more, is not said.")
        return
    output.line(f"{report.service}: {_judgement(report)}.")
    without = " The topic was not looked at." if store_only else ""
    output.line(f"    Looked at {_looked(report)}.{without}")


def _judgement(report: Report) -> str:
    return "sound" if report.sound else f"NOT SOUND, {count(report.findings.number, 'finding')}"


def _looked(report: Report) -> str:
    return (
        f"{count(report.events, 'event')} of the store, {count(report.records, 'record')} of the topic, "
        f"{count(report.anchors, 'anchor')}"
    )


def as_data(report: Report) -> dict[str, Any]:
    return {
        "service": report.service,
        "sound": report.sound,
        "events": report.events,
        "batches": report.batches,
        "records": report.records,
        "repeats": report.repeats,
        "anchors": report.anchors,
        "head": report.head,
        "chain": report.chain.hex(),
        "number": report.findings.number,
        "findings": [each._asdict() for each in report.findings.first],
    }
