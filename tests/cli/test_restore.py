"""What was lost, made again by command: a topic, a store that came back from a backup, a store. Kafka is its own."""

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError

from shared.eventlog.repair import restore as engine
from shared.eventlog.repair import tries
from shared.eventlog.repair.anchors import Anchor
from shared.eventlog.repair.importing import Importer
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.store import Unavailable
from shared.events.envelope import StoredEvent, chained
from shared.events.registry import INBOUND, topic_of
from tests.cli.conftest import Said, Tenure
from tests.cli.stores import YES, append, csn, database, fetch, fleet, operations
from tests.conftest import in_a_loop
from tests.engine.rebuilding import assigned, opened
from tests.system import parts

pytestmark = pytest.mark.system

Stores = Mapping[str, str]


def pool(dsn: str, number: int) -> None:
    """A pool of three events."""
    append(dsn, "entitlements", f"pool-{number}", opened(number), assigned(number, 1), assigned(number, 2))


def test_what_was_lost_comes_back_by_command(tenure: Tenure, lost: Stores) -> None:
    dsn = lost["entitlements"]
    for number in range(4):
        pool(dsn, number)

    # The topic has nothing: from the store.
    said = tenure("restore", "topic", "entitlements")
    assert said.code == 0 and "12 events would be published" in said.out and "nothing was changed" in said.out
    assert operations(dsn) == []
    done = tenure("restore", "topic", "entitlements", *YES, "--json").json
    assert (done["count"], done["done"]["events"], done["ok"], done["verified"]["records"]) == (12, 13, True, 13)
    assert [each["outcome"] for each in operations(dsn)] == ["begun", "done"]

    # The store comes back from a backup that is older.
    database(dsn, 'create database "{other}" template "{name}"')
    pool(dsn, 4)
    assert tenure("restore", "topic", "entitlements", *YES).code == 0
    database(dsn, 'drop database "{name}" with (force)')
    database(dsn, 'alter database "{other}" rename to "{name}"')
    before = fetch(dsn, "select position from log.head")[0]["position"]
    assert before == 14
    said = tenure("restore", "topic", "entitlements")
    assert said.code == 5 and "tenure reconcile" in said.err
    said = tenure("reconcile", "entitlements")
    assert said.code == 0 and "4 events would be imported from entitlements.events.v1" in said.out
    done = tenure("reconcile", "entitlements", *YES, "--json").json
    assert (done["count"], done["done"]["events"], done["ok"], done["verified"]["sound"]) == (4, 4, True, True)
    last = operations(dsn)[-1]
    assert (last["verb"], last["outcome"], last["actor"]) == ("reconcile", "done", "operator:test")
    assert "Nothing to do" in tenure("reconcile", "entitlements", *YES).out

    # The database is lost.
    assert tenure("restore", "topic", "entitlements", *YES).code == 0
    events = "select position, hash from log.events where position <= 20 order by position"
    kept = fetch(dsn, events)
    database(dsn, 'drop database "{name}" with (force)')
    said = tenure("restore", "store", "entitlements")
    assert said.code == 0 and "ends at position 0" in said.out and "nothing was changed" in said.out
    done = tenure("restore", "store", "entitlements", *YES, "--json").json
    assert done["ok"] and done["done"]["before"] == 0 and done["done"]["events"] == done["count"]
    assert fetch(dsn, events) == kept
    assert fetch(dsn, "select count(*) as n from pools")[0]["n"] == 5
    assert [each["verb"] for each in operations(dsn)][-2:] == ["restore store", "restore store"]
    assert tenure("verify", "entitlements").code == 0


