"""What a consumer does with each record. Pure."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.eventlog.deliver.plan import BatchPlan, ConsumerCheckpoint, Known, park, plan, plan_alike
from shared.eventlog.deliver.received import Raw, digest_of, receive
from shared.events.envelope import former_headers, from_headers
from shared.events.registry import ENTITLEMENTS, EVENTS, INBOUND
from tests.contracts.golden import sample
from tests.examples.records import TYPES, at, received, topic, without


def versions(result: BatchPlan) -> dict[str, int]:
    return {stream: seen.version for stream, seen in result.seen.items()}


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30), st.data())
def test_each_event_once_and_in_order_however_it_is_delivered(names: list[str], data: st.DataObject) -> None:
    """Batches are cut anywhere and begin again anywhere at or before the checkpoint, as Kafka may."""
    raws, standing, applied = topic(*names), at(), []
    while standing.offsets[ENTITLEMENTS, 0] < len(raws) - 1:
        done = standing.offsets[ENTITLEMENTS, 0]
        start = data.draw(st.integers(0, done + 1))
        end = data.draw(st.integers(start + 1, len(raws)))
        result = plan(received(raws[start:end]), standing)
        assert not result.parked and not result.refetch
        applied += [r.raw.offset for r in result.apply]
        standing = at(result.offsets.get((ENTITLEMENTS, 0), done), **{**standing.seen, **result.seen})
    assert applied == list(range(len(raws)))


def test_a_records_digest_is_the_one_that_services_have_stored() -> None:
    record = Raw("t", 0, 1, b"seat", (("ce_id", b"1"), ("caf\udce9", b"")), None)
    assert digest_of(record).hex() == "07ad48d841d2ae78a4195b6beb2ebb1f4b2db968d3108f0a62c318be9468faf5"


def test_a_repeat_at_a_later_offset_is_dropped() -> None:
    (first,) = topic("a")
    again = first._replace(offset=1)
    result = plan(received([first, again]), at())
    assert [r.raw.offset for r in result.apply] == [0]
    assert (result.repeats, result.offsets) == (1, {(ENTITLEMENTS, 0): 1})


def former(raw: Raw) -> Raw:
    """The record as the relay of an earlier version wrote it."""
    return raw._replace(headers=former_headers(from_headers(raw.headers, raw.key)))


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("upgraded", [True, False])
def test_a_repeat_in_the_form_of_another_version_is_dropped(own: bool, upgraded: bool) -> None:
    """A relay that is upgraded, or goes back, sends again what it had not noted as sent."""
    raw, again = (former(raw) if upgraded == (n == 0) else raw for n, raw in enumerate(topic("a") * 2))
    assert raw.headers != again.headers
    first, envelope = plan(received([raw]), at()), from_headers(raw.headers, raw.key)
    standing = at(0, **first.seen)
    standing.known |= first.known
    if own:
        standing.own, standing.head = ENTITLEMENTS, 1
        standing.known["a", 1] = Known(envelope.hash, envelope.position, envelope.command_id)
    result = plan(received([again._replace(offset=1)]), standing)
    assert (result.repeats, result.parked, len(first.apply)) == (1, [], 1)
    altered = again._replace(offset=1, headers=[*again.headers, ("ce_subject2", b"x")])
    assert [each.reason for each in plan(received([altered]), standing).parked] == ["forged" if own else "conflict"]


def test_a_gap_is_fetched_again_and_nothing_behind_it_is_applied() -> None:
    records = topic("a", "b", "a", "a", "b")
    result = plan(received([records[0], records[1], records[3], records[4]]), at())
    assert [r.raw.offset for r in result.apply] == [0, 1]
    assert result.offsets == {(ENTITLEMENTS, 0): 1}
    assert result.refetch == {(ENTITLEMENTS, 0): 2}
    assert "version 3 came after 1" in result.gaps[0]


def test_a_stream_that_begins_in_the_middle_is_a_gap() -> None:
    result = plan(received(topic("a", "a")[1:]), at(0))
    assert result.refetch == {(ENTITLEMENTS, 0): 1} and not result.apply


def test_a_gap_behind_an_unreadable_record_parks_its_stream_only() -> None:
    records = topic("a", "b", "a", "b")
    records[0] = without(records[0], "ce_id")
    result = plan(received(records), at())
    assert [r.raw.offset for r in result.apply] == [1, 3]
    assert [(x.record.raw.offset, x.reason, x.holds_stream) for x in result.parked] == [
        (0, "unreadable", False),
        (2, "gap", True),
    ]
    assert not result.refetch


def test_a_held_streams_later_events_wait_and_others_flow() -> None:
    standing = at()
    standing.held = {"a"}
    result = plan(received(topic("a", "b", "a")), standing)
    assert [r.raw.offset for r in result.apply] == [1]
    assert [x.reason for x in result.parked] == ["behind", "behind"]


def test_a_truncated_body_holds_its_stream() -> None:
    result = plan(received(topic("a", "a", "b", bodies={0: b'{"subscr'})), at())
    assert [(x.record.raw.offset, x.reason) for x in result.parked] == [(0, "unreadable"), (1, "behind")]
    assert [r.raw.offset for r in result.apply] == [2]


def test_an_unknown_type_is_left_and_its_stream_flows_on() -> None:
    result = plan(received(topic("a", "a", types={0: "FromTheFuture"})), at())
    assert [x.reason for x in result.parked] == ["unknown-type"] and not result.parked[0].holds_stream
    assert [r.raw.offset for r in result.apply] == [1]
    assert versions(result) == {"a": 2}


def test_a_type_without_a_fold_is_ignored_and_counted() -> None:
    result = plan([receive(raw, frozenset()) for raw in topic("a", "a")], at())
    assert not result.apply and not result.parked
    assert versions(result) == {"a": 2} and result.offsets == {(ENTITLEMENTS, 0): 1}


def test_anothers_partition_is_passed_over() -> None:
    result = plan(received(topic("a")), ConsumerCheckpoint(offsets={}, seen={}))
    assert not result.apply and not result.offsets


@pytest.mark.parametrize("name", ["ce_sequence", "ce_source", "ce_time", "ce_type", "ce_specversion"])
def test_a_record_without_what_ours_have_is_left(name: str) -> None:
    (raw,) = topic("a")
    (left,) = plan(received([without(raw, name)]), at()).parked
    assert left.reason == "unreadable" and not left.holds_stream


def test_a_publishers_time_that_names_no_zone_is_left_and_holds_nobody() -> None:
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"1"),
        ("ce_source", b"urn:publisher:autodesk"),
        ("ce_type", b"UpdatePublished"),
        ("ce_time", b"2026-11-21T04:03:00Z"),
    ]
    body = sample(EVENTS["UpdatePublished"]).data()
    body = re.sub(rb'"publisher": ?"[^"]*"', b'"publisher": "autodesk"', body)
    bodies = (re.sub(rb'("published_at": ?"[^"]*)Z"', rb'\1"', body), body)
    raws = [Raw(INBOUND, 0, offset, None, headers, body) for offset, body in enumerate(bodies)]
    result = plan(
        [receive(raw, frozenset({"UpdatePublished"})) for raw in raws],
        ConsumerCheckpoint(offsets={(INBOUND, 0): -1}, seen={}),
    )
    (left,) = result.parked
    assert (left.record.raw.offset, left.reason, left.holds_stream) == (0, "unreadable", False)
    assert "published_at: Input should have timezone info" in left.detail
    assert [applied.raw.offset for applied in result.apply] == [1]


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00-00:01", "1899-12-31T23:59:59.999999Z"])
def test_a_publishers_time_before_all_times_is_refused_with_the_reason(time: str) -> None:
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"1"),
        ("ce_source", b"urn:publisher:autodesk"),
        ("ce_type", b"CsnIssued"),
        ("ce_time", time.encode()),
    ]
    body = b'{"csn": "5100000001", "organisation_id": "o", "publisher": "autodesk"}'
    for types in (frozenset({"CsnIssued"}), frozenset[str]()):
        read = receive(Raw(INBOUND, 0, 0, None, headers, body), types)
        assert (read.event, read.reason) == (None, "refused") and "before 1900" in (read.problem or "")


@pytest.mark.parametrize("field", ["ce_time", "published_at"])
@pytest.mark.parametrize(("ahead", "taken"), [(300, True), (301, False), (10**9, False), (2 * 10**11, False)])
def test_a_publishers_time_more_than_five_minutes_ahead_is_refused_with_the_reason(
    field: str, ahead: int, taken: bool
) -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    said = {"ce_time": now.isoformat(), "published_at": now.isoformat()}
    said[field] = (now + timedelta(seconds=ahead)).isoformat()
    body = json.loads(sample(EVENTS["UpdatePublished"]).data())
    body |= {"publisher": "autodesk", "published_at": said["published_at"]}
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"1"),
        ("ce_source", b"urn:publisher:autodesk"),
        ("ce_type", b"UpdatePublished"),
        ("ce_time", said["ce_time"].encode()),
    ]
    raw = Raw(INBOUND, 0, 0, None, headers, json.dumps(body).encode())
    read = receive(raw, frozenset({"UpdatePublished"}), now)
    assert (read.event is not None, read.problem is None) == (taken, taken)
    if not taken:
        assert read.reason == "refused" and "more than five minutes ahead of 2026-11-21T12" in (read.problem or "")
        (left,) = plan([read], ConsumerCheckpoint(offsets={(INBOUND, 0): -1}, seen={})).parked
        assert (left.reason, left.holds_stream) == ("refused", False)


def test_a_failing_event_is_parked_with_the_later_ones_of_its_stream() -> None:
    result = plan(received(topic("a", "b", "a", "b", "a")), at())
    failing, *later = result.apply[0:1] + result.apply[1:]
    rest = park(result, failing, "a bug", later)
    assert [r.raw.offset for r in rest] == [1, 3]
    assert [(x.record.raw.offset, x.reason) for x in result.parked] == [(0, "failed"), (2, "behind"), (4, "behind")]
    assert versions(result) == {"a": 0, "b": 2}


_header = st.tuples(
    st.sampled_from(["ce_id", "ce_type", "ce_source", "ce_specversion", "ce_time", "ce_sequence", "ce_hash", "x"]),
    st.one_of(st.none(), st.binary(max_size=30), st.sampled_from([b"1.0", b"SeatUnassigned", b"2026-01-01T00:00:00Z"])),
)


@given(st.lists(_header, max_size=12), st.one_of(st.none(), st.binary(max_size=200)), st.booleans())
def test_no_bytes_whatever_make_reading_fail(
    headers: list[tuple[str, bytes | None]], value: bytes | None, foreign: bool
) -> None:
    record = receive(Raw(INBOUND if foreign else ENTITLEMENTS, 0, 0, value, headers, value), TYPES)
    assert record.problem is not None or record.envelope is not None


@given(
    st.lists(st.sampled_from("abc"), max_size=6),
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["drop", "repeat", "mute", "unknown", "body"])), max_size=2),
    st.integers(-1, 3),
    st.booleans(),
)
def test_a_plan_that_is_made_from_anothers_is_the_consumers_own(
    streams: list[str], damages: list[tuple[int, str]], offset: int, assigned: bool
) -> None:
    """Of a consumer at the same point that ignores what the other one handles, and the other way round."""
    kinds = dict(damages)
    bodies = {n: b"{}" for n, kind in kinds.items() if kind == "body"}
    types = {n: "SomethingNew" for n, kind in kinds.items() if kind == "unknown"}
    raws = topic(*streams, bodies=bodies, types=types)
    for n, kind in kinds.items():
        if n < len(raws) and kind != "drop":
            raws[n] = without(raws[n], "ce_type") if kind == "mute" else raws[n]
            raws += [raws[n]._replace(offset=len(raws))] if kind == "repeat" else []
    raws = [raw for raw in raws if kinds.get(raw.offset) != "drop"]
    point = at(offset) if assigned else ConsumerCheckpoint(offsets={}, seen={})
    both = [[receive(raw, handled) for raw in raws] for handled in (TYPES, frozenset[str]())]
    for one, other in (both, both[::-1]):
        alike = plan_alike(one, other, plan(other, point))
        assert alike is None or alike == plan(one, point)
    if not damages and offset == -1 and assigned:
        assert plan_alike(both[0], both[1], plan(both[1], point)) is not None
