"""The list of refusals, and one of them with its reason and what justified it."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from http import HTTPStatus
from typing import Final

from markupsafe import Markup, escape
from starlette.responses import Response

from services.console.doors import Refused, Unreachable, part_of_page, path
from services.console.forms import refusals as refusals_in_words
from services.console.forms import words_of
from services.console.names import names_of
from services.console.pages.portal.histories import WHAT
from services.console.pages.refusals.words import PLACES, asked_for
from services.console.shapes.histories import History
from services.console.shapes.refusals import Refusal, Refusals
from services.console.texts import Texts
from services.console.visits import Visit
from shared.services import SERVICES

TOGETHER: Final = "25"
"""The number of refusals of each service that are shown side by side."""
FILTERS: Final = ("account_id", "email", "rule")
LOOKED_AT: Final = "200"
"""The number of a history's latest events among which those that justify a refusal are looked for."""
HISTORIES: Final = {"contract": "contracts", "subscription": "subscriptions", "pool": "pools"}
"""Where the history of a stream is found, by the stream's kind."""
_DAY: Final = re.compile(r"\b\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])\b(?!T)")
_NUMBER: Final = re.compile(r"\b([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b")
_CODE: Final = Markup("<code>{}</code>")


@dataclass(frozen=True, slots=True)
class Kept:
    """A refusal, and the service that keeps it."""

    service: str
    refusal: Refusal


# ── The list ───────────────────────────────────────────────────────────────────────────────────────────


async def refusals(visit: Visit) -> Response:
    """List what was refused: of one service page by page, or the latest of all together."""
    wanted = visit.request.query_params.get("of", "")
    chosen = next((each for each in SERVICES if each == wanted), None)
    if visit.wants_csv and chosen is not None:
        return await visit.export(chosen, "/refusals", "refusals", *FILTERS)
    found = await asyncio.gather(*(_of_service(visit, each, chosen) for each in SERVICES if chosen in (None, each)))
    kept = [each for page in found if page is not None for each in page[0]]
    if not chosen:
        kept.sort(key=lambda each: each.refusal.refused_at, reverse=True)
        del kept[int(TOGETHER) :]
    everybodys = visit.account is not None and visit.account.organisation_kind == "operator"
    texts = visit.texts
    return visit.page(
        "refusals/refusals.html",
        kept=kept,
        words=[words_of(each.refusal.rule, with_days(each.refusal.reason, texts), texts) for each in kept],
        asked=[asked_for(each.refusal, texts) for each in kept],
        next=found[0][1] if chosen and found[0] is not None else None,
        more=not chosen and any(page is not None and page[1] for page in found),
        incomplete=None in found,
        chosen=chosen,
        places=[(name, texts.gettext(text)) for name, text in PLACES.items()],
        everybodys=everybodys,
        names=await names_of(visit, [each.refusal.account_id for each in kept] if everybodys else []),
    )


def with_days(words: str, texts: Texts) -> str:
    """Return a service's words with their days as the person writes them."""

    def written(found: re.Match[str]) -> str:
        try:
            return texts.day(date.fromisoformat(found[0]))
        except ValueError:  # 30 February
            return found[0]

    return _DAY.sub(written, words)


def with_numbers(words: str) -> Markup:
    """Return a service's words with the ids in them marked as such."""
    parts = _NUMBER.split(words)  # each second one is an id
    return Markup().join(_CODE.format(each) if place % 2 else escape(each) for place, each in enumerate(parts))


async def _of_service(visit: Visit, service: str, chosen: str | None) -> tuple[list[Kept], str | None] | None:
    """Return what a service has refused, and the cursor of the next.

    It is None while the service does not answer.
    """
    asked = visit.listed(*FILTERS)
    if not chosen:
        asked = {name: value for name, value in asked.items() if name != "after"} | {"limit": TOGETHER}
    try:
        async with part_of_page():
            page = await visit.see(service, "/refusals", Refusals, **asked)
    except Unreachable:
        return None
    except Refused as refused:
        if refused.problem.status == HTTPStatus.NOT_FOUND:  # of another account, which the person may not name
            return [], None
        raise
    return [Kept(service, each) for each in page.items], page.next


# ── One refusal ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Evidence:
    """An event that justifies a refusal; without its words if the person can't see it."""

    event_id: str
    text: str = ""
    at: datetime | None = None
    actor: str = ""


async def refusal(visit: Visit) -> Response:
    """Show a refusal: what was asked for, why it was refused, what to do, and what justified it."""
    found = await asyncio.gather(*(_kept(visit, service) for service in SERVICES))
    kept = next((each for each in found if isinstance(each, Kept)), None)
    for missing in (each for each in found if isinstance(each, Unreachable)):
        if kept is None:
            raise missing
    if kept is None:
        return visit.page("not-found.html", HTTPStatus.NOT_FOUND)
    evidence = await _evidence(visit, kept)
    names = await names_of(visit, [kept.refusal.account_id, *(each.actor for each in evidence)])
    own = visit.account is not None and visit.account.account_id == kept.refusal.account_id
    reason, remedy = (with_days(each, visit.texts) for each in (kept.refusal.reason, kept.refusal.remedy))
    return visit.page(
        "refusals/refusal.html",
        kept=kept,
        refusal=kept.refusal,
        words=words_of(kept.refusal.rule, reason, visit.texts),
        worded=kept.refusal.rule in refusals_in_words().rules,
        reason=with_numbers(reason),
        remedy=with_numbers(remedy),
        numbered=_NUMBER.search(f"{reason} {remedy}") is not None,
        asked=asked_for(kept.refusal, visit.texts),
        place=visit.texts.gettext(PLACES[kept.service]),
        evidence=evidence,
        names=names,
        own=own,
        about=_page_of(kept.refusal.stream or ""),
    )


async def _kept(visit: Visit, service: str) -> Kept | Unreachable | None:
    """Return the refusal if the service keeps it, or that the service does not say so."""
    try:
        at = path("/refusals/{id}", id=visit.id("command_id"))
        async with part_of_page():
            return Kept(service, await visit.see(service, at, Refusal))
    except Refused:
        return None
    except Unreachable as missing:
        return missing


async def _evidence(visit: Visit, kept: Kept) -> Sequence[Evidence]:
    """Return the events that justify a refusal, in words where its subject's history tells them."""
    kind, _, key = (kept.refusal.stream or "").partition("-")
    known: dict[str, Evidence] = {}
    if kept.refusal.because and kind in HISTORIES:
        at = path(f"/{HISTORIES[kind]}/{{key}}/history", key=key)
        try:
            async with part_of_page():
                history = await visit.see(kept.service, at, History, sort="-version", limit=LOOKED_AT)
        except (Refused, Unreachable):
            history = History(items=[])
        for each in history.items:
            text = visit.texts.gettext(WHAT[each.type]) if each.type in WHAT else each.type
            known[each.event_id] = Evidence(each.event_id, text, each.at, each.actor)
    return [known.get(each, Evidence(each)) for each in kept.refusal.because]


def _page_of(stream: str) -> str:
    """Return the path of the page of what a command was about, or ""."""
    kind, _, key = stream.partition("-")
    at = {"contract": "/contracts/{key}", "subscription": "/subscriptions/{key}", "pool": "/seats/{key}"}.get(kind)
    return path(at, key=key) if at else ""
