"""Verbs against a real Kafka."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from cli import inbound
from cli.context import TOPICS, Context
from cli.verbs import topics
from deploy.topics import declared
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.projection import Dispatch, Reactions
from shared.eventlog.deliver.received import Raw, receive
from shared.eventlog.repair.anchors import FORMER, topic_of_anchors
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events import CsnIssued
from shared.events.envelope import stamp
from shared.events.registry import INBOUND, MARKETPLACE
from tests.cli.conftest import Tenure
from tests.cli.stores import PUBLISHERS, YES, append, csn, fetch, operations, send
from tests.conftest import in_a_loop
from tests.examples.engine import COUNTER, Count, new_id
from tests.oracle.evidence import read_topic
from tests.system import parts

pytestmark = pytest.mark.system


def test_topics_and_an_import_that_tail_then_shows(tenure: Tenure, live: Mapping[str, str], tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    ours = [{**PUBLISHERS, "id": f"cli-{n}", "subject": f"{n}", "time": stamp(utc_now())} for n in range(5)]
    file.write_text("".join(f"{json.dumps(each)}\n" for each in ours))
    before = {each["topic"]: each["records"] for each in tenure("topics", "--json").json["topics"]}
    assert {name for name in before if not name.startswith(f"{INBOUND}.p")} == {each.name for each in declared()}
    assert "would get 5 CsnIssued events" in tenure("import", str(file)).out
    done = tenure("import", str(file), *YES, "--json")
    assert (done.code, done.json["sent"], done.json["ok"]) == (0, 5, True)
    after = {each["topic"]: each["records"] for each in tenure("topics", "--json").json["topics"]}
    assert after[INBOUND] - before[INBOUND] == 5
    assert [each["outcome"] for each in operations(live["identity"])] == ["begun", "done"]
    said = tenure("tail", INBOUND, "--no-follow", "--since", "1h", "--type", "CsnIssued", "--stream", "3", "--json")
    assert [json.loads(line)["id"] for line in said.out.splitlines()] == ["cli-3"]
    assert "1 shown" not in said.err, "--json is for a program"
    assert "1 shown, of" in tenure("tail", INBOUND, "--no-follow", "--since", "1h", "--stream", "3").err


def test_a_missing_topic_ends_with_1(tenure: Tenure, live: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert tenure("topics").code == 0
    monkeypatch.setattr("cli.context.TOPICS", (*TOPICS, "missing.v1"))
    said = tenure("topics")
    assert said.code == 1 and "missing.v1 is missing: run `python -m deploy.topics` to create it." in said.out
    assert tenure("topics", "--json").json["missing"] == ["missing.v1"]


def test_anchors_are_no_events(tenure: Tenure, live: Mapping[str, str]) -> None:
    assert live
    anchors = topic_of_anchors("marketplace")
    assert anchors not in topics.topics_named([]) and topics.topics_named([anchors]) == [anchors]
    said = tenure("verify", "--topic", anchors)
    assert said.code == 2 and "holds anchors, not events" in said.err
    for topic in (anchors, FORMER):
        assert tenure("replay", "marketplace", "--to-topic", topic).code == 5


def test_tail_shows_what_comes_by(
    tenure: Tenure, live: Mapping[str, str], kafka: parts.Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It follows until it is told to stop: here after the third record, as Ctrl-C would."""
    shown: list[Any] = []
    told = topics.show_record

    def stop_at_three(output: Any, record: Any, envelope: Any, data: bool) -> None:
        told(output, record, envelope, data)
        shown.append(record)
        if len(shown) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(topics, "show_record", stop_at_three)
    later = threading.Timer(2, send, (kafka.access, INBOUND, 3))
    later.start()
    said = tenure("tail", INBOUND, "--last", "0")
    later.join()
    assert len(shown) == 3 and "can't be read" in said.out


def test_status_measures_a_lag_and_its_trend(tenure: Tenure, live: Mapping[str, str], kafka: parts.Kafka) -> None:
    send(kafka.access, MARKETPLACE, 4)
    (ends,) = (each["records"] for each in tenure("topics", "--json").json["topics"] if each["topic"] == MARKETPLACE)
    fetch(
        live["entitlements"],
        f"insert into engine.checkpoints values ('entitlements.numbers', '{MARKETPLACE}', 0, -1, now())",
    )
    began = time.time()
    with _sending(kafka.access, MARKETPLACE) as sent:
        said = tenure("status", "--over", "4", "--json")
    assert said.code == 1, "no service runs"
    (lag,) = said.json["consumers"]
    assert 4 < lag["lag"] <= ends + sum(sent)
    assert 0 < lag["lag_s"] < 3600 and lag["per_s"] > 0 and time.time() - began > 4


