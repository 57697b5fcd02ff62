"""`verify` in parts: by several processes, stopped and continued, and from the last sound position on."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.repair import verify_workers, verifying
from shared.eventlog.repair.anchors import Anchor, file_of
from shared.eventlog.repair.findings import Findings
from shared.eventlog.repair.topic_check import Late, Presence
from shared.eventlog.repair.verified import kept
from shared.eventlog.repair.verify import Report, verify
from shared.eventlog.repair.verify_workers import WorkerEnded
from shared.events.registry import topic_of
from tests.databases import execute_as_operator, fetch_as_operator
from tests.engine.restoring import Bench
from tests.engine.verifying import IN_STORE, filled
from tests.remade import remade

SERVICE = "entitlements"
NO_KAFKA = KafkaAccess(bootstrap="none is asked")
DAMAGES = [pytest.param(*each, id=each[0][:60]) for each in IN_STORE]


class Stopped(Exception):
    """The operator's Ctrl-C, when a part was checked."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five parts, of which the second ends with a stream's event and the last is not full."""
    monkeypatch.setattr(verifying, "PART", 4)
    monkeypatch.setattr(verifying, "PARTS_A_WORKER", 1)


def stopping(after: int) -> Any:
    """A progress that stops the verification when so many parts of a step were checked."""
    left = iter(range(after - 1))

    def progress(_step: str, _done: int, _total: int) -> None:
        if next(left, None) is None:
            raise Stopped

    return progress


async def check(dsn: str, **options: Any) -> Report:
    return await verify(SERVICE, dsn, NO_KAFKA, topic=False, **options)


def said(report: Report) -> list[str]:
    return [str(finding) for finding in report.findings.first]


# ── Parts ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.system
@pytest.mark.parametrize(("damage", "place"), DAMAGES)
async def test_damage_is_found_in_parts(database: str, tmp_path: Path, damage: str, place: str) -> None:
    """By one process, by two, and by a verification that was stopped early or late."""
    await filled(database)
    await execute_as_operator(database, damage)
    reports = [await check(database), await check(database, workers=2)]
    for stop in (1, 3):
        with pytest.raises(Stopped):
            await check(database, anchor_folder=tmp_path, keep=True, progress=stopping(stop))
        reports.append(await check(database, anchor_folder=tmp_path, keep=True))
        assert reports[-1].continued == 4 * stop or "log.batches" in damage
    for report in reports:
        assert report.sound == (not place), said(report)
        assert not place or any(place in finding for finding in said(report)), said(report)


@pytest.mark.system
async def test_an_event_that_follows_none_of_its_stream_is_found_where_a_part_begins(database: str) -> None:
    """Position 5 begins the second part, and its stream's event before is in the first."""
    await filled(database)
    await execute_as_operator(database, "update log.events set version = 9 where position = 1")
    assert any(
        "position 5 (s0 version 2): the version before it in its stream is 9" in line
        for line in said(await check(database))
    )


@pytest.mark.system
async def test_an_event_outside_of_all_parts_is_found(database: str) -> None:
    await filled(database)
    await execute_as_operator(database, "update log.events set position = -3 where position = 20")
    found = said(await check(database))
    assert "entitlements, store, position -3 (s3 version 5): no log has this position" in found


@pytest.mark.system
async def test_a_command_whose_events_are_in_two_batches_is_sound(database: str) -> None:
    """A store that was restored from its topic has noted batches where it read its records in batches."""
    heads = await filled(database, 1)
    await filled(database, 2, heads)
    await execute_as_operator(
        database,
        "update log.events set command_id = 'both' where position in (8, 12)",
        "delete from log.commands where count > 0 and stream = 's3' and first in (1, 2)",
        "insert into log.commands (id, stream, first, count, time) values ('both', 's3', 1, 2, now())",
    )
    assert said(await check(database)) == []
    await execute_as_operator(database, "update log.commands set count = 3 where id = 'both'")
    assert any(
        "command both: it is recorded as having made s3 version 2 to 4" in line for line in said(await check(database))
    )


