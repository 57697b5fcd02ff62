"""`verify`: whatever is changed in a store, a topic or outside of them is found, and the place is named."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.received import Raw
from shared.eventlog.deliver.relay import partition_of
from shared.eventlog.repair import anchors
from shared.eventlog.repair.anchors import Anchor, Anchors
from shared.eventlog.repair.findings import Findings
from shared.eventlog.repair.lone_topic import LoneTopicCheck
from shared.eventlog.repair.store_check import BEGIN, Point, StoreCheck
from shared.eventlog.repair.topic_check import InLog, Presence, TopicCheck
from shared.eventlog.repair.verify import verify
from shared.eventlog.write.store import Head
from shared.events.envelope import StoredEvent, Unreadable, chained, from_headers, to_headers
from tests.databases import execute_as_operator
from tests.engine.verifying import IN_STORE, filled
from tests.oracle.damages import (
    DAMAGES,
    PLANTS,
    altered_in_topic,
    altered_repeat,
    answered_otherwise,
    checkpoint_behind,
    checkpoint_beyond,
    clean,
    copied,
    done_twice,
    fenced,
    flipped_bit_in_command_of_store_and_topic,
    flipped_bit_in_header_of_topic,
    lost_in_topic,
    lost_with_its_command,
    missed_by_consumer,
    never_began,
    not_assigned,
    nothing_relayed,
    parked_and_applied,
    parked_otherwise,
    passed_over_by_consumer,
    relay_stands_still,
    swapped_in_topic,
    tail_cut_everywhere,
    twice_and_different_in_topic,
    unparked,
)
from tests.oracle.evidence import Evidence, Published, Stored

PARTITIONS = 6


def judged(evidence: Evidence, marks: Sequence[Anchor] = (), part: int = 1_000) -> Findings:
    """The evidence of the oracle's tests, judged by the engine's own code, in parts of about so many events."""
    findings, begin = Findings(evidence.service), BEGIN
    upto = max(evidence.position, *(e.envelope.position or 0 for e in evidence.events), evidence.batches[-1][0])
    while True:
        ends = [Point(*batch) for batch in evidence.batches if begin.position + part <= batch[0] < upto]
        end = ends[0] if ends else None
        _judge_part(evidence, findings, marks, begin, end)
        if end is None:
            break
        begin = end
    presence = Presence()
    for check in _judge_topic(evidence, findings, part):
        presence.take(check.present, check.late, findings)
    presence.complete(evidence.service, evidence.relayed, marks, findings)
    return findings


def _judge_part(
    evidence: Evidence, findings: Findings, marks: Sequence[Anchor], begin: Point, end: Point | None
) -> None:
    upto = end.position if end else 10**9
    mine = [mark for mark in marks if begin.position < mark.position <= upto]
    store = StoreCheck(findings, mine, begin)
    before = [e.envelope for e in evidence.events if (e.envelope.position or 0) <= begin.position]
    store.know({e.stream: Head(e.version or 0, e.hash) for e in before})
    batches = [batch for batch in evidence.batches if begin.position < batch[0] <= upto]
    for event in evidence.events:
        if begin.position < (event.envelope.position or 0) <= upto:
            while batches and batches[0][0] < (event.envelope.position or 0):
                store.batch(*batches.pop(0))
            store.event(StoredEvent(event.envelope, event.data))
    for batch in batches:
        store.batch(*batch)
    if end:
        store.part(end.position)
    else:
        store.head(evidence.position, evidence.chain)


def _judge_topic(evidence: Evidence, findings: Findings, part: int) -> Iterator[TopicCheck]:
    stored = {e.envelope.position or 0: InLog(e.envelope.hash, e.envelope.command_id) for e in evidence.events}
    last: dict[int, int] = {}
    for partition in sorted({record.partition for record in evidence.topic}):
        records = [
            Raw("entitlements.events.v1", r.partition, r.offset, r.key, r.headers, r.value)
            for r in evidence.topic
            if r.partition == partition
        ]
        for begin in range(0, len(records), part):
            check = TopicCheck(findings, evidence.service, PARTITIONS, last.get(partition, 0))
            check.compare(check.read(records[begin : begin + part]), stored)
            last[partition] = check.last
            yield check


def test_a_sound_log_has_no_findings() -> None:
    evidence = clean()
    marks = [Anchor("entitlements", p, c) for p, c in evidence.batches]
    assert [judged(evidence, marks, part).first for part in (1, 7, 1_000)] == [[], [], []]


def _read_by_position(evidence: Evidence) -> None:
    """Give swapped events each other's positions: a table has no other order, and a part is a range of positions."""
    positions = sorted(event.envelope.position or 0 for event in evidence.events)
    for n, position in enumerate(positions):
        event = evidence.events[n]
        evidence.events[n] = Stored(event.envelope._replace(position=position), event.data)