@contextmanager
def _sending(access: KafkaAccess, topic: str) -> Iterator[list[int]]:
    """Send records until the block ends, however long it takes; yield the numbers that are sent."""
    ended, sent = threading.Event(), []

    def sends() -> None:
        while not ended.wait(0.2):
            sent.append(10)
            send(access, topic, 10)

    sender = threading.Thread(target=sends)
    sender.start()
    try:
        yield sent
    finally:
        ended.set()
        sender.join()


def test_a_replay_goes_to_a_topic_of_its_own(tenure: Tenure, live: Mapping[str, str]) -> None:
    append(live["marketplace"], "marketplace", "partner-1", csn(1), csn(2))
    said = tenure("replay", "marketplace", "--to-topic", "nobodys.topic", *YES)
    assert said.code == 4 and "does not create topics" in said.err
    assert operations(live["marketplace"]) == []


async def _make(access: KafkaAccess, topic: str) -> None:
    admin = AIOKafkaAdminClient(**access.client())
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 2, 1)])
    finally:
        await admin.close()


def test_a_replay_to_a_topic_sends_the_very_events_and_reads_them_again(
    tenure: Tenure, live: Mapping[str, str], kafka: parts.Kafka
) -> None:
    topic = f"replayed-{new_id()[-8:]}"
    in_a_loop(_make(kafka.access, topic))
    ids = [
        *append(live["marketplace"], "marketplace", "partner-1", csn(1), csn(2)),
        *append(live["marketplace"], "marketplace", "partner-2", csn(3)),
    ]
    arguments = ("replay", "marketplace", "--from", "2", "--only", "CsnIssued", "--to-topic", topic)
    dry = tenure(*arguments, "--json").json
    assert (dry["count"], dry["dry_run"], dry["types"], dry["looked_at"]) == (2, True, {"CsnIssued": 2}, 2)
    assert in_a_loop(read_topic(topic, kafka.access)) == [] and operations(live["marketplace"]) == []

    done = tenure(*arguments, *YES, "--json")
    assert (done.code, done.json["ok"], done.json["sent"], done.json["not_there"]) == (0, True, 2, 0)
    records = in_a_loop(read_topic(topic, kafka.access))
    rows = fetch(live["marketplace"], "select id, stream, data::text from log.events where position in (2, 3)")
    assert {(dict(r.headers)["ce_id"].decode(), r.key.decode(), r.value.decode()) for r in records} == {
        (str(row["id"]), row["stream"], row["data"]) for row in rows
    }
    assert {dict(r.headers)["ce_id"].decode() for r in records} == set(ids[1:])
    begun, ended = operations(live["marketplace"])
    assert (begun["outcome"], ended["outcome"], ended["verb"]) == ("begun", "done", "replay")
    assert (ended["actor"], ended["reason"]) == ("operator:test", "a test")
    assert ended["arguments"] == [f"topic={topic}", "events=2", "positions=2-3"]
    assert "2 events acknowledged by Kafka." in ended["result"] and "all identical, byte for byte" in ended["result"]


# ── why ────────────────────────────────────────────────────────────────────────────────────────────────


async def _react(dsn: str, access: KafkaAccess, event_id: str) -> list[str]:
    """marketplace's consumer deals with the inbound event of this id; the ids of what follows."""
    echo = Reactions("sales", topics=(INBOUND,))

    @echo.on(CsnIssued)
    async def csn_issued(_event: CsnIssued, envelope: Any, _reach: Any) -> list[Dispatch]:
        return [Dispatch(COUNTER, key, Count(by="somebody")) for key in (f"{envelope.id}-a", f"{envelope.id}-b")]

    store = await PostgresStore(dsn, "marketplace").open()
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=2)
    try:
        for record in await read_topic(INBOUND, access):
            raw = Raw(INBOUND, record.partition, record.offset, record.key, record.headers, record.value)
            received = receive(raw, echo.types)
            if received.envelope is not None and received.envelope.id == event_id:
                consumer = Consumer("marketplace", echo, pool, Log(store, "marketplace"), Clocks(utc_now))
                await consumer.assigned([(INBOUND, record.partition)])
                await consumer.consume([received])
        rows = await pool.fetch("select id from log.events where causation_id = $1 order by position", event_id)
        return [str(row["id"]) for row in rows]
    finally:
        await store.close()
        await pool.close()