def test_a_store_that_went_a_way_of_its_own_is_not_reconciled(tenure: Tenure, lost: Stores) -> None:
    dsn = lost["marketplace"]
    append(dsn, "marketplace", "partner-1", csn(1), csn(2), csn(3))
    database(dsn, 'create database "{other}" template "{name}"')
    append(dsn, "marketplace", "partner-2", csn(1), csn(2), csn(3))
    assert tenure("restore", "topic", "marketplace", *YES).code == 0
    database(dsn, 'drop database "{name}" with (force)')
    database(dsn, 'alter database "{other}" rename to "{name}"')
    append(dsn, "marketplace", "partner-3", csn(1), csn(2), csn(3))
    said = tenure("reconcile", "marketplace", *YES)
    assert said.code == 5 and "has diverged from its topic at position 4" in said.err
    assert operations(dsn) == []
    assert tenure("verify", "marketplace").code == 1


# ── Stopped midway ─────────────────────────────────────────────────────────────────────────────────────

EVENTS = "select position, hash, data::text from log.events order by position"


def stopped_midway(tenure: Tenure, dsn: str, monkeypatch: pytest.MonkeyPatch, *, killed: bool) -> Said:
    """Loses the store, and its restore after four events. Killed, it can't even say so."""
    database(dsn, 'drop database "{name}" with (force)')
    take, batches = Importer.take, itertools.count(1)

    async def gone(importer: Importer, found: Any) -> None:
        if next(batches) == 3:
            raise KafkaConnectionError("the broker is gone")
        await take(importer, found)

    async def nothing(*_: object) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(engine, "AT_ONCE", 2)
        patched.setattr(Importer, "take", gone)
        if killed:
            patched.setattr(tries, "_record_failure", nothing)
        return tenure("restore", "store", "distribution", *YES)


def fence(dsn: str) -> str:
    return str(fetch(dsn, "select fenced from log.head")[0]["fenced"])


