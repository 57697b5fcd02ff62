"""The version of the stream that a query shows, for its `ETag`.

@QUERIES.get("/pools/{subscription_id}", dependencies=[shown_by_tables(SEAT_POOL, "{subscription_id}")])

The version is read before what the query shows. So the tag's version is never newer than that, and a command with it in
`If-Match` is never decided on what its sender has not seen.
"""

from typing import Any, Final, TypeVar

from fastapi import Depends, Request

from shared.eventlog.decision import Stream
from shared.events.base import Event
from shared.events.envelope import BadName, checked_name
from shared.runtime.conditions import version_tag
from shared.runtime.http import CurrentActor, CurrentLog, Database
from shared.sql import statements

S = TypeVar("S")
C = TypeVar("C")
E = TypeVar("E", bound=Event)
SQL: Final = statements(__file__)


def shown_by_tables(stream: Stream[S, C, E], key: str) -> Any:
    """Return a dependency of a query that shows one of the service's streams by its tables.

    Args:
        key: The stream's key, as a format of the path's parameters.
    """

    async def tables_version(request: Request, actor: CurrentActor, db: Database) -> None:
        del actor  # before anything else the caller is verified
        stream_id = _stream_of(request, stream, key)
        if stream_id:
            version = await db.fetchval(SQL["version"], stream_id, [*request.app.state.parts.own_projections])
            shows(request, stream_id, version or 0)

    return Depends(tables_version)


def shown_by_log(stream: Stream[S, C, E], key: str) -> Any:
    """Return a dependency of a query that shows a stream's state, which the log has.

    Args:
        key: As of `shown_by_tables`; `{me}` is the caller's account.
    """

    async def log_version(request: Request, actor: CurrentActor, log: CurrentLog) -> None:
        stream_id = _stream_of(request, stream, key, me=actor.account_id)
        if stream_id:
            current = await log.reader().current(stream, stream_id)
            shows(request, stream_id, current.head.version)

    return Depends(log_version)


def _stream_of(request: Request, stream: Stream[S, C, E], key: str, **more: str) -> str:
    """Return the stream's id, or "" if the query shows the past, or the path names no stream."""
    if "as_of" in request.query_params:
        return ""
    try:
        return checked_name(stream.id(key.format(**request.path_params, **more)), "a stream id")
    except BadName:  # the route refuses it in its own words
        return ""


def shows(request: Request, stream_id: str, version: int) -> None:
    """Note which version a query shows, where only its route finds the stream."""
    if version:
        request.state.version_tag = version_tag(stream_id, version)
