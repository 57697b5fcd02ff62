"""Ids that are made of others never exceed a name's length, and whatever a log accepts, its readers can read."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.event_search import publisher_source
from shared.eventlog.repair.resuming import cause_of
from shared.eventlog.write.log import Accepted, Log, Meta
from shared.eventlog.write.memory import MemoryStore
from shared.events.envelope import BadName, Envelope, checked_name, derived_id, from_headers, shortened, to_headers
from tests.examples.engine import COUNTER, NOON, Count

LONGEST = 500
_long = st.integers(0, 1200).map(lambda length: "x" * length)
_texts = st.one_of(st.text(max_size=20), _long, st.text(st.characters(min_codepoint=32, max_codepoint=126)))


@pytest.mark.parametrize("length", [3, 300, LONGEST - 1, LONGEST])
def test_an_id_that_fits_stays_as_it_is(length: int) -> None:
    assert derived_id("c", "i" * (length - 2)) == "c:" + "i" * (length - 2)
    assert derived_id("timer", "remind", "key", "2026-01-01") == "timer:remind:key:2026-01-01"


def test_one_character_more_and_its_long_parts_are_digests() -> None:
    fits, too_long = "i" * (LONGEST - 4), "i" * (LONGEST - 3)
    assert derived_id("c", fits, "0") == f"c:{fits}:0"
    assert derived_id("c", too_long, "0") == f"c:{shortened(too_long)}:0"
    assert shortened(too_long).startswith("sha256-") and len(shortened(too_long)) == 71


@given(st.lists(_texts, min_size=1, max_size=9))
def test_no_derived_id_is_longer_than_a_name(parts: list[str]) -> None:
    assert len(derived_id(*parts)) <= LONGEST


@given(st.lists(_long, min_size=4, max_size=4), st.lists(_long, min_size=4, max_size=4))
def test_other_parts_make_another_id(one: list[str], other: list[str]) -> None:
    assert (derived_id(*one) == derived_id(*other)) == (one == other)


@pytest.mark.parametrize("text", ["a\n", "a\nb", " a", "é", "\x7f", "a" * (LONGEST + 1)])
def test_a_name_has_no_line_break_at_its_end_either(text: str) -> None:
    with pytest.raises(BadName):
        checked_name(text, "a name")


@given(
    st.builds(
        Meta,
        command_id=_texts,
        actor=_texts,
        now=st.just(NOON),
        correlation_id=_texts,
        causation_id=_texts,
        traceparent=_texts,
    ),
    _texts,
)
def test_what_execute_accepts_its_readers_read(meta: Meta, key: str) -> None:
    store = MemoryStore()

    async def execute() -> Any:
        return await Log(store, "entitlements").execute(COUNTER, key, Count(), meta)

    try:
        answer = asyncio.run(execute())
    except BadName:
        assert store.events == [] and store._commands == {}, "refused before anything is written"
        return
    assert isinstance(answer, Accepted)
    for event in store.events:
        assert from_headers(to_headers(event.envelope), event.envelope.stream.encode()) == event.envelope


def test_the_cause_of_a_reaction_is_known_by_its_command_id() -> None:
    source, id_ = "urn:publisher:autodesk", "e" * 480
    long = derived_id("entitlements.reactions", f"{source}#{id_}", "pool-s", "0")
    short = derived_id("entitlements.reactions", f"{source}#e:1", "pool-s", "0")
    name = "entitlements.reactions:"
    assert cause_of(short.removeprefix(name), "e:1") == f"{source}#e:1"
    assert cause_of(long.removeprefix(name), id_) == shortened(f"{source}#{id_}")
    envelope = Envelope(
        "id", "urn:tenure:entitlements", "T", "pool-s", NOON, causation_id=id_, actor=source, command_id=long
    )
    assert publisher_source(envelope) == source
    assert publisher_source(envelope._replace(command_id=short, causation_id="e:1")) == source
    assert publisher_source(envelope._replace(actor="somebody")) == "", "a digest names nobody by itself"
