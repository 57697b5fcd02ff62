"""Checks of requests' query parameters, headers and bodies, before they are used.

A request with an unknown parameter, a repeated one, or one without a value is refused: `dryRun=true` must not make a
real order.
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
"""The greatest number of parameters in a query string."""
SINGLE_HEADERS: Final = frozenset({b"authorization", b"content-type", b"idempotency-key", b"tenure-at-least"})
"""The headers that are read, which a request has once at most."""
_CODING: Final = b"content-encoding"
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MANY: Final = (list, tuple, set, frozenset, Sequence)


@dataclass(frozen=True, slots=True)
class Parameters:
    """The query parameters that a route reads; those in `many` may be repeated."""

    known: frozenset[str] = frozenset()
    many: frozenset[str] = frozenset()

    @staticmethod
    def of(dependant: Dependant) -> "Parameters":
        """Return the parameters that a route's function and its dependencies declare."""
        fields = list(_declared(dependant))
        many = frozenset(name for name, annotation in fields if _is_many(annotation))
        return Parameters(frozenset(name for name, _ in fields), many)

    def read(self, query_string: bytes) -> dict[str, list[str]]:
        """Read the values by name. Raises Problem 422 for unknown, repeated or empty parameters."""
        values: dict[str, list[str]] = {}
        wrong: list[dict[str, str]] = []
        for name, value in _pairs(query_string):
            if name not in self.known:
                wrong.append({"field": f"query.{name[:60]}", "error": self._unknown(name)})
            elif not value:
                wrong.append({"field": f"query.{name}", "error": "it has no value: leave it out, or give it one"})
            elif name in values and name not in self.many:
                wrong.append({"field": f"query.{name}", "error": "it is given twice"})
            values.setdefault(name, []).append(value)
        if wrong:
            raise malformed_request(wrong)
        return values

    def _unknown(self, name: str) -> str:
        if not self.known:
            return "there is no such parameter, this route has none"
        plain = {_plain(known): known for known in sorted(self.known)}
        near = difflib.get_close_matches(_plain(name), plain, 1)
        meant = f", did you mean {plain[near[0]]}?" if near else "."
        return f"there is no such parameter{meant} This route has {', '.join(sorted(self.known))}"


DRY_RUN: Final = Parameters(frozenset({"dry_run"}))
"""The parameters of a command's route."""
NO_PARAMETERS: Final = Parameters()


def dry_run(query_string: bytes) -> bool:
    """Return whether a command is a dry run. Raises Problem 422 for a malformed value."""
    if not query_string:
        return False
    (value,) = DRY_RUN.read(query_string).get("dry_run", ["false"])
    if value not in ("true", "false"):
        raise malformed_request([{"field": "query.dry_run", "error": "it must be exactly true or false"}])
    return value == "true"


def check_headers(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Raise Problem 422 if a header that is read is given twice, 415 if the body is encoded."""
    codings = [part.strip().lower() for name, value in headers if name == _CODING for part in value.split(b",")]
    encoded = [coding for coding in codings if coding not in (b"", b"identity")]
    if encoded and _announced(headers):
        raise Problem(
            rule=rules.UNSUPPORTED_MEDIA_TYPE,
            reason=f"The body is encoded with {encoded[0].decode('latin-1')[:40]!a}; bodies are read as they are.",
            remedy="Send it without Content-Encoding.",
            headers={"Accept-Encoding": "identity"},  # source: RFC 9110, section 12.5.3
        )
    counted = Counter(name for name, _ in headers if name in SINGLE_HEADERS)
    if twice := [name.decode() for name, number in counted.items() if number > 1]:
        raise malformed_request([{"field": f"header.{name}", "error": "it is given twice"} for name in twice])


def _announced(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a request announces a body."""
    announced = {name: value for name, value in headers if name in (b"content-length", b"transfer-encoding")}
    return announced.pop(b"content-length", b"0") != b"0" or bool(announced)


def check_no_body(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raise Problem 422 if a request to a route without a body announces one."""
    if _announced(headers):
        raise malformed_request([{"field": "body", "error": "this route takes no body"}])


def check_json(raw: bytes) -> Any:
    """Check a JSON body for ambiguities, and return it for its keys.

    Numbers in the result are not the real values. Returns None if the body is not JSON, which its form's parser
    reports.

    Raises:
        Problem: 422 if parsers may understand it differently (a repeated key in an object, NaN, Infinity, a number
            beyond the range of floats), or if it is nested too deeply.
    """
    try:
        return json.loads(raw, object_pairs_hook=_once, parse_constant=_constant, parse_int=len, parse_float=_finite)
    except _Ambiguous as why:
        raise malformed_request([{"field": "body", "error": str(why)}]) from None
    except RecursionError:
        raise malformed_request([{"field": "body", "error": "it is nested too deeply"}]) from None
    except ValueError:
        return None


def check_fields(form: BaseModel, parsed: Any) -> None:
    """Raise Problem 422 for fields that the form's nested models do not have.

    Models of events ignore unknown fields, because a newer version may have written them. In a request such a field is
    a mistake.

    Args:
        parsed: the form's JSON.
    """
    if wrong := [{"field": where, "error": "there is no such field"} for where in _unknown_fields(form, parsed, "")]:
        raise malformed_request(wrong)


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
    """JSON that two parsers may understand differently."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        name = next(name for name, number in Counter(name for name, _ in pairs).items() if number > 1)
        raise _Ambiguous(f"the key {name[:60]!r} is given twice in one object")
    return result


def _constant(name: str) -> Any:
    raise _Ambiguous(f"{name} is not a JSON value")


def _pairs(query_string: bytes) -> Iterator[tuple[str, str]]:
    parts = [part for part in query_string.split(b"&") if part]
    if len(parts) > PARAMETERS:
        raise malformed_request([{"field": "query", "error": f"it has more than {PARAMETERS} parameters"}])
    for part in parts:
        name, _, value = part.partition(b"=")
        yield _text(name), _text(value)


def _text(raw: bytes) -> str:
    try:
        quoted = raw.decode("ascii")
        text = unquote_to_bytes(quoted.replace("+", " ")).decode()
    except UnicodeDecodeError:
        raise malformed_request([{"field": "query", "error": "it is not UTF-8 in percent-encoding"}]) from None
    if _BAD_PERCENT.search(quoted):
        raise malformed_request([{"field": "query", "error": "a % is not followed by two hexadecimal digits"}])
    if _CONTROL.search(text):
        raise malformed_request([{"field": "query", "error": "it has a control character"}])
    return text


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@lru_cache(maxsize=1024)
def _is_many(annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    return origin in _MANY or any(_is_many(part) for part in get_args(annotation) if part is not Ellipsis)


def _declared(dependant: Dependant) -> Iterator[tuple[str, Any]]:
    """Yield the query parameters of a function and of its dependencies, with their types."""
    for field in dependant.query_params:
        annotation = field.field_info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from ((inner.alias or name, inner.annotation) for name, inner in annotation.model_fields.items())
        else:
            yield field.alias, annotation
    for dependency in dependant.dependencies:
        yield from _declared(dependency)


def malformed_request(fields: Sequence[dict[str, str]]) -> Problem:
    """Return Problem 422 that names these fields, each with its error."""
    named = "; ".join(f"{field['field']}: {field['error']}" for field in fields[:5])
    return Problem(
        rule=rules.MALFORMED,
        reason=f"The request is not well formed: {named}.",
        remedy="Correct this and send it again.",
        fields=fields,
    )
