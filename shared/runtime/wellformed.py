"""What a request may bring beside its path: query parameters, headers and a body, each checked before it is used.

A request fails closed. A parameter that nobody reads, one that stands there twice, or one without a value is refused:
who writes `dryRun=true` must not get a real order.
"""

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, get_args, get_origin
from urllib.parse import unquote_to_bytes

from fastapi.dependencies.models import Dependant
from pydantic import BaseModel

from shared import rules
from shared.runtime.problems import Problem

PARAMETERS: Final = 100
"""So many a query string has at most."""
SINGLE_HEADERS: Final = frozenset({b"authorization", b"content-type", b"idempotency-key", b"tenure-at-least"})
"""Headers that are read here: each is given once or not at all."""
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MANY: Final = (list, tuple, set, frozenset, Sequence)


@dataclass(frozen=True, slots=True)
class Parameters:
    """The query parameters that a route reads, and those of them that may be given more than once."""

    known: frozenset[str] = frozenset()
    many: frozenset[str] = frozenset()

    @staticmethod
    def of(dependant: Dependant) -> "Parameters":
        """What a route's function and its dependencies declare."""
        fields = list(_declared(dependant))
        many = frozenset(name for name, annotation in fields if _is_many(annotation))
        return Parameters(frozenset(name for name, _ in fields), many)

    def read(self, query_string: bytes) -> dict[str, list[str]]:
        """The values by name. Raises Problem 422 for everything that this route does not read as it stands there."""
        found: dict[str, list[str]] = {}
        wrong: list[dict[str, str]] = []
        for name, value in _pairs(query_string):
            if name not in self.known:
                wrong.append({"field": f"query.{name[:60]}", "error": self._unknown(name)})
            elif not value:
                wrong.append({"field": f"query.{name}", "error": "it has no value: leave it out, or say one"})
            elif name in found and name not in self.many:
                wrong.append({"field": f"query.{name}", "error": "it stands there twice"})
            found.setdefault(name, []).append(value)
        if wrong:
            raise _malformed(wrong)
        return found

    def _unknown(self, name: str) -> str:
        if not self.known:
            return "there is no such parameter, this route has none"
        plain = {_plain(known): known for known in sorted(self.known)}
        near = difflib.get_close_matches(_plain(name), plain, 1)
        meant = f", did you mean {plain[near[0]]}?" if near else "."
        return f"there is no such parameter{meant} This route has {', '.join(sorted(self.known))}"


DRY_RUN: Final = Parameters(frozenset({"dry_run"}))
"""What a command's route reads."""
NO_PARAMETERS: Final = Parameters()


def dry_run(query_string: bytes) -> bool:
    """Whether a command is only to be considered. Raises Problem 422 unless that is said exactly, or not at all."""
    if not query_string:
        return False
    (value,) = DRY_RUN.read(query_string).get("dry_run", ["false"])
    if value not in ("true", "false"):
        raise _malformed([{"field": "query.dry_run", "error": "it is exactly true or false"}])
    return value == "true"