def _answer(dsn: str, *values: str | int) -> None:
    """Store an outcome of a record, as the consumer that decides on it does."""
    columns = 'topic, partition, "offset", status, rule, reason, source, id'
    more = "type, remedy, because, events) values ($1, $2, $3, $4, $5, $6, $7, $8, 'CsnIssued', '', '[]', '[]')"

    async def inserted() -> None:
        db = await asyncpg.connect(dsn)
        try:
            await db.execute(f"insert into engine.outcomes ({columns}, {more}", *values)
        finally:
            await db.close()

    in_a_loop(inserted())


def test_why_goes_over_to_publishers_events(
    tenure: Tenure, live: Mapping[str, str], kafka: parts.Kafka, tmp_path: Path
) -> None:
    name, other = f"Order:{new_id()[-8:]}", f"other-{new_id()[-8:]}"
    file = tmp_path / "in.jsonl"
    theirs = {**PUBLISHERS, "time": "2026-11-20T12:00:00Z"}
    file.write_text("".join(f"{json.dumps({**theirs, 'id': each})}\n" for each in (name, other)))
    assert tenure("import", str(file), *YES).code == 0
    send(kafka.access, INBOUND, 30)
    effects = in_a_loop(_react(live["marketplace"], kafka.access, name))
    assert len(effects) == 2
    (last,) = append(live["entitlements"], "entitlements", "pool-1", csn(1), cause=effects[1], about=name)

    for asked in (name, last):
        found = tenure("why", asked, "--json").json
        first, *rest = found["events"]
        assert (first["id"], first["service"], first["source"], first["type"]) == (
            name,
            None,
            "urn:publisher:p",
            "CsnIssued",
        )
        assert first["where"].startswith(f"{INBOUND}/") and first["time"] == "2026-11-20T12:00:00.000000Z"
        assert [each["id"] for each in rest] == [*effects, last]
        assert found["inbound"]["found"] == 1 and 0 < found["inbound"]["looked_at"] <= found["inbound"]["records"]
    said = tenure("why", name)
    assert "CsnIssued  from urn:publisher:p  2026-11-20 12:00:00Z  <- asked" in said.out
    assert f"records of {INBOUND}*." in said.out and max(map(len, said.out.splitlines()[:-1])) <= 80

    found = tenure("why", other, "--json").json
    assert [each["id"] for each in found["events"]] == [other], "nothing followed from it"
    topic, partition, offset = found["events"][0]["where"].rsplit("/", 2)
    assert found["events"][0]["outcomes"] == []
    assert "no service has answered it" in tenure("why", other).out
    record = (topic, int(partition), int(offset))
    _answer(live["marketplace"], *record, "waiting", "failed", "It failed.", "urn:publisher:p", other)
    _answer(live["marketplace"], *record, "rejected", "refused", "It is another's.", "", "")
    (outcome,) = tenure("why", other, "--json").json["events"][0]["outcomes"]
    assert (outcome["service"], outcome["status"], outcome["rule"]) == ("marketplace", "rejected", "refused")
    assert "refused: It is another's." in " ".join(tenure("why", other).out.split()), "by its place, without a source"
    said = tenure("why", last, "--search", "1")
    assert said.code == 0 and "which was not found" in said.out and "--search N reads more" in said.out
    said = tenure("why", "nobodys-event")
    assert said.code == 4 and "or an effect of it" in said.err and f"records of {INBOUND}*" in said.err


@pytest.mark.parametrize("near", [True, False])
def test_a_search_ends_where_it_may_look_no_further(
    live: Mapping[str, str], kafka: parts.Kafka, tmp_path: Path, tenure: Tenure, near: bool
) -> None:
    """Each record once, backwards and then forwards, in steps; never more than it may."""
    name, file = f"deep-{new_id()[-8:]}", tmp_path / "in.jsonl"
    file.write_text(f"{json.dumps({**PUBLISHERS, 'id': name})}\n")
    assert tenure("import", str(file), *YES).code == 0
    send(kafka.access, INBOUND, 60)

    async def searched(wanted: str, most: int) -> inbound.Search:
        async with Context() as context:
            return await inbound.search(context, [inbound.Wanted(wanted)], utc_now() if near else None, most)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(inbound, "_FIRST", 5)
        found, none = in_a_loop(searched(name, 10_000)), in_a_loop(searched("nothing", 10_000))
        some = in_a_loop(searched("nothing", 20))
    assert [each.envelope.id for each in found.found] == [name]
    assert none.found == [] and none.looked == none.held and none.whole
    assert some.looked <= 20 and not some.whole and some.held == none.held
