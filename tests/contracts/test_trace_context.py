"""W3C Trace Context: what is continued, what is replaced, and how an event has it."""

from datetime import UTC, datetime

import pytest

from shared import trace_context
from shared.documents.asyncapi import asyncapi_of
from shared.events.envelope import Envelope, from_headers, to_headers
from shared.events.registry import MARKETPLACE
from shared.trace_context import continued, is_sampled, joined, received, split

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
OURS = Envelope(
    "id-1", "urn:tenure:entitlements", "SeatUnassigned", "pool-s", datetime(2026, 11, 21, tzinfo=UTC), 1, 2, 3
)


def test_a_valid_parent_is_continued_with_all_of_its_flags() -> None:
    for flags in ("00", "01", "02", "03"):
        assert received(f"00-{TRACE}-{SPAN}-{flags}") == f"00-{TRACE}-{SPAN}-{flags}"
        assert is_sampled(f"00-{TRACE}-{SPAN}-{flags}") is (flags in ("01", "03"))


def test_a_parent_of_a_later_version_is_continued_as_far_as_it_is_known() -> None:
    assert received(f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like") == PARENT
    assert received(f"cc-{TRACE}-{SPAN}-fe") == f"00-{TRACE}-{SPAN}-00"


@pytest.mark.parametrize(
    "invalid",
    [
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"{PARENT}-01",
        f"{PARENT}.",
        f"cc-{TRACE}-{SPAN}-01.what",
        f"{PARENT}\n",
        f" {PARENT}",
    ],
)
def test_an_invalid_parent_is_not_continued_and_its_state_neither(invalid: str) -> None:
    assert received(invalid, "a=1") == ""


def test_a_state_is_kept_without_what_is_optional_in_it() -> None:
    assert received(PARENT, " rojo=00f067aa0ba902b7 ,, congo=t61 rcWgkMzE,tenant@system=1") == (
        f"{PARENT} rojo=00f067aa0ba902b7,congo=t61 rcWgkMzE,tenant@system=1"
    )


@pytest.mark.parametrize(
    "invalid", ["a", "=1", "A=1", "a=", "a=1,a=2", "a=é", "a=1=2", ",".join(f"k{n}=1" for n in range(33))]
)
def test_an_invalid_state_is_left_out(invalid: str) -> None:
    assert received(PARENT, invalid) == PARENT


def test_a_state_that_is_too_long_loses_long_members_first_and_then_the_last() -> None:
    long, short = f"long={'x' * 200}", [f"k{number}={'y' * 60}" for number in range(8)]
    kept = received(PARENT, ",".join([long, *short]))
    assert kept == f"{PARENT} {','.join(short[:6])}"


def test_an_event_has_the_state_in_a_header_of_its_own() -> None:
    event = OURS._replace(traceparent=f"{PARENT} rojo=1,congo=t61 rc")
    headers = dict(to_headers(event))
    assert (headers["ce_traceparent"], headers["ce_tracestate"]) == (PARENT.encode(), b"rojo=1,congo=t61 rc")
    assert from_headers(to_headers(event), None) == event
    assert "'ce_tracestate': {" in repr(asyncapi_of([MARKETPLACE], "A test", "kafka:9092"))


def test_what_a_publisher_wrote_as_a_parent_stays_as_it_is_in_an_older_event() -> None:
    """Before parents were checked, reactions kept whatever a publisher's event had."""
    for text in ("no parent", "00-", "x " * 60, PARENT + " ", "y" * 55 + "  z"):
        event = OURS._replace(traceparent=text)
        assert dict(to_headers(event))["ce_traceparent"] == text.encode()
        assert from_headers(to_headers(event), None).traceparent == text
        assert continued(text) == ""


def test_a_new_context_is_valid_and_says_that_nobody_records_it() -> None:
    new = trace_context.new()
    assert received(new) == new
    assert not is_sampled(new)
    assert split(joined(new, "a=1")) == (new, "a=1")