def check_headers(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raises Problem 422 where a header that is read here stands there twice."""
    counted = Counter(name for name, _ in headers if name in SINGLE_HEADERS)
    if twice := [name.decode() for name, number in counted.items() if number > 1]:
        raise _malformed([{"field": f"header.{name}", "error": "it stands there twice"} for name in twice])


def check_no_body(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raises Problem 422 where a body is announced, for a route that reads none."""
    announced = {name: value for name, value in headers if name in (b"content-length", b"transfer-encoding")}
    if announced.pop(b"content-length", b"0") != b"0" or announced:
        raise _malformed([{"field": "body", "error": "this route reads none"}])


def check_json(raw: bytes) -> Any:
    """The JSON, for its keys alone: its numbers are not read. None where it is no JSON: that is left to its reader.

    Raises Problem 422 where readers understand it differently: a key twice in an object, NaN, Infinity, a number that
    is beyond all of a float's.
    """
    try:
        return json.loads(raw, object_pairs_hook=_once, parse_constant=_constant, parse_int=len, parse_float=_finite)
    except _Ambiguous as why:
        raise _malformed([{"field": "body", "error": str(why)}]) from None
    except RecursionError:
        raise _malformed([{"field": "body", "error": "it is nested too deeply"}]) from None
    except ValueError:
        return None


def check_fields(form: BaseModel, parsed: Any) -> None:
    """Raises Problem 422 for fields in `parsed`, the JSON of the form, that its nested models don't have. Those of
    events ignore what they don't know, because a newer writer may have written it; a caller's mistake is no such
    thing."""
    if wrong := [{"field": where, "error": "there is no such field"} for where in _unknown_fields(form, parsed, "")]:
        raise _malformed(wrong)


def _unknown_fields(value: Any, parsed: Any, where: str) -> Iterator[str]:
    if isinstance(value, BaseModel) and isinstance(parsed, dict):
        fields = type(value).model_fields
        names = {field.alias or name: name for name, field in fields.items()} | {name: name for name in fields}
        for key, each in parsed.items():
            if key not in names:
                yield f"{where}{key[:60]}"
            else:
                yield from _unknown_fields(getattr(value, names[key]), each, f"{where}{key}.")
    elif isinstance(value, list | tuple) and isinstance(parsed, list):
        for number, (one, other) in enumerate(zip(value, parsed, strict=False)):
            yield from _unknown_fields(one, other, f"{where}{number}.")
    elif isinstance(value, dict) and isinstance(parsed, dict):
        for key, one in value.items():
            yield from _unknown_fields(one, parsed.get(key), f"{where}{key}.")


def _finite(text: str) -> int:
    if float(text) in (float("inf"), float("-inf")):
        raise _Ambiguous(f"the number {text[:40]} is out of range")
    return len(text)


class _Ambiguous(Exception):
    """JSON of which two readers may make two things."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name = next(name for name, number in Counter(name for name, _ in pairs).items() if number > 1)
        raise _Ambiguous(f"the key {name[:60]!r} stands there twice in one object")
    return found


def _constant(name: str) -> Any:
    raise _Ambiguous(f"{name} is not a JSON value")


def _pairs(query_string: bytes) -> Iterator[tuple[str, str]]:
    parts = [part for part in query_string.split(b"&") if part]
    if len(parts) > PARAMETERS:
        raise _malformed([{"field": "query", "error": f"it has more than {PARAMETERS} parameters"}])
    for part in parts:
        name, _, value = part.partition(b"=")
        yield _text(name), _text(value)


def _text(raw: bytes) -> str:
    try:
        quoted = raw.decode("ascii")
        text = unquote_to_bytes(quoted.replace("+", " ")).decode()
    except UnicodeDecodeError:
        raise _malformed([{"field": "query", "error": "it is not UTF-8 in percent-encoding"}]) from None
    if _BAD_PERCENT.search(quoted):
        raise _malformed([{"field": "query", "error": "a % is not followed by two hexadecimal digits"}])
    if _CONTROL.search(text):
        raise _malformed([{"field": "query", "error": "it has a control character"}])
    return text


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@lru_cache(maxsize=1024)
def _is_many(annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    return origin in _MANY or any(_is_many(part) for part in get_args(annotation) if part is not Ellipsis)


def _declared(dependant: Dependant) -> Iterator[tuple[str, Any]]:
    """The query parameters of a function and of all that it depends on, with their types."""
    for field in dependant.query_params:
        annotation = field.field_info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from ((each.alias or name, each.annotation) for name, each in annotation.model_fields.items())
        else:
            yield field.alias, annotation
    for each in dependant.dependencies:
        yield from _declared(each)


def _malformed(fields: Sequence[dict[str, str]]) -> Problem:
    named = "; ".join(f"{each['field']}: {each['error']}" for each in fields[:5])
    return Problem(
        422,
        rule=rules.MALFORMED,
        reason=f"The request is not well formed: {named}.",
        remedy="Correct this and send it again.",
        fields=fields,
    )