def test_a_restore_that_fails_midway_leaves_word_of_it_and_goes_on_when_run_again(
    tenure: Tenure, lost: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = lost["distribution"]
    append(dsn, "distribution", "pool-1", fleet(1), fleet(2), fleet(3))
    append(dsn, "distribution", "pool-2", fleet(1), fleet(2), fleet(3))
    assert tenure("restore", "topic", "distribution", *YES).code == 0
    kept = fetch(dsn, EVENTS)
    total = 7  # with what `restore topic` recorded before it published
    assert len(kept) >= total

    said = stopped_midway(tenure, dsn, monkeypatch, killed=False)
    again = "`tenure restore store distribution` again, which continues from there"
    assert said.code == 3 and again in said.err and len(said.err.splitlines()) == 1
    assert f"4 of {total} events are imported" in said.err
    assert fetch(dsn, EVENTS) == kept[:4], "and no event of its own among the topic's"
    left = fence(dsn)
    assert "it stopped 20" in left and "at importing (KafkaConnectionError: " in left and again in left
    assert f"4 of {total} events are imported" in left and "by operator:test: a test" in left
    wrong = tenure("status", "--over", "0", "--json").json
    assert f"distribution: its store takes no commands: {left}" in wrong["wrong"]
    assert wrong["services"]["distribution"]["fenced"] == left
    with pytest.raises(Unavailable, match="is being restored"):
        append(dsn, "distribution", "pool-9", fleet(1))

    said = tenure("restore", "store", "distribution")
    assert said.code == 0 and f"The store takes no commands now: {left}" in said.out
    assert f"{total - 4} events would be imported" in said.out and fence(dsn) == left
    done = tenure("restore", "store", "distribution", *YES, "--json").json
    assert (done["ok"], done["done"]["before"], done["done"]["events"]) == (True, 4, total - 4)
    assert left.endswith(done["done"]["earlier"]) and done["done"]["earlier"].startswith("it stopped 20")
    assert fetch(dsn, EVENTS)[:total] == kept[:total] and fence(dsn) == "None"
    begun, ended = operations(dsn)[-2:]
    assert (begun["verb"], begun["outcome"], ended["outcome"]) == ("restore store", "begun", "done")
    assert f"An earlier attempt did not finish: {done['done']['earlier']}"[:400] in ended["result"]
    assert "Nothing to do" in tenure("restore", "store", "distribution", *YES).out
    append(dsn, "distribution", "pool-9", fleet(1))

    # Killed: the record of its beginning is there.
    said = stopped_midway(tenure, dsn, monkeypatch, killed=True)
    assert said.code == 3 and again in said.err
    left = fence(dsn)
    assert f"at position 0 of {total}. If it no longer runs" in left and "by operator:test: a test" in left
    assert again in left and fetch(dsn, EVENTS) == kept[:4]

    async def unreachable(*_: object) -> Any:
        raise KafkaConnectionError("the broker is gone")

    # Complete, but Kafka is down for the check of the result: recorded as one that could not be verified.
    with monkeypatch.context() as patched:
        patched.setattr("cli.verbs.restore.verify_restored", unreachable)
        said = tenure("restore", "store", "distribution", *YES)
    assert said.code == 1 and "The result could NOT be verified" in said.out and fence(dsn) == "None"
    ended = operations(dsn)[-1]
    assert ended["outcome"] == "failed" and "An earlier attempt did not finish: begun 20" in ended["result"]
    assert tenure("verify", "distribution").code == 0
    assert fetch(dsn, EVENTS)[:total] == kept[:total]


# ── A topic without its store ──────────────────────────────────────────────────────────────────────────


def test_a_topic_is_verified_without_its_store(
    tenure: Tenure, lost: Stores, empty: parts.Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn, topic = lost["identity"], topic_of("identity")
    append(dsn, "identity", "account-1", csn(1), csn(2), csn(3))
    assert tenure("restore", "topic", "identity", *YES).code == 0
    chain = fetch(dsn, "select chain from log.batches where last_position = 3")[0]["chain"]
    stored = in_a_loop(_stored(dsn))
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1")
    said = tenure("verify", "--topic", "identity")
    assert said.code == 0 and f"{topic}: sound." in said.out and "The store was not read" in said.out
    found = tenure("verify", "--topic", topic, "--json").json
    (report,) = found["services"]
    assert (found["sound"], report["events"], report["repeats"], report["head"]) == (True, 4, 0, 4)

    async def sent(*records: tuple[StoredEvent, bytes]) -> None:
        producer = AIOKafkaProducer(**empty.access.client())
        await producer.start()
        for event, value in records:
            await producer.send_and_wait(topic, value, key=event.envelope.stream.encode(), headers=event.headers())
        await producer.stop()

    in_a_loop(sent((stored[1], stored[1].data), (stored[2], stored[2].data)))
    said = tenure("verify", "--topic", topic)
    assert said.code == 0 and "6 records read: 4 events up to position 4, 2 repeats (allowed)" in said.out
    envelope = stored[1].envelope._replace(actor="another")
    conflict = StoredEvent(envelope._replace(hash=chained(envelope, stored[1].data)), stored[1].data)
    in_a_loop(sent((conflict, conflict.data), (stored[0], stored[0].data.replace(b'"1"', b'"7"'))))
    said = tenure("verify", "--topic", topic)
    assert said.code == 1 and "NOT SOUND, 2 findings" in said.out and f"{topic}, partition " in said.out
    assert "position 2 (account-1 version 2) is no repeat: this position was taken before, by another event" in said.out
    assert "account-1 version 1 was altered: its hash does not fit" in said.out

    folder = Path(os.environ["TENURE_ANCHORS"])
    anchors = [Anchor("identity", 3, chain, "noon"), Anchor("identity", 9, chain, "later")]
    (folder / "identity.jsonl").write_bytes(b"".join(anchor.line() + b"\n" for anchor in anchors))
    found = tenure("verify", "--topic", topic, "--json").json["services"][0]
    assert found["number"] == 3 and "an anchor of later shows that position 9 existed" in found["findings"][-1]["what"]
    assert tenure("verify", "identity", "--topic", topic).code == 2
    assert tenure("verify", "--topic", topic, "--store-only").code == 2
    assert tenure("verify", "--topic", INBOUND).code == 2
    assert tenure("verify", "--topic", "nothing").code == 4


async def _stored(dsn: str) -> list[StoredEvent]:
    store = await PostgresStore(dsn, "identity").open()
    try:
        return list(await store.read(0, 3))
    finally:
        await store.close()
