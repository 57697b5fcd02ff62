"""The middleware of responses: entity tags, 304, compression, no storing of what is private.

A response with a token or another secret, which its route marks with `Cache-Control: no-store`, is never compressed:
its length would tell about the secret to somebody who chooses a part of it (BREACH). A stream, such as an export, is
neither tagged nor compressed, because it is never in memory as a whole.

Source: RFC 9110, sections 8.8 and 13; RFC 9111, section 5.2.2.5.
"""

import asyncio
import re
import zlib
from collections.abc import Mapping
from hashlib import blake2b
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.runtime.conditions import ANY, tags_of

COMPRESSED_FROM: Final = 4096
"""The size in bytes from which a body is compressed: below it a response has few packets anyway."""
_IN_A_THREAD_FROM: Final = 128 * 1024
_LEVEL: Final = 1
"""zlib's fastest level, which takes 10 ms for a megabyte of a list and leaves a tenth; level 6 takes four times as long
for a twelfth."""
_COMPRESSIBLE: Final = ("application/json", "application/problem+json", "text/", "application/javascript")
_GZIP: Final = re.compile(r"(?:^|,)\s*(?:gzip|\*)\s*(?:;\s*q=(?P<weight>[01](?:\.[0-9]{0,3})?))?\s*(?:,|$)")
_COMPRESSED: Final = "+gzip"
"""The end of a compressed response's tag: a tag is for one sequence of bytes."""
_NOT_WITH_304: Final = ("content-length", "content-type", "content-encoding")


class Representations:
    """Middleware that tags, compresses and protects what the application responds."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked, start = Headers(scope=scope), None

        async def answer(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if start is None:
                await send(message)
                return
            begun, start = start, None
            headers = MutableHeaders(raw=[*begun["headers"]])
            secret = "no-store" in headers.get("cache-control", "")
            if not secret and "authorization" in asked:
                headers["Cache-Control"] = "no-store"
            if not (secret or message.get("more_body", False)):
                begun, message = await _represented(scope, asked, headers, begun, message)
            await send({**begun, "headers": headers.raw})
            await send(message)

        await self.app(scope, receive, answer)


async def _represented(
    scope: Scope, asked: Headers, headers: MutableHeaders, start: Message, message: Message
) -> tuple[Message, Message]:
    """Return a whole response tagged, compressed, or as 304. Its headers are changed."""
    body: bytes = message.get("body", b"")
    compressible = (
        len(body) >= COMPRESSED_FROM
        and headers.get("content-type", "").startswith(_COMPRESSIBLE)
        and "content-encoding" not in headers
    )
    if compressible:
        headers.add_vary_header("Accept-Encoding")
    tagged = start["status"] == HTTPStatus.OK and scope["method"] == "GET" and "etag" not in headers
    if tagged:
        headers["ETag"] = query_tag(scope.get("state", {}), body)
        if _is_known(asked, headers["ETag"]):
            for name in _NOT_WITH_304:
                del headers[name]
            return {**start, "status": int(HTTPStatus.NOT_MODIFIED)}, {**message, "body": b""}
    if not (compressible and _reads_gzip(asked)):
        return start, message
    body = await asyncio.to_thread(_compressed, body) if len(body) > _IN_A_THREAD_FROM else _compressed(body)
    headers["Content-Encoding"], headers["Content-Length"] = "gzip", str(len(body))
    if tagged:
        headers["ETag"] = f'{headers["ETag"][:-1]}{_COMPRESSED}"'
    return start, {**message, "body": body}


def query_tag(state: Mapping[str, object], body: bytes) -> str:
    """Return the tag of a response: the version that its route has set, if any, and a digest."""
    version, digest = state.get("version_tag"), blake2b(body, digest_size=12).hexdigest()
    return f'"{version};{digest}"' if version else f'"{digest}"'


def _is_known(asked: Headers, tag: str) -> bool:
    """Return whether the caller has this response already. A malformed header says nothing."""
    given = ", ".join(asked.getlist("if-none-match"))
    known = tags_of(given, strong=False) if given else None
    return known is not None and (ANY in known or tag.strip('"') in {each.removesuffix(_COMPRESSED) for each in known})


def _reads_gzip(asked: Headers) -> bool:
    found = _GZIP.search(asked.get("accept-encoding", ""))
    return found is not None and float(found["weight"] or 1) > 0


def _compressed(body: bytes) -> bytes:
    # 31: gzip's header and check value. Unlike gzip.compress, it writes no time: the same body has the same bytes.
    return zlib.compress(body, _LEVEL, wbits=31)
