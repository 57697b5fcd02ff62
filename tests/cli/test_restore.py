"""What was lost, made again by command: a topic, a store that came back from a backup, a store. Kafka is its own."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import asyncpg
import pytest

from deploy import topics
from tests.cli.conftest import Tenure, in_a_loop
from tests.cli.test_stores import YES, append, csn, fetch, operations
from tests.engine.rebuilding import assigned, opened
from tests.engine.test_host import Bench as _Bench  # noqa: F401  # the same Kafka, so the same tidiness about it
from tests.system import parts

pytestmark = pytest.mark.system

Stores = Mapping[str, str]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Kafka]:
    with parts.kafka(tmp_path_factory.mktemp("lost") / "kafka") as server:
        in_a_loop(topics.ensure(server.bootstrap))
        yield server


@pytest.fixture
def live(stores: Stores, empty: parts.Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    """Four empty stores, and a Kafka that has none of the topics' events but those of the module's other tests."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP", empty.bootstrap)
    monkeypatch.setenv("TENURE_ANCHORS", str(tmp_path))
    return stores


def pool(dsn: str, number: int) -> None:
    """A pool of three events."""
    append(dsn, "entitlements", f"pool-{number}", opened(number), assigned(number, 1), assigned(number, 2))


def database(dsn: str, what: str, other: str = "") -> None:
    """Does something to a whole database."""
    base, _, name = dsn.rpartition("/")

    async def done() -> None:
        db = await asyncpg.connect(f"{base}/postgres")
        await db.execute(what.format(name=name, other=other or f"{name}_backup"))
        await db.close()

    in_a_loop(done())


def test_what_was_lost_comes_back_by_command(tenure: Tenure, live: Stores) -> None:
    dsn = live["entitlements"]
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
    assert said.code == 0 and "4 events would come from entitlements.events.v1" in said.out
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


def test_a_store_that_went_a_way_of_its_own_is_not_reconciled(tenure: Tenure, live: Stores) -> None:
    dsn = live["marketplace"]
    append(dsn, "marketplace", "partner-1", csn(1), csn(2), csn(3))
    database(dsn, 'create database "{other}" template "{name}"')
    append(dsn, "marketplace", "partner-2", csn(1), csn(2), csn(3))
    assert tenure("restore", "topic", "marketplace", *YES).code == 0
    database(dsn, 'drop database "{name}" with (force)')
    database(dsn, 'alter database "{other}" rename to "{name}"')
    append(dsn, "marketplace", "partner-3", csn(1), csn(2), csn(3))
    said = tenure("reconcile", "marketplace", *YES)
    assert said.code == 5 and "went a way of its own from position 4" in said.err
    assert operations(dsn) == []
    assert tenure("verify", "marketplace").code == 1
