"""`tenure verify`: the check of stores and topics by hashes and anchors."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli.app import Result, verb
from cli.context import ANCHOR_TOPICS, Context, services_named
from cli.exit_codes import USAGE, OperatorError
from cli.operation import Outcome
from cli.output import Counter, Output
from cli.sentences import Count, Sentence, say
from cli.verbs.topics import topics_named
from services import definition_of
from shared.eventlog.repair.verify import Report, verify_topic
from shared.eventlog.repair.verify import verify as verify_store
from shared.eventlog.repair.verify_workers import default_workers
from shared.events.registry import is_inbound, topic_of
from shared.services import SERVICES

SHOWN: Final = 40
"""The most findings of a service that are shown; --json has the first thousand."""


@verb("verify", fails_when="anything was altered or is missing", long=True)
async def verify_logs(
    context: Context,
    output: Output,
    service: Annotated[str | None, typer.Argument(help="Only this service's log.")] = None,
    store_only: Annotated[bool, typer.Option("--store-only", help="Check the store only; needs no Kafka.")] = False,
    anchors: Annotated[
        Path | None,
        typer.Option("--anchors", metavar="FOLDER", help="The folder of the relays' anchors. Default: TENURE_ANCHORS."),
    ] = None,
    topic: Annotated[
        str | None,
        typer.Option(
            "--topic", metavar="NAME", help="Check this topic, or this service's topic, only; needs no PostgreSQL."
        ),
    ] = None,
    since_last: Annotated[
        bool,
        typer.Option(
            "--since-last", help="Check only what came after the last sound check; the output says what that is."
        ),
    ] = False,
    anew: Annotated[
        bool, typer.Option("--anew", help="Begin again, and do not continue a check that was stopped.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, max=32, help="The number of processes that check. Default: one a processor."),
    ] = None,
) -> Result:
    """Check stores and topics against each other, their hashes and their anchors.

    With --topic, one topic is checked without its store: hashes, headers, hash chains, order, repeats and anchors.

    A check that was stopped continues where it was. What is kept for this is beside the anchors.

    The services may be running."""
    if topic is not None and (since_last or anew or workers):
        raise OperatorError("--topic reads the whole topic: leave out --since-last, --anew and --workers.", USAGE)
    topic_only = None if topic is None else _publisher(topic, service, store_only=store_only)
    names = (topic_only,) if topic_only else services_named(service)
    reports = []
    for name in names:
        with output.progress(f"verify {name}", None) as counter:
            if topic_only is None:
                reports.append(
                    await check_service(
                        context,
                        name,
                        counter,
                        folder=anchors,
                        topic=not store_only,
                        since_last=since_last,
                        anew=anew,
                        workers=workers,
                    )
                )
            else:
                reports.append(
                    await verify_topic(
                        name,
                        context.kafka_access,
                        progress=counter.at,
                        anchor_folder=anchors or context.settings.anchors,
                    )
                )
        print_report(output, reports[-1], store_only=store_only, topic_only=topic_only is not None)
    sound = all(each.sound for each in reports)
    return Result({"sound": sound, "services": [as_data(each) for each in reports]}, ok=sound)


def _publisher(topic: str, service: str | None, *, store_only: bool) -> str:
    """Return the service that publishes the topic.

    Raises:
        OperatorError: The topic can't be checked by itself.
    """
    if service is not None or store_only:
        raise OperatorError("--topic checks one topic without its store: leave out SERVICE and --store-only.", USAGE)
    if is_inbound(topic):
        raise OperatorError(f"{topic} can't be checked: publishers' events have no hashes.", USAGE)
    (name,) = topics_named([topic])
    if name in ANCHOR_TOPICS:
        raise OperatorError(
            f"{name} holds anchors, not events: `tenure verify` without --topic compares them with the store.", USAGE
        )
    return next(each for each in SERVICES if topic_of(each) == name)


async def check_service(
    context: Context,
    service: str,
    counter: Counter,
    *,
    folder: Path | None = None,
    topic: bool = True,
    since_last: bool = False,
    anew: bool = False,
    workers: int | None = None,
) -> Report:
    settings = context.settings
    return await verify_store(
        service,
        context.dsn(service),
        context.kafka_access if topic else settings.kafka,
        streams=definition_of(service).streams,
        anchor_folder=folder or settings.anchors,
        topic=topic,
        progress=counter.at,
        workers=workers or default_workers(),
        keep=True,
        since_last=since_last,
        anew=anew,
    )


async def verify_restored(context: Context, service: str, counter: Counter) -> Outcome:
    """Verify a restored service completely, as the check of the restore's result."""
    report = await check_service(context, service, counter, anew=True)
    summary: list[str] = [say("Checked: %(so)s; %(judgement)s.", so=_extent(report), judgement=_judgement(report))]
    summary += [str(finding) for finding in report.findings.first[:SHOWN]]
    return Outcome(report.sound, summary, {"verified": as_data(report)})


