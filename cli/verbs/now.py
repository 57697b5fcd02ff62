"""`tenure now`: what the system does at this moment."""

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import asyncpg
import httpx
import typer

from cli.app import Result, verb
from cli.context import Context
from cli.output import Output, duration
from cli.scraped import Histogram, Scraped, between, quantile, scraped, since
from cli.sentences import Count, say
from shared.eventlog.write.log import utc_now
from shared.eventlog.write.postgres import TRANSIENT
from shared.events.envelope import stamp
from shared.services import SERVICES
from shared.sql import Row, statements

SQL: Final = statements(__file__)

_ROLLOUTS: Final = 20
_TYPES: Final = 8
"""How many types of events are printed of a service; --json has all."""
_QUANTILES: Final = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Two readings of a service's metrics, or the `fault` for which they could not be read."""

    service: str
    first: Scraped
    last: Scraped
    over_s: float
    fault: str | None = None


async def _read(context: Context, service: str, over_s: float) -> Reading:
    client = await context.http(service)

    async def page() -> Scraped:
        answer = await client.get("/metrics", timeout=3)
        answer.raise_for_status()
        return scraped(answer.text)

    try:
        first, began = await page(), time.monotonic()
        await asyncio.sleep(over_s)
        return Reading(service=service, first=first, last=await page(), over_s=time.monotonic() - began)
    except (httpx.HTTPError, ValueError) as fault:
        why = f"no metrics at {context.urls[service]} ({type(fault).__name__})"
        return Reading(service=service, first=Scraped(), last=Scraped(), over_s=over_s, fault=why)


async def _terms(context: Context) -> Sequence[Row]:
    found: Sequence[Row] = await (await context.db("marketplace")).fetch(SQL["terms"])
    return found


async def _rollouts(context: Context) -> Sequence[Row]:
    found: Sequence[Row] = await (await context.db("distribution")).fetch(SQL["rollouts"], _ROLLOUTS)
    return found


async def _or_fault(service: str, reading: Coroutine[Any, Any, Sequence[Row]]) -> Sequence[Row] | str:
    """Return the rows of a service's tables, or why they can't be read."""
    try:
        return await reading
    except (*TRANSIENT, asyncpg.PostgresError) as fault:
        return f"{service}: its database can't be read ({type(fault).__name__}: {fault})"


@verb("now", fails_when="a service or a database can't be read")
async def show_now(
    context: Context,
    output: Output,
    over: Annotated[
        float, typer.Option(min=0.1, max=60, help="Seconds over which rates and latencies are measured.")
    ] = 2.0,
) -> Result:
    """Show rates, command latency, lags, parked records, terms ending and rollouts of now.

    Rates, latencies and lags are those of the process that answers at each service's URL. A consumer whose lag is not
    shown runs in another process: `status` has the lags of all consumers."""
    readings, terms, rollouts = await asyncio.gather(
        asyncio.gather(*(_read(context, service, over) for service in SERVICES)),
        _or_fault("marketplace", _terms(context)),
        _or_fault("distribution", _rollouts(context)),
    )
    wrong = [f"{each.service}: {each.fault}" for each in readings if each.fault]
    wrong += [each for each in (terms, rollouts) if isinstance(each, str)]
    found = {
        "at": stamp(utc_now()),
        "over_s": over,
        "wrong": wrong,
        "services": [_service(each) for each in readings],
        "consumers": [consumer for each in readings for consumer in _consumers(each.last)],
        "terms": [] if isinstance(terms, str) else [dict(row) for row in terms],
        "rollouts": [] if isinstance(rollouts, str) else [_rollout(dict(row)) for row in rollouts],
        "more_rollouts": 0 if isinstance(rollouts, str) or not rollouts else rollouts[0]["number"] - len(rollouts),
    }
    _print(output, found)
    return Result(found, ok=not wrong)


