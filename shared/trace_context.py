"""W3C Trace Context: the trace that a request or an event belongs to.

A *trace context* is one text: the `traceparent` and, if there is one, a space and the `tracestate`. Events keep it in
this form, so that their hash is over both.

Source: W3C Trace Context, sections 2.3 and 3 (https://www.w3.org/TR/trace-context/).
"""

import re
from secrets import token_hex
from typing import Final

PARENT_CHARACTERS: Final = 55
SPAN_CHARACTERS: Final = 16
_SPAN_AT: Final = 36
STATE_CHARACTERS: Final = 440
"""The most of a tracestate that is kept: with its traceparent it has to fit a header of 500 characters."""
_LONG_MEMBER: Final = 128
"""A member of a tracestate that is longer is removed first. Source: section 3.3.1.5."""
_MEMBERS: Final = 32
_PARENT: Final = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MEMBER: Final = re.compile(
    r"(?:[a-z0-9][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_SAMPLED: Final = 1


def received(traceparent: str, tracestate: str = "") -> str:
    """Return the trace context of these headers, or "" if the traceparent is absent or invalid.

    A traceparent of a later version than 00 is continued as far as version 00 describes it. An invalid tracestate is
    left out.
    """
    match = _PARENT.fullmatch(traceparent)
    if match is None:
        return ""
    version, trace, parent, flags, rest = match.groups()
    if version == "00":
        if rest is not None:
            return ""
    else:
        traceparent = f"00-{trace}-{parent}-{int(flags, 16) & _SAMPLED:02x}"
    return joined(traceparent, _state(tracestate))


def continued(context: str) -> str:
    """Return a trace context that somebody else has written, or "" if it is invalid."""
    return received(*split(context))


def _state(tracestate: str) -> str:
    """Return a tracestate without what is optional in it, short enough; "" if it is invalid."""
    members = [member for member in (each.strip(" \t") for each in tracestate.split(",")) if member]
    keys = {member.partition("=")[0] for member in members}
    if len(members) > _MEMBERS or len(keys) < len(members) or not all(map(_MEMBER.fullmatch, members)):
        return ""
    if len(",".join(members)) > STATE_CHARACTERS:
        members = [member for member in members if len(member) <= _LONG_MEMBER]
    while len(",".join(members)) > STATE_CHARACTERS:
        members.pop()
    return ",".join(members)


def joined(traceparent: str, tracestate: str) -> str:
    """Return the trace context of two headers as they stand."""
    return f"{traceparent} {tracestate}" if traceparent and tracestate else traceparent


def split(context: str) -> tuple[str, str]:
    """Return the traceparent and the tracestate of a trace context; the latter may be ""."""
    at = PARENT_CHARACTERS
    if len(context) > at + 1 and context[at] == " " != context[at + 1] and _PARENT.fullmatch(context[:at]):
        return context[:at], context[at + 1 :]
    return context, ""


def new() -> str:
    """Return the context of a new trace that nobody records."""
    return f"00-{token_hex(16)}-{token_hex(8)}-00"


def at_span(context: str, span_id: str) -> str:
    """Return the context of another span of the same trace. The context has to be valid."""
    return f"{context[:_SPAN_AT]}{span_id}{context[_SPAN_AT + SPAN_CHARACTERS :]}"


def is_sampled(context: str) -> bool:
    """Return whether the trace of a context, valid or "", is recorded."""
    flags = context[PARENT_CHARACTERS - 2 : PARENT_CHARACTERS]
    return len(flags) == 2 and context.startswith("00-") and flags[1] in "13579bdf"
