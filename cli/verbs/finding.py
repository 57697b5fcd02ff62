"""`tenure stream find`: streams by what an operator knows of them."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Final

import typer

from cli.app import Result, verb
from cli.context import Context, stream_kinds
from cli.event_search import FoundEvent, SearchTally, find_event, time_of_id
from cli.exit_codes import USAGE, OperatorError
from cli.output import Output, when
from cli.people import account_of
from cli.sentences import Count, say
from cli.verbs import streams as _group_of_the_verb  # noqa: F401  # which declares `stream`
from services import definition_of
from shared.events.envelope import stamp
from shared.events.fields import product_id
from shared.organisations import is_sandbox
from shared.services import SERVICES
from shared.sql import Row, statements

SQL: Final = statements(__file__)

_ORGANISATIONS: Final = 20
_OF_A_KIND: Final = 200
"""How many streams of one kind are looked at of an organisation or a plan, the newest ones."""
_LONGEST: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundStream:
    """A stream with its first and last event."""

    service: str
    stream: str
    versions: int
    began: datetime
    last_id: str
    last_type: str
    last_time: datetime
    tenant: str


@dataclass(slots=True)
class Finding:
    """What a text means: organisations, an account, an event, and streams that may exist."""

    organisations: list[dict[str, str]] = field(default_factory=list)
    account: str | None = None
    event: FoundEvent | None = None
    streams: set[str] = field(default_factory=set)


@verb("stream find")
async def find_streams(
    context: Context,
    output: Output,
    text: Annotated[
        str,
        typer.Argument(
            help="The id or key of a stream, the id of an event, the id or name of an organisation, "
            "an e-mail address, or a product ID."
        ),
    ],
    limit: Annotated[int, typer.Option(min=1, max=1_000, metavar="N", help="Show at most N streams.")] = 100,
) -> Result:
    """Find streams: by id, customer, e-mail address or product ID.

    Of several organisations whose names have the text, only those are shown; find one by its id or its whole name."""
    wanted = text.strip()
    if not 0 < len(wanted) <= _LONGEST or not wanted.isprintable():
        raise OperatorError(f"Give a text of 1 to {_LONGEST} characters in one line.", USAGE)
    finding = await _meant(context, wanted)
    found = await _existing(context, finding.streams)
    _print(output, finding, found[:limit], len(found))
    return Result(
        {
            "text": wanted,
            "organisations": finding.organisations,
            "account": finding.account,
            "event": _event(finding.event),
            "streams": [_as_data(each) for each in found[:limit]],
            "more": max(0, len(found) - limit),
        }
    )


async def _meant(context: Context, text: str) -> Finding:
    """Return what the text means. More than one thing may have the same id."""
    finding = Finding()
    if "@" in text:
        finding.account = await account_of(await context.db("identity"), text)
        if finding.account is not None:
            finding.streams |= {f"account-{finding.account}", f"sessions-{finding.account}"}
            await _add_organisation_of(context, finding, finding.account)
        return finding
    finding.streams |= {text, *_of_key(text)}
    await asyncio.gather(
        _add_organisations(context, finding, text),
        _add_product(context, finding, text),
        _add_event(context, finding, text),
    )
    return finding


def _of_key(key: str) -> Iterable[str]:
    """Return the names of the streams of all kinds that this key can be of."""
    return (f"{kind.category}-{key}" for service in SERVICES for kind in definition_of(service).streams)


async def _add_organisation_of(context: Context, finding: Finding, account: str) -> None:
    organisation = await (await context.db("marketplace")).fetchval(SQL["organisation_of"], account)
    if organisation is not None:
        await _add_organisations(context, finding, organisation)


async def _add_organisations(context: Context, finding: Finding, text: str) -> None:
    """Add the organisations that the text names, and the streams of the one that is meant."""
    rows = await (await context.db("marketplace")).fetch(SQL["organisations"], text, _ORGANISATIONS)
    finding.organisations = [
        {"organisation_id": row["organisation_id"], "name": row["name"], "kind": row["kind"]} for row in rows
    ]
    exact = [row for row in rows if row["organisation_id"] == text or row["name"].casefold() == text.casefold()]
    for row in rows if len(rows) == 1 else exact:
        finding.streams |= await _of_organisation(context, row["organisation_id"])


async def _of_organisation(context: Context, organisation: str) -> set[str]:
    identity, marketplace = await asyncio.gather(context.db("identity"), context.db("marketplace"))
    names = _names(await identity.fetch(SQL["of_identity"], organisation, _OF_A_KIND))
    names |= _names(await marketplace.fetch(SQL["of_marketplace"], organisation, _OF_A_KIND))
    contracts = [name.removeprefix("contract-") for name in names if name.startswith("contract-")]
    names |= {f"{kind}-{contract}" for contract in contracts for kind in ("credits", "fleet")}
    names |= {f"{kind}-{organisation}" for kind in ("clock", "partner")}
    distribution = await context.db("distribution")
    names |= _names(await distribution.fetch(SQL["of_contracts"], contracts, _OF_A_KIND))
    return names


def _names(rows: Sequence[Row]) -> set[str]:
    return {row["stream"] for row in rows}


async def _add_product(context: Context, finding: Finding, text: str) -> None:
    stored = product_id(text)
    if stored is not None:
        db = await context.db("marketplace")
        finding.streams |= _names(await db.fetch(SQL["of_product"], stored, _OF_A_KIND))


async def _add_event(context: Context, finding: Finding, text: str) -> None:
    if time_of_id(text) is not None:
        finding.event = await find_event(context, text.lower(), SearchTally(), everywhere=False)
    if finding.event is not None:
        finding.streams.add(finding.event.envelope.stream)


async def _existing(context: Context, names: Collection[str]) -> list[FoundStream]:
    """Return those of the streams that exist, the one with the newest event first."""

    async def search_store(service: str) -> list[FoundStream]:
        own = sorted(name for name in names if any(owner == service for owner, _ in stream_kinds(name)))
        rows = await (await context.db(service)).fetch(SQL["streams"], own) if own else []
        return [
            FoundStream(
                service=service,
                stream=row["stream"],
                versions=row["version"],
                began=row["began"],
                last_id=row["id"],
                last_type=row["type"],
                last_time=row["time"],
                tenant=row["tenant"],
            )
            for row in rows
        ]

    found = [each for streams in await asyncio.gather(*map(search_store, SERVICES)) for each in streams]
    return sorted(found, key=lambda each: (each.last_time, each.stream), reverse=True)


def _print(output: Output, finding: Finding, shown: Sequence[FoundStream], number: int) -> None:
    output.table(
        ("organisation", "kind", "id"),
        [(each["name"], each["kind"], each["organisation_id"]) for each in finding.organisations],
    )
    if finding.event is not None:
        envelope = finding.event.envelope
        place = f"{envelope.stream}@{envelope.version}"
        output.line(
            say("The event %(event)s is %(type)s, %(place)s.", event=envelope.id, type=envelope.type, place=place)
        )
    output.table(
        ("stream", ">events", "last", "at"),
        [(each.stream, f"{each.versions:,}", each.last_type, when(each.last_time)) for each in shown],
    )
    streams = Count(len(shown), "stream")
    output.line(
        say("%(streams)s found, of %(all)s.", streams=streams, all=number)
        if number > len(shown)
        else say("%(streams)s found.", streams=streams)
    )


def _as_data(found: FoundStream) -> dict[str, object]:
    return {
        "service": found.service,
        "stream": found.stream,
        "versions": found.versions,
        "began": stamp(found.began),
        "last": {"id": found.last_id, "type": found.last_type, "time": stamp(found.last_time)},
        "tenant": found.tenant,
        "sandbox": is_sandbox(found.tenant),
    }


def _event(found: FoundEvent | None) -> dict[str, object] | None:
    if found is None:
        return None
    envelope = found.envelope
    return {
        "id": envelope.id,
        "type": envelope.type,
        "service": found.service,
        "stream": envelope.stream,
        "version": envelope.version,
        "time": stamp(envelope.time),
    }