@pytest.mark.system
async def test_a_worker_that_ends_is_an_error(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(database)
    started = verify_workers.Worker.started

    async def killed(*arguments: Any) -> verify_workers.Worker:
        worker = await started(*arguments)
        os.kill(worker._process.pid, signal.SIGKILL)
        return worker

    monkeypatch.setattr(verify_workers.Worker, "started", killed)
    with pytest.raises(WorkerEnded, match="code -9"):
        await check(database, workers=2)


@pytest.mark.system
async def test_an_error_of_a_worker_is_raised_as_it_is(database: str) -> None:
    await filled(database)
    await execute_as_operator(database, "alter table log.commands rename column first to other")
    try:
        with pytest.raises(Exception, match=r"column .*first.* does not exist"):
            await check(database, workers=2)
    finally:
        await execute_as_operator(database, "alter table log.commands rename column other to first")


# ── Stopped and continued ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.system
async def test_what_was_checked_is_not_checked_again(database: str, tmp_path: Path) -> None:
    await filled(database)
    with pytest.raises(Stopped):
        await check(database, anchor_folder=tmp_path, keep=True, progress=stopping(2))
    steps: list[int] = []
    report = await check(
        database, anchor_folder=tmp_path, keep=True, progress=lambda _step, done, _total: steps.append(done)
    )
    assert (report.continued, steps) == (8, [12, 16, 20])
    assert (report.sound, report.events, report.batches, report.head) == (True, 20, 20, 20)
    again = await check(database, anchor_folder=tmp_path, keep=True)
    assert again.continued == 0, "that one has ended"


@pytest.mark.system
async def test_a_stopped_verification_is_forgotten_when_asked(database: str, tmp_path: Path) -> None:
    await filled(database)
    with pytest.raises(Stopped):
        await check(database, anchor_folder=tmp_path, keep=True, progress=stopping(2))
    report = await check(database, anchor_folder=tmp_path, keep=True, anew=True)
    assert (report.continued, report.events) == (0, 20)


@pytest.mark.system
async def test_a_stopped_verification_of_another_store_is_disregarded(database: str, tmp_path: Path) -> None:
    """The store has another chain where it had come to: it was restored, or rewritten."""
    await filled(database)
    with pytest.raises(Stopped):
        await check(database, anchor_folder=tmp_path, keep=True, progress=stopping(2))
    await execute_as_operator(database, "update log.batches set chain = sha256(chain) where last_position = 8")
    report = await check(database, anchor_folder=tmp_path, keep=True)
    assert (report.continued, report.disregarded, report.events) == (0, 8, 20)
    assert any(
        "positions 5 to 8: the chain does not match" in line or "to 8: the chain" in line for line in said(report)
    )


@pytest.mark.system
async def test_the_second_of_two_verifications_keeps_nothing(database: str, tmp_path: Path) -> None:
    await filled(database)
    with kept(tmp_path, SERVICE) as first:
        assert first.keeps
        assert (await check(database, anchor_folder=tmp_path, keep=True)).sound
    with kept(tmp_path, SERVICE) as then:
        assert then.sound() is None


# ── Since the last ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.system
async def test_only_what_is_new_is_checked_after_a_sound_verification(database: str, tmp_path: Path) -> None:
    heads = await filled(database)
    first = await check(database, anchor_folder=tmp_path, keep=True)
    await filled(database, 2, heads)
    report = await check(database, anchor_folder=tmp_path, keep=True, since_last=True)
    assert (report.sound, report.since, report.events, report.head) == (True, 20, 8, 28)
    assert report.sound_before is not None
    assert (report.sound_before.whole, report.sound_before.whole_time) == (20, first.began)
    again = await check(database, anchor_folder=tmp_path, keep=True, since_last=True)
    assert (again.since, again.events, again.sound) == (28, 0, True)
    assert again.sound_before is not None
    assert (again.sound_before.whole, again.sound_before.time) == (20, report.began)


@pytest.mark.system
async def test_everything_is_checked_if_nothing_is_known_to_be_sound(database: str, tmp_path: Path) -> None:
    await filled(database)
    report = await check(database, anchor_folder=tmp_path, keep=True, since_last=True)
    assert (report.since, report.events, report.sound) == (0, 20, True)


@pytest.mark.system
@pytest.mark.parametrize(("damage", "place"), DAMAGES)
async def test_damage_in_what_is_new_is_found(database: str, tmp_path: Path, damage: str, place: str) -> None:
    heads = await filled(database, 1)
    assert (await check(database, anchor_folder=tmp_path, keep=True)).sound
    await filled(database, 4, heads)
    await execute_as_operator(database, damage)
    report = await check(database, anchor_folder=tmp_path, keep=True, since_last=True)
    assert report.since == 4
    assert report.sound == (not place), said(report)


@pytest.mark.system
async def test_damage_in_what_was_sound_shows_by_a_check_of_the_whole_and_is_not_forgotten(
    database: str, tmp_path: Path
) -> None:
    heads = await filled(database)
    await check(database, anchor_folder=tmp_path, keep=True)
    await filled(database, 1, heads)
    await execute_as_operator(database, "update log.events set data = '{}' where position = 7")
    assert (await check(database, anchor_folder=tmp_path, keep=True, since_last=True)).sound, "as it is not read"
    assert not (await check(database, anchor_folder=tmp_path, keep=True)).sound
    report = await check(database, anchor_folder=tmp_path, keep=True, since_last=True)
    assert (report.since, report.sound) == (0, False), "nothing is known to be sound any more"


@pytest.mark.system
@pytest.mark.parametrize(
    "forged",
    [
        {"store": [20, "00" * 32]},
        {"store": [19, "00" * 32]},
        {"store": [400, "00" * 32]},
        {"store": "x"},
        {"store": [None, None]},
    ],
    ids=str,
)
async def test_a_note_that_the_store_contradicts_counts_for_nothing(
    database: str, tmp_path: Path, forged: dict[str, Any]
) -> None:
    await filled(database)
    await check(database, anchor_folder=tmp_path, keep=True)
    file = tmp_path / f"{SERVICE}.verified.json"
    content = json.loads(file.read_bytes())
    content["sound"] |= forged
    file.write_text(json.dumps(content))
    report = await check(database, anchor_folder=tmp_path, keep=True, since_last=True)
    assert (report.since, report.events, report.sound) == (0, 20, True)


@pytest.mark.system
async def test_an_anchor_of_what_is_not_read_is_compared_with_the_noted_chain(database: str, tmp_path: Path) -> None:
    heads = await filled(database)
    await check(database, anchor_folder=tmp_path, keep=True)
    await filled(database, 1, heads)
    rows = await fetch_as_operator(database, "select chain from log.batches where last_position = 9")
    right, wrong = Anchor(SERVICE, 9, rows[0]["chain"], "noon"), Anchor(SERVICE, 9, bytes(32), "noon")
    for anchor, finding in (
        (right, []),
        (
            wrong,
            [
                "entitlements, store, positions 1 to 9: the chain that is noted there differs from the anchor of noon: "
                "events were rewritten"
            ],
        ),
    ):
        file_of(tmp_path, SERVICE).write_bytes(anchor.line())
        assert said(await check(database, anchor_folder=tmp_path, keep=True, since_last=True)) == finding


@pytest.mark.system
async def test_a_file_that_cannot_be_read_or_written_changes_no_judgement(database: str, tmp_path: Path) -> None:
    await filled(database)
    (tmp_path / f"{SERVICE}.verified.json").write_text("{")
    assert (await check(database, anchor_folder=tmp_path, keep=True, since_last=True)).sound
    not_a_folder = tmp_path / "file"
    not_a_folder.write_text("")
    assert (await check(database, keep=True, since_last=True)).events == 20
    with kept(not_a_folder, SERVICE) as nothing:
        assert not nothing.keeps


# ── With the topic ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.system
async def test_store_and_topic_are_checked_by_two_processes_stopped_and_continued(bench: Bench, tmp_path: Path) -> None:
    await bench.fill(60)
    await bench.relay()
    await bench.query("update engine.leases set position = position - 30")
    await bench.relay()  # which repeats records
    whole = await verify(SERVICE, bench.operator, bench.access, workers=2)
    assert (whole.findings.first, whole.events, whole.records) == ([], 60, 90)
    kept_there: dict[str, Any] = {"anchor_folder": tmp_path, "keep": True}
    for stop in (3, 18):
        with pytest.raises(Stopped):
            await verify(SERVICE, bench.operator, bench.access, progress=stopping(stop), **kept_there)
    report = await verify(SERVICE, bench.operator, bench.access, **kept_there)
    assert (report.findings.first, report.continued, report.events, report.records) == ([], 60, 60, 90)

    await bench.fill(20, seed=1)
    await bench.relay()
    report = await verify(SERVICE, bench.operator, bench.access, since_last=True, workers=2, **kept_there)
    assert (report.findings.first, report.since, report.events, report.records) == ([], 60, 20, 20)


@pytest.mark.system
async def test_what_the_topic_lacks_or_has_of_others_is_found_since_the_last(bench: Bench, tmp_path: Path) -> None:
    await bench.fill(30)
    await bench.relay()
    kept_there: dict[str, Any] = {"anchor_folder": tmp_path, "keep": True, "since_last": True}
    assert (await verify(SERVICE, bench.operator, bench.access, **kept_there)).sound
    await bench.fill(10, seed=1)
    await bench.query("update engine.leases set position = position + 10")  # as if they were published
    report = await verify(SERVICE, bench.operator, bench.access, **kept_there)
    assert report.since == 30
    assert said(report) == [
        "entitlements, entitlements.events.v1: positions 31 to 40 are missing, though they were published: the tail "
        "was cut"
    ]


@pytest.mark.system
async def test_another_topic_is_checked_whole(bench: Bench, tmp_path: Path) -> None:
    """It was made again since: its last records are not those that were read."""
    await bench.fill(30)
    await bench.relay()
    kept_there: dict[str, Any] = {"anchor_folder": tmp_path, "keep": True, "since_last": True}
    assert (await verify(SERVICE, bench.operator, bench.access, **kept_there)).records == 30
    await remade(bench.access, topic_of(SERVICE))
    report = await verify(SERVICE, bench.operator, bench.access, **kept_there)
    assert "positions 1 to 30 are missing" in said(report)[0]


# ── What the topic has ─────────────────────────────────────────────────────────────────────────────────


def missing(presence: Presence, relayed: int) -> Iterator[str]:
    findings = Findings(SERVICE)
    presence.complete(SERVICE, relayed, [], findings)
    return (finding.what.partition(", though")[0] for finding in findings.first)


@pytest.mark.parametrize("base", [0, 3, 1_000_001])
@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        ([], []),
        ([1], ["position 1 is missing"]),
        ([8, 9], ["positions 8 to 9 are missing"]),
        ([1, 2, 3, 17], ["positions 1 to 3 are missing", "position 17 is missing"]),
        (list(range(5, 31)), ["positions 5 to 30 are missing"]),
        (list(range(9, 25)), ["positions 9 to 24 are missing"]),
        (list(range(38, 41)), ["positions 38 to 40 are missing"]),
        (list(range(1, 41)), ["positions 1 to 40 are missing"]),
    ],
)
def test_missing_positions_are_named_in_ranges(base: int, absent: list[int], expected: list[str]) -> None:
    presence = Presence(base)
    presence.take((base + n for n in range(1, 41) if n not in absent), [], Findings(SERVICE))
    found = list(missing(presence, base + 40))
    assert [re.sub(r"\d+", lambda number: str(int(number[0]) - base), line) for line in found] == expected
    assert list(missing(Presence(base, bytes(presence.bits)), base + 40)) == found


def test_a_late_record_is_a_repeat_or_out_of_order() -> None:
    presence, findings = Presence(2), Findings(SERVICE)
    presence.take([3, 7], [Late(1, 7, "a", "one"), Late(3, 7, "b", "three"), Late(5, 7, "c", "five")], findings)
    assert [str(each) for each in findings.first] == ["entitlements, c: five comes after position 7"]
    presence.take([], [Late(5, 7, "d", "five")], findings)
    assert (findings.number, presence.top) == (1, 7)