def print_report(output: Output, report: Report, *, store_only: bool = False, topic_only: bool = False) -> None:
    for finding in report.findings.first[:SHOWN]:
        output.line(f"{finding.place}:")
        output.line(f"    {finding.what}")
    if report.findings.number > SHOWN:
        more = report.findings.number - SHOWN
        output.line(
            say("and %(more)s more (--json shows the first thousand)", more=more)
            if report.findings.number > len(report.findings.first)
            else say("and %(more)s more (--json shows all)", more=more)
        )
    name = topic_of(report.service) if topic_only else report.service
    output.line(say("%(name)s: %(judgement)s.", name=name, judgement=_judgement(report)))
    if topic_only:
        output.line(
            say(
                "    %(records)s read: %(events)s up to position %(position)s, %(repeats)s (allowed); %(anchors)s.",
                records=Count(report.records, "record"),
                events=Count(report.events, "event"),
                position=report.head,
                repeats=Count(report.repeats, "repeat"),
                anchors=Count(report.anchors, "anchor"),
            )
        )
        output.line(say("    The store was not read, so the topic was not compared with it."))
    elif store_only:
        output.line(say("    %(extent)s read. The topic was not read.", extent=_extent(report)))
    else:
        output.line(say("    %(extent)s read.", extent=_extent(report)))
    if not topic_only:
        _print_parts(output, report)


def _print_parts(output: Output, report: Report) -> None:
    """Print which part was checked by this run, and when the rest was."""
    if report.disregarded:
        output.line(
            say(
                "    What was kept of an earlier check is disregarded: this store has no such chain at position "
                "%(position)s.",
                position=report.disregarded,
            )
        )
    if report.sound_before is not None:
        output.line(
            say(
                "    ONLY WHAT IS NEW was checked: positions after %(since)s. Up to there the store was sound when it "
                "was checked, last on %(last)s, and was not read now. The whole was last checked on %(whole)s, up to "
                "position %(upto)s.",
                since=report.since,
                last=datetime.fromisoformat(report.sound_before.time),
                whole=datetime.fromisoformat(report.sound_before.whole_time),
                upto=report.sound_before.whole,
            )
        )
    if report.continued:
        output.line(
            say(
                "    It continued a check that was stopped: up to position %(position)s the store was checked before, "
                "from %(began)s on. `--anew` checks all of it again.",
                position=report.continued,
                began=datetime.fromisoformat(report.began),
            )
        )


def _judgement(report: Report) -> Sentence:
    if report.sound:
        return say("sound")
    return say("NOT SOUND, %(findings)s", findings=Count(report.findings.number, "finding"))


def _extent(report: Report) -> Sentence:
    return say(
        "%(events)s of the store, %(records)s of the topic, %(anchors)s",
        events=Count(report.events, "event"),
        records=Count(report.records, "record"),
        anchors=Count(report.anchors, "anchor"),
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
        "since": report.since,
        "sound_before": None
        if (before := report.sound_before) is None
        else {"time": before.time, "whole": before.whole, "whole_time": before.whole_time},
        "continued": report.continued,
        "began": report.began,
        "disregarded": report.disregarded,
        "number": report.findings.number,
        "findings": [each._asdict() for each in report.findings.first],
    }