ELSEWHERE = (
    missed_by_consumer,
    passed_over_by_consumer,
    lost_with_its_command,
    answered_otherwise,
    done_twice,
    never_began,
    not_assigned,
    nothing_relayed,
    relay_stands_still,
    checkpoint_behind,
    checkpoint_beyond,
    parked_and_applied,
    parked_otherwise,
    unparked,
    tail_cut_everywhere,
    fenced,
    flipped_bit_in_command_of_store_and_topic,
)
"""What only consumers' notes, clients' answers, known commands and anchors tell, which a log alone does not have."""


@pytest.mark.parametrize("damage", [d for d in DAMAGES if d not in ELSEWHERE], ids=lambda d: d.__name__)
def test_every_damage_that_the_oracle_knows_is_found(damage: Callable[[Evidence, random.Random], None]) -> None:
    """In one part and in many, whose ends are anywhere in what was damaged."""
    sound = clean()
    for seed in range(PLANTS):
        evidence = copied(sound)
        damage(evidence, random.Random(seed))
        assert judged(evidence).first, f"seed {seed} was not found"
        _read_by_position(evidence)
        assert judged(evidence, part=1 + seed % 9).first, f"seed {seed} was not found in parts"


def test_a_store_and_a_topic_that_were_both_cut_show_by_an_anchor() -> None:
    evidence = clean()
    marks = [Anchor("entitlements", position, chain, "noon") for position, chain in evidence.batches]
    del evidence.events[-5:], evidence.batches[-5:], evidence.topic[-5:]
    evidence.position = evidence.relayed = len(evidence.events)
    evidence.chain = evidence.batches[-1][1]
    assert judged(evidence).first == [], "nothing inside tells"
    said = [str(finding) for finding in judged(evidence, marks).first]
    assert said == [
        "entitlements, store, after position 19: the tail was cut: an anchor of noon shows that position 24 existed",
        "entitlements, entitlements.events.v1: positions 20 to 24 are missing, though they were published: the tail "
        "was cut",
    ]


def test_a_log_that_was_rewritten_whole_shows_by_an_anchor() -> None:
    other = clean(streams=3)
    mark = Anchor("entitlements", *clean().batches[9], "noon")
    (finding,) = judged(other, [mark]).first
    assert finding.place == "entitlements, store, positions 1 to 10"
    assert "rewritten" in finding.what


def test_the_place_is_named() -> None:
    evidence = clean()
    gone = evidence.events.pop(6)
    evidence.topic = [record for record in evidence.topic if record.offset != 12]
    said = [str(finding) for finding in judged(evidence).first]
    assert f"position 8 ({evidence.events[6].envelope.stream} version 2): position 7 was expected here" in said[1]
    assert any("store, positions 7 to 7: the chain does not match" in line for line in said)
    assert any(
        "offset 7: position 7 (pool-2 version 2) is not the event that the store has there" in line for line in said
    )
    assert any(line.endswith("position 12 is missing, though they were published") for line in said)
    assert gone.envelope.stream == "pool-2"


def test_a_command_that_is_not_the_stores_is_one_finding_with_its_place() -> None:
    """Altered, or taken out."""
    for altered in ([("ce_commandid", b"another")], []):
        evidence = clean()
        r = evidence.topic[5]
        headers = [each for each in r.headers if each[0] != "ce_commandid"] + altered
        evidence.topic[5] = replace(r, headers=headers)
        said = altered[0][1].decode() if altered else ""
        assert [str(finding) for finding in judged(evidence).first] == [
            f"entitlements, entitlements.events.v1, partition {r.partition}, offset 6: position 6 (pool-1 version 2) "
            f"names another command than the store's event: {said!r}"
        ]


