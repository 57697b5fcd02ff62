"""Entity tags and conditional requests: `ETag`, `If-Match` and `If-None-Match`.

The tag of a thing is its stream and the stream's version, `"subscription-1@7"`, as `Tenure-Version` has them. A query's
tag has a digest of the body besides, after a semicolon: what a query shows also follows from the clock, from the caller
and from other streams, and only the same body may be answered with 304. For `If-Match` the digest does not count.

Source: RFC 9110, sections 8.8 and 13.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers

from shared import rules
from shared.eventlog.write.conditions import ConditionFailed
from shared.eventlog.write.store import Store
from shared.runtime.problems import Problem
from shared.runtime.wellformed import malformed_request

ANY: Final = "*"
_TAG: Final = re.compile(r'\s*(W/)?"([\x21\x23-\x7e]*)"\s*(?:,|$)')
_SAFE: Final = "!#$&'()*+-./:=?@[]^_`{|}~"
"""What a tag may have besides letters and digits; the percent sign, the comma and the semicolon have a meaning."""
_NAMED: Final = 20
"""The number of events that a refusal names at most."""


def version_tag(stream: str, version: int) -> str:
    """Return the tag of a stream at a version, without quotation marks."""
    return f"{quote(stream, safe=_SAFE)}@{version}"


def etag(stream: str, version: int) -> str:
    """Return the value of `ETag` for a stream at a version."""
    return f'"{version_tag(stream, version)}"'


@dataclass(frozen=True, slots=True)
class Precondition:
    """The versions of its stream that a command may be decided on."""

    match: frozenset[str] | None
    """The tags of If-Match, or `*` for any version of what exists; None without the header."""
    none_match: frozenset[str]
    """The tags of If-None-Match, or `*` for what does not exist yet."""

    def __call__(self, stream: str, version: int) -> bool:
        own = {version_tag(stream, version), ANY} if version else frozenset[str]()
        return (self.match is None or bool(self.match & own)) and not self.none_match & own

    async def failed(self, store: Store, failed: ConditionFailed) -> Problem:
        """Return Problem 412 with the events since the version that was expected."""
        if not failed.version:
            return _problem("This does not exist yet.", "Send it without If-Match.", ())
        if ANY in self.none_match:
            return _problem("This exists already.", "Send it without If-None-Match, or for another thing.", ())
        since = [events for tag in self.match or () if (events := _since(tag, failed)) is not None]
        stored = await store.history(failed.stream, max(since), _NAMED, newest_first=False) if since else ()
        return _problem(
            f"{failed.stream} is at version {failed.version}, and the request is for another one.",
            "Read it again; if the command is still right, send it with the new ETag.",
            [event.envelope.id for event in stored],
        )


def _since(tag: str, failed: ConditionFailed) -> int | None:
    """Return the version that a tag names, if it is an earlier one of this stream."""
    stream, _, version = tag.rpartition("@")
    earlier = version.isdigit() and len(version) <= 10 and int(version) < failed.version
    return int(version) if earlier and tag == version_tag(failed.stream, int(version)) and stream else None


def _problem(reason: str, remedy: str, because: Sequence[str]) -> Problem:
    return Problem(rule=rules.VERSION_CHANGED, reason=reason, remedy=remedy, because=because)


def precondition(headers: Headers, *, bulk: bool) -> Precondition | None:
    """Return the condition of a command's request, None if it has none.

    Args:
        bulk: Whether the request has many commands, of which a condition would not say which one it is for.

    Raises:
        Problem: 422 if the condition is malformed, or the request has many commands.
    """
    given = {name: headers.getlist(name) for name in ("if-match", "if-none-match") if name in headers}
    if not given:
        return None
    if bulk:
        raise _malformed(next(iter(given)), "a bulk request has many commands: send it for each one alone")
    tags = {name: _versions(name, values) for name, values in given.items()}
    return Precondition(tags.get("if-match"), tags.get("if-none-match", frozenset()))


def tags_of(value: str, *, strong: bool) -> frozenset[str] | None:
    """Return the tags in a header, `*` for any, or None if it is malformed.

    Args:
        strong: Whether a weak tag is equal to none.
    """
    if value.strip() == ANY:
        return frozenset({ANY})
    tags, position = set[str](), 0
    while position < len(value):
        found = _TAG.match(value, position)
        if found is None:
            return None
        if not (strong and found[1]):
            tags.add(found[2])
        position = found.end()
    return frozenset(tags) if value.strip() else None


def _versions(name: str, values: Sequence[str]) -> frozenset[str]:
    """Return the tags without their digests. Raises Problem 422 for a malformed header."""
    tags = tags_of(", ".join(values), strong=name == "if-match")
    if tags is None:
        raise _malformed(name, 'it is neither * nor a list of tags such as "subscription-1@7"')
    return frozenset(tag.partition(";")[0] for tag in tags)


def _malformed(name: str, error: str) -> Problem:
    return malformed_request([{"field": f"header.{name}", "error": error}])
