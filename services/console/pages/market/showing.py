"""What the marketplace's pages share: words, parts that may be missing, people's names."""

from collections.abc import Awaitable, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import TypeVar

from starlette.responses import Response

from services.console import names
from services.console.doors import Refused
from services.console.pages.market.words import choices, tag, word
from services.console.visits import Visit

T = TypeVar("T")

NOT_SHOWN = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)
"""Conflict: there is no such part in the state that the subscription is in."""


def render(visit: Visit, template: str, /, **values: object) -> Response:
    """Return a page of the marketplace."""
    words = {"word": partial(word, visit.texts), "choices": partial(choices, visit.texts), "tag": tag}
    return visit.page(f"market/{template}", HTTPStatus.OK, **words, **values)


async def if_shown(part: Awaitable[T]) -> T | None:
    """Return a part of a page; None if the person may not see it, or if it is not there yet."""
    try:
        return await part
    except Refused as refused:
        if refused.problem.status in NOT_SHOWN:
            return None
        raise


async def names_of(visit: Visit, accounts: Iterable[str]) -> Mapping[str, str]:
    """Return the names of colleagues and of customers' people, as far as they are known."""
    wanted = set(accounts)
    return {
        account: named.name for account, named in (await names.names_of(visit, wanted)).items() if account in wanted
    }


def given(visit: Visit, name: str) -> str:
    """Return what the page's form or its address says."""
    return (visit.form[name] or visit.request.query_params.get(name, "")).strip()[:500]


def unchanged(visit: Visit, seen: str) -> Response | None:
    """Return the answer to a page that asks for news and has the latest; None for any other."""
    if visit.request.query_params.get("seen") == seen:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    return None