# ── A topic without its store ──────────────────────────────────────────────────────────────────────────


def alone(evidence: Evidence, marks: list[Anchor] | None = None, records: int | None = None) -> LoneTopicCheck:
    """The evidence's topic, judged by itself."""
    number = len(evidence.topic) if records is None else records
    check = LoneTopicCheck(Findings(evidence.service), evidence.service, PARTITIONS, number)
    for record in evidence.topic:
        partition = partition_of((record.key or b"").decode(), PARTITIONS)
        check.record(Raw("entitlements.events.v1", partition, record.offset, record.key, record.headers, record.value))
    check.complete(marks or ())
    return check


def findings(check: LoneTopicCheck) -> list[str]:
    return [str(finding) for finding in check._findings.first]


def test_a_sound_topic_has_no_findings_without_its_store_and_its_repeats_are_counted() -> None:
    evidence = clean()
    marks = [Anchor("entitlements", position, chain, "noon") for position, chain in evidence.batches]
    evidence.topic += [replace(record, offset=100 + n) for n, record in enumerate(evidence.topic[3:9])]
    check = alone(evidence, marks)
    assert findings(check) == []
    assert (check.events, check.repeats, check.top, check.chain) == (24, 6, 24, evidence.chain)
    assert findings(alone(evidence, marks, records=5)) == [], "however many there were said to be"


IN_TOPIC = [
    lost_in_topic,
    swapped_in_topic,
    altered_in_topic,
    altered_repeat,
    twice_and_different_in_topic,
    flipped_bit_in_header_of_topic,
]
"""What the oracle plants in a topic, but for a cut tail, which only an anchor tells, and another command's id, which
only the store does."""


