"""The envelope on the bus: its headers lose nothing, its hash is anybody's to compute, and any bytes may come."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events.envelope import (
    GENESIS,
    MAX_VERSION,
    BadName,
    Envelope,
    Unreadable,
    chained,
    checked_name,
    former_headers,
    from_headers,
    sequence_on_wire,
    stamp,
    to_headers,
)

TIME = datetime(2026, 11, 21, 4, 3, 0, 5, tzinfo=UTC)
OURS = Envelope(
    "01a1fca4-6f14-7081-8e20-2ebdc8254351",
    "urn:tenure:entitlements",
    "SeatUnassigned",
    "pool-s",
    TIME,
    1,
    2,
    41_207,
    "story-1",
    "cause-1",
    "account-1",
    "tenant-1",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b"p" * 32,
    b"h" * 32,
    "entitlements.reactions:cause-1:0",
)

_names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
_optional = st.one_of(st.just(""), _names)
_hashes = st.binary(min_size=32, max_size=32)
_zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_times = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=_zones)
_envelopes = st.builds(
    Envelope,
    id=_names,
    source=_names,
    type=st.from_regex(r"\A[A-Za-z0-9]{1,40}\Z"),
    stream=_names,
    time=_times,
    schema=st.integers(1, 999_999),
    version=st.integers(1, 10**17),
    position=st.integers(1, 10**17),
    correlation_id=_optional,
    causation_id=_optional,
    actor=_optional,
    tenant=_optional,
    traceparent=_optional,
    prevhash=_hashes,
    hash=_hashes,
    command_id=_optional,
)


@given(_envelopes)
def test_headers_lose_nothing(envelope: Envelope) -> None:
    assert from_headers(to_headers(envelope), b"another key") == envelope
    assert from_headers(list(reversed(to_headers(envelope))), None) == envelope, "their order says nothing"


_values = st.sampled_from(
    (None, b"", b" a", b"a", b"a\nb", b"\n", b"a\n", b"\xff", b"a" * 500, b"a" * 501, b"\x7f", b"a\x1cb")
)


@given(st.lists(st.tuples(st.integers(0, 20), _values), min_size=1, max_size=3))
def test_headers_are_read_at_once_as_they_are_read_one_by_one(changes: list[tuple[int, bytes | None]]) -> None:
    """A header of somebody else, which is passed over, makes reading look at each one."""
    headers: list[tuple[str, bytes | None]] = [*to_headers(OURS)]
    for place, value in changes:
        headers[place % len(headers)] = headers[place % len(headers)][0], value
        if place == 20:
            headers.append(headers[0])
    assert _outcome(headers) == _outcome([*headers, ("x-proxy", b"1")])
    with pytest.raises(Unreadable, match="name of a header"):
        from_headers([*to_headers(OURS), ("caf\udce9", b"1")], b"key")


def _outcome(headers: list[tuple[str, bytes | None]]) -> Envelope | str:
    try:
        return from_headers(headers, b"key")
    except Unreadable as why:
        return str(why)


def test_records_from_before_types_had_a_prefix_are_read_for_ever() -> None:
    """Vectors: what lies on topics out there, and what is written now."""
    former = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"01a1fca4-6f14-7081-8e20-2ebdc8254351"),
        ("ce_source", b"urn:tenure:entitlements"),
        ("ce_type", b"SeatUnassigned"),
        ("ce_subject", b"pool-s"),
        ("ce_time", b"2026-11-21T04:03:00.000005Z"),
        ("ce_dataschema", b"urn:tenure:events:SeatUnassigned:1"),
        ("ce_partitionkey", b"pool-s"),
        ("content-type", b"application/json"),
        ("ce_correlationid", b"story-1"),
        ("ce_causationid", b"cause-1"),
        ("ce_actor", b"account-1"),
        ("ce_tenant", b"tenant-1"),
        ("ce_traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("ce_sequence", b"2"),
        ("ce_position", b"41207"),
        ("ce_prevhash", b"70" * 32),
        ("ce_hash", b"68" * 32),
        ("ce_commandid", b"entitlements.reactions:cause-1:0"),
    ]
    new = {"ce_type": b"internal.tenure.SeatUnassigned", "ce_sequence": b"0000000002"}
    assert former_headers(OURS) == former
    assert to_headers(OURS) == [(name, new.get(name, value)) for name, value in former]
    assert from_headers(former, None) == from_headers(to_headers(OURS), None) == OURS


@given(st.integers(1, MAX_VERSION), st.integers(1, MAX_VERSION))
def test_a_sequence_sorts_as_a_string_as_its_versions_do(one: int, other: int) -> None:
    assert (sequence_on_wire(one) < sequence_on_wire(other)) == (one < other)


def by_the_book(prevhash: bytes, fields: list[str], data: bytes) -> str:
    """The hash as it is described, without a line of ours."""
    return hashlib.sha256(prevhash + "".join(f"{field}\n" for field in fields).encode() + data).hexdigest()


def test_the_hash_is_the_one_that_is_described() -> None:
    fields = [
        OURS.id,
        "urn:tenure:entitlements",
        "SeatUnassigned",
        "pool-s",
        "2",
        "2026-11-21T04:03:00.000005Z",
        "1",
        "story-1",
        "cause-1",
        "account-1",
        "tenant-1",
        OURS.traceparent,
    ]
    assert chained(OURS, b'{"a": 1}').hex() == by_the_book(b"p" * 32, fields, b'{"a": 1}')


def test_a_hash_never_changes() -> None:
    """Vectors: what stands in logs out there."""
    first = Envelope("id-1", "urn:tenure:identity", "RoleAssigned", "contract-1", TIME, 1, 1)
    one = chained(first, b'{"n":1}')
    second = first._replace(id="id-2", version=2, prevhash=one, actor="a", tenant="t")
    assert one.hex() == "59d879b4bed9c7349627d3988ea38621f12db60fa5488051b7986a40a5b6f338"
    assert chained(second, b'{"n":2}').hex() == "05cbf8551f1174bc1337f947d95e09de3e09b1415ec1aca5fb5de355caaf5110"
    assert chained(first._replace(position=99, hash=b"x" * 32), b'{"n":1}') == one, "neither of these is hashed"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "x"),
        ("source", "x"),
        ("type", "x"),
        ("stream", "x"),
        ("version", 7),
        ("schema", 7),
        ("time", TIME + timedelta(microseconds=1)),
        ("correlation_id", "x"),
        ("causation_id", "x"),
        ("actor", "x"),
        ("tenant", "x"),
        ("traceparent", "x"),
        ("prevhash", b"x" * 32),
    ],
)
def test_every_field_is_hashed(field: str, value: Any) -> None:
    assert chained(OURS._replace(**{field: value}), b"{}") != chained(OURS, b"{}")


def test_a_value_cannot_move_from_one_field_to_the_next() -> None:
    shifted = [OURS._replace(actor="ab", tenant="c"), OURS._replace(actor="a", tenant="bc"), OURS]
    assert all(chained(a, b"{}") != chained(b, b"{}") for a, b in pairwise(shifted))
    with pytest.raises(BadName):
        checked_name("a\nb", "an actor")


def test_a_time_is_written_in_utc_whatever_its_zone() -> None:
    assert stamp(TIME.astimezone(timezone(timedelta(hours=-5)))) == stamp(TIME) == "2026-11-21T04:03:00.000005Z"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_id", None),
        ("ce_id", b""),
        ("ce_id", b"a\nb"),
        ("ce_id", b"\xff"),
        ("ce_time", b"yesterday"),
        ("ce_time", b"2026-01-01T00:00:00"),
        ("ce_time", b"9999-12-31T23:59:59-14:00"),
        ("ce_sequence", b"-1"),
        ("ce_sequence", "١".encode()),
        ("ce_hash", b"12"),
        ("ce_prevhash", b"zz" * 32),
        ("ce_dataschema", b"urn:tenure:events:Other:1"),
        ("ce_actor", b"x" * 501),
        ("ce_type", b"internal.tenure."),
    ],
)
def test_a_header_that_is_wrong_is_named(name: str, value: bytes | None) -> None:
    headers = [(n, value if n == name else v) for n, v in to_headers(OURS)]
    with pytest.raises(Unreadable, match=f"attribute {name.removeprefix('ce_')} "):
        from_headers(headers, None)


@pytest.mark.parametrize("name", ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time"])
def test_a_header_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(Unreadable, match=f"missing attributes: {name.removeprefix('ce_')}$"):
        from_headers([(n, v) for n, v in to_headers(OURS) if n != name], None)


def test_another_cloudevents_is_not_guessed_at() -> None:
    with pytest.raises(Unreadable, match=r"the CloudEvents version is 0\.3, not 1\.0"):
        from_headers([(n, b"0.3" if n == "ce_specversion" else v) for n, v in to_headers(OURS)], None)


def test_a_header_that_says_two_things_is_not_guessed_at() -> None:
    with pytest.raises(Unreadable, match="attribute tenant occurs twice"):
        from_headers([*to_headers(OURS), ("ce_tenant", b"another")], None)


def test_headers_of_others_are_passed_over() -> None:
    assert from_headers([("x-trace", None), ("X", b"\xff"), *to_headers(OURS)], None) == OURS


_NAMES = [name for name, _ in to_headers(OURS)]
_values = st.one_of(
    st.none(),
    st.binary(max_size=60),
    st.text(max_size=20).map(str.encode),
    st.sampled_from([value for _, value in to_headers(OURS)]),
    st.integers().map(lambda number: str(number).encode()),
    st.datetimes(timezones=_zones).map(lambda time: str(time).encode()),
)


@given(st.dictionaries(st.sampled_from(_NAMES), _values), st.one_of(st.none(), st.binary(max_size=20)))
def test_nothing_but_unreadable_comes_of_changed_headers(changed: dict[str, bytes | None], key: bytes | None) -> None:
    _read([(n, changed.get(n, v)) for n, v in to_headers(OURS)], key)


@given(st.lists(st.tuples(st.one_of(st.sampled_from(_NAMES), st.text(max_size=12)), _values), max_size=30))
def test_nothing_but_unreadable_comes_of_any_headers(headers: list[tuple[str, bytes | None]]) -> None:
    _read(headers, b"key")


def _read(headers: list[tuple[str, bytes | None]], key: bytes | None) -> None:
    try:
        envelope = from_headers(headers, key)
    except Unreadable:
        return
    assert envelope.id and envelope.source and envelope.type and envelope.time.tzinfo is not None
    assert all(
        "\n" not in text
        for text in (
            envelope.id,
            envelope.source,
            envelope.type,
            envelope.actor,
            envelope.tenant,
            envelope.correlation_id,
        )
    )
    assert len(envelope.hash) == len(envelope.prevhash) == len(GENESIS)
    stamp(envelope.time)