def _service(reading: Reading) -> dict[str, Any]:
    first, last = reading.first, reading.last
    commands = since(last.commands, first.commands, reading.over_s)
    return {
        "service": reading.service,
        "fault": reading.fault,
        "events_per_s": since(last.events, first.events, reading.over_s),
        "commands_per_s": round(sum(commands.values()), 3),
        "refused_per_s": commands.get("refused", 0.0),
        "latency": _latency(between(last.latency, first.latency)),
        "latency_since_start": _latency(last.latency),
        "relay_behind_events": _whole(last, "tenure_relay_behind_events"),
        "relay_behind_s": last.gauges.get("tenure_relay_behind_seconds"),
        "parked": None if reading.fault else int(sum(last.parked.values())),
        "timers_due": _whole(last, "tenure_timers_due"),
        "timers_late_s": last.gauges.get("tenure_timers_late_seconds"),
    }


def _whole(figures: Scraped, name: str) -> int | None:
    found = figures.gauges.get(name)
    return None if found is None else int(found)


def _latency(histogram: Histogram) -> dict[str, Any]:
    return {
        "commands": int(max(histogram.values(), default=0)),
        **{f"p{part * 100:.0f}_s": quantile(histogram, part) for part in _QUANTILES},
    }


def _consumers(figures: Scraped) -> list[dict[str, Any]]:
    names = sorted(figures.lag_s.keys() | figures.lag.keys() | figures.parked.keys())
    return [
        {
            "consumer": name,
            "lag": None if name not in figures.lag else int(figures.lag[name]),
            "lag_s": figures.lag_s.get(name),
            "parked": int(figures.parked.get(name, 0)),
        }
        for name in names
    ]


def _rollout(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "number"} | {
        "title": row["title"] or row["update_id"]
    }


# ── For a person ───────────────────────────────────────────────────────────────────────────────────────


def _print(output: Output, found: Mapping[str, Any]) -> None:
    columns = ("service", ">events/s", ">commands/s", ">p50", ">p99", ">relay lag", ">parked")
    output.table(columns, [_row(each) for each in found["services"]])
    output.line()
    rates = [(each["service"], type_, rate) for each in found["services"] for type_, rate in _busiest(each)]
    output.table(("service", "event", ">per s"), [(service, type_, f"{rate:,.1f}") for service, type_, rate in rates])
    behind = [each for each in found["consumers"] if each["lag"] or each["parked"]]
    output.table(
        ("consumer", ">lag", ">oldest", ">parked"),
        [(each["consumer"], _number(each["lag"]), _seconds(each["lag_s"]), each["parked"]) for each in behind],
    )
    number = len(found["consumers"])
    consumers, others = Count(number, "consumer"), number - len(behind)
    output.line(say("%(consumers)s, %(others)s up to date.", consumers=consumers, others=others))
    output.table(
        ("terms ending in", ">renewing", ">asked to end", ">ending"),
        [
            (f"{each['first_day']} to {each['last_day']} days", each["renewing"], each["asked"], each["ending"])
            for each in found["terms"]
        ],
    )
    output.table(
        ("rollout", "status", ">phase", ">users", ">succeeded", ">failed"),
        [
            (
                f"{each['title']} {each['version']}",
                each["status"],
                f"{each['phase']} of {each['phases']}",
                each["targets"],
                each["succeeded"],
                each["failed"],
            )
            for each in found["rollouts"]
        ],
    )
    rollouts = Count(len(found["rollouts"]) + found["more_rollouts"], "rollout")
    output.line(say("%(rollouts)s under way.", rollouts=rollouts))
    for fault in found["wrong"]:
        output.line(fault)


def _row(each: Mapping[str, Any]) -> tuple[str, ...]:
    latency = each["latency"] if each["latency"]["commands"] else each["latency_since_start"]
    return (
        each["service"],
        f"{sum(each['events_per_s'].values()):,.1f}",
        f"{each['commands_per_s']:,.1f}",
        _milliseconds(latency["p50_s"]),
        _milliseconds(latency["p99_s"]),
        _seconds(each["relay_behind_s"]),
        _number(each["parked"]),
    )


def _busiest(each: Mapping[str, Any]) -> Sequence[tuple[str, float]]:
    return sorted(each["events_per_s"].items(), key=lambda item: (-item[1], item[0]))[:_TYPES]


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:,.0f} ms"


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _number(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"