@pytest.mark.parametrize("damage", IN_TOPIC, ids=lambda d: d.__name__)
def test_damage_in_a_topic_is_found_without_its_store(damage: Callable[[Evidence, random.Random], None]) -> None:
    sound = clean()
    marks = [Anchor("entitlements", *sound.batches[-1], "noon")]
    for seed in range(PLANTS // 4):
        evidence = copied(sound)
        damage(evidence, random.Random(seed))
        assert findings(alone(evidence, marks)), f"seed {seed} was not found"


def test_a_topics_cut_tail_shows_by_an_anchor_alone() -> None:
    evidence = clean()
    marks = [Anchor("entitlements", position, chain, "noon") for position, chain in evidence.batches]
    del evidence.topic[-5:]
    assert findings(alone(evidence)) == []
    assert findings(alone(evidence, marks)) == [
        "entitlements, entitlements.events.v1: the tail was cut: an anchor of noon shows that position 24 existed, the "
        "last here is 19"
    ]
    (line,) = findings(alone(clean(streams=3), [Anchor("entitlements", *clean().batches[9], "noon")]))
    assert line.startswith("entitlements, entitlements.events.v1, positions 1 to 10: ") and "rewritten" in line


def rewritten(record: Published, offset: int, **attributes: Any) -> Published:
    """The record as another: its hash and headers fit what it says."""
    envelope = from_headers(record.headers, record.key)._replace(**attributes)
    envelope = envelope._replace(hash=chained(envelope, record.value or b""))
    return replace(record, offset=offset, key=envelope.stream.encode(), headers=to_headers(envelope))


def test_each_fault_of_a_topic_is_named_with_its_place() -> None:
    sound = clean()
    place = f"entitlements, entitlements.events.v1, partition {partition_of('pool-1', PARTITIONS)}, offset 99"
    seventh = sound.topic[5]  # pool-1, version 2, position 6

    def said(*more: Published, without: int | None = None) -> list[str]:
        evidence = deepcopy(sound)
        if without is not None:
            del evidence.topic[without]
        evidence.topic += more
        return findings(alone(evidence))

    what = "position 6 (pool-1 version 2) is no repeat: this position was taken before"
    assert said(rewritten(seventh, 99, actor="another")) == [f"{place}: {what}, by another event"]
    assert said(rewritten(seventh, 99, command_id="another")) == [f"{place}: {what}, for another command"]
    found = said(rewritten(seventh, 99, position=25))
    assert (
        f"{place}: position 25 (pool-1 version 2) conflicts with a version 2 of its stream at another position" in found
    )
    assert any(
        "position 10 (pool-1 version 3) comes after version 1: version 2 of its stream is missing" in line
        for line in said(without=5)
    )
    assert "entitlements, entitlements.events.v1: position 6 is missing, though later ones are there" in said(without=5)
    last = sound.topic[-3]  # pool-1, version 6, position 22
    end = from_headers(last.headers, last.key).hash
    found = said(rewritten(last, 99, version=7, position=10**17, prevhash=end))
    assert found == [
        "entitlements, entitlements.events.v1: positions 25 to 99999999999999999 are missing, though "
        "later ones are there"
    ]
    found = said(rewritten(last, 99, version=7, position=25, prevhash=b"\7" * 32))
    assert found == [f"{place}: position 25 (pool-1 version 7) does not continue version 6, the one before it here"]
    far = said(rewritten(last, 99, version=8, position=10**17, prevhash=b"\7" * 32))
    assert far == [
        f"{place}: position {10**17} (pool-1 version 8) comes after version 6: version 7 of its stream is missing"
    ], "and the topic does not reach as far as it claims"


def test_a_record_in_another_partition_or_order_is_found_without_a_store() -> None:
    evidence = clean()
    check = LoneTopicCheck(Findings("entitlements"), "entitlements", PARTITIONS, 24)
    right = partition_of("pool-0", PARTITIONS)
    for record in sorted(evidence.topic, key=lambda r: (-(r.offset > 12), r.offset)):
        partition = partition_of((record.key or b"").decode(), PARTITIONS)
        wrong = record.offset == 1
        check.record(Raw("t", partition + wrong, record.offset, record.key, record.headers, record.value))
    said = findings(check)
    assert any(line.endswith("position 1 (pool-0 version 1) belongs in another partition") for line in said)
    assert any(
        f"partition {right}, offset 5: position 5 (pool-0 version 2) comes after position" in line for line in said
    )


@pytest.mark.parametrize(
    "line", [b"", b"[]", b'{"service": "x"}', b'{"service":1,"position":"n","chain":"","time":""}']
)
def test_a_line_that_is_no_anchor_is_said(line: bytes) -> None:
    with pytest.raises(Unreadable):
        Anchor.read(line)


class _Producer:
    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def send_and_wait(self, topic: str, value: bytes, key: bytes) -> None:
        assert (topic, key) == ("anchors.v1.entitlements", b"entitlements")
        self.sent.append(value)


async def test_an_anchor_is_written_every_thousand_events(tmp_path: Path) -> None:
    async def chain_at(position: int) -> tuple[int, bytes]:
        return position - position % 10, position.to_bytes(32)

    producer, writer = _Producer(), Anchors("entitlements", chain_at, tmp_path / "anchors")
    for position in range(100, 5_000, 100):
        writer.note(position, producer)
        if writer._writing is not None:
            await writer._writing
    found, strange = anchors.from_file(tmp_path / "anchors", "entitlements")
    assert [a.position for a in found] == [100, 1_100, 2_100, 3_100, 4_100]
    assert strange == []
    assert [json.loads(line)["position"] for line in producer.sent] == [a.position for a in found]


@pytest.mark.system
@pytest.mark.parametrize(("damage", "place"), IN_STORE)
async def test_damage_in_a_real_store_is_found(database: str, damage: str, place: str) -> None:
    await filled(database)
    await execute_as_operator(database, damage)
    report = await verify("entitlements", database, KafkaAccess(bootstrap="none is asked"), topic=False)
    assert report.sound == (not place), report.findings.first
    assert not place or any(place in str(finding) for finding in report.findings.first), report.findings.first
    assert report.events >= 15
