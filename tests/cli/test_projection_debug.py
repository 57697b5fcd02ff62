"""Verbs that judge a log and fold it anew, over real databases: verify, rebuild, step, as-of."""

import re
from collections.abc import Mapping
from typing import Any

import asyncpg
import pytest

from services.entitlements.projections import POOLS
from shared.eventlog.write.postgres import PostgresStore
from tests.cli.conftest import Said, Tenure
from tests.cli.stores import YES, append, csn, fetch, operations
from tests.conftest import in_a_loop
from tests.engine.rebuilding import Bench

pytestmark = pytest.mark.system

Stores = Mapping[str, str]


@pytest.fixture
def tenure(tenure: Tenure, monkeypatch: pytest.MonkeyPatch) -> Tenure:
    """As on a terminal of 80 columns that has no colours."""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")

    def run(*arguments: str) -> Said:
        said = tenure(*arguments)
        if "--json" in arguments:
            return said
        assert not re.search(r"\x1b\[[0-9;]*[349][0-9]", said.out), "no colours"
        out = re.sub(r"\x1b\[[0-9;]*m", "", said.out)
        assert max(map(len, out.splitlines()), default=0) <= 80
        return said._replace(out=" ".join(out.split()), err=" ".join(said.err.split()))

    return run


@pytest.fixture
def pools(stores: Stores) -> str:
    """entitlements' database with 20 pools of 5 events each, folded by its consumer."""

    async def filled(dsn: str) -> None:
        store = await PostgresStore(dsn, "entitlements").open()
        pool = await asyncpg.create_pool(dsn, min_size=1, max_size=4)
        bench = Bench(dsn, pool, store, POOLS)
        await bench.pools(20)
        await bench.feed()
        await pool.close()
        await store.close()

    in_a_loop(filled(stores["entitlements"]))
    return stores["entitlements"]


def schemas(dsn: str) -> list[str]:
    found = fetch(dsn, "select nspname from pg_namespace where nspname ~ '^(old|rebuild|asof|step)_' order by 1")
    return [row["nspname"] for row in found]


# ── verify ─────────────────────────────────────────────────────────────────────────────────────────────


def test_verify_finds_a_flipped_byte_and_names_the_place(tenure: Tenure, stores: Stores) -> None:
    append(stores["marketplace"], "marketplace", "partner-1", csn(1), csn(2))
    said = tenure("verify", "--store-only")
    assert said.code == 0
    assert "marketplace: sound." in said.out and "2 events of the store" in said.out
    fetch(
        stores["marketplace"],
        "update log.events set data = replace(data::text, '\"2\"', '\"3\"')::json where position = 2",
    )
    said = tenure("verify", "marketplace", "--store-only")
    assert said.code == 1
    assert "position 2 (partner-1 version 2)" in said.out and "its hash does not match" in said.out
    found = tenure("verify", "--store-only", "--json")
    assert found.code == 1 and not found.json["sound"]
    assert [each["service"] for each in found.json["services"] if not each["sound"]] == ["marketplace"]
    assert found.json["services"][1]["findings"][0]["what"] == "it was altered: its hash does not match"


def test_verify_without_kafka_says_so(tenure: Tenure, stores: Stores) -> None:
    said = tenure("verify", "identity")
    assert said.code == 3 and "Kafka" in said.err
    assert tenure("verify", "nothing").code == 4


# ── rebuild ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_rebuild_is_dry_by_default_then_switches_and_is_recorded(tenure: Tenure, pools: str) -> None:
    said = tenure("rebuild", "entitlements.pools")
    assert said.code == 0
    assert (
        "100 events of entitlements.pools's streams would be folded again" in said.out
        and "seats (now 40 rows)" in said.out
    )
    assert "nothing was changed" in said.out and schemas(pools) == [] and operations(pools) == []
    assert tenure("rebuild", "entitlements.pools", "--yes").code == 2, "why?"
    done = tenure("rebuild", "entitlements.pools", *YES, "--json")
    assert done.code == 0
    assert (done.json["ok"], done.json["state"], done.json["folded"]) == (True, "switched", 100)
    assert done.json["rows_now"] == {"pools": 20, "seats": 40} and schemas(pools) == [done.json["old"]]
    begun, ended = operations(pools)
    assert (begun["outcome"], ended["outcome"], ended["verb"]) == ("begun", "done", "rebuild")
    assert "projection=entitlements.pools" in ended["arguments"]

    again = tenure("rebuild", "entitlements.pools", *YES)
    assert again.code == 0 and "digests agree" in again.out
    dry = tenure("rebuild", "entitlements.pools", "--drop-old")
    assert dry.out.count("would be dropped") == 2 and len(schemas(pools)) == 2
    assert tenure("rebuild", "entitlements.pools", "--drop-old", *YES).code == 0
    assert schemas(pools) == [] and operations(pools)[-1]["verb"] == "rebuild --drop-old"
    assert "Nothing to do" in tenure("rebuild", "entitlements.pools", "--drop-old", *YES).out


def test_a_rebuild_that_differs_switches_nothing_until_told(tenure: Tenure, pools: str) -> None:
    fetch(pools, "delete from seats where subscription_id = 's-3'")
    said = tenure("rebuild", "entitlements.pools", *YES)
    assert said.code == 1
    assert "DIFFER" in said.out and "Not switched" in said.out and operations(pools)[-1]["outcome"] == "failed"
    assert "is unfinished and would continue" in tenure("rebuild", "entitlements.pools").out
    assert tenure("rebuild", "entitlements.pools", "--give-up").code == 0 and len(schemas(pools)) == 1
    assert tenure("rebuild", "entitlements.pools", "--give-up", *YES).code == 0 and schemas(pools) == []
    done = tenure("rebuild", "entitlements.pools", "--switch-differing", *YES, "--json").json
    assert (done["state"], done["agrees"], done["rows_now"]["seats"]) == ("switched", False, 40)


def test_what_cannot_be_rebuilt_is_said(tenure: Tenure, pools: str) -> None:
    said = tenure("rebuild", "entitlements.nothing")
    assert said.code == 4 and "entitlements.pools" in said.err
    said = tenure("rebuild", "entitlements.ledger")
    assert said.code == 5 and "has never run" in said.err
    assert tenure("rebuild", "entitlements.pools", "--source", "air").code == 2
    assert tenure("rebuild", "entitlements.pools", "--drop-old", "--give-up").code == 2


# ── step, as-of ────────────────────────────────────────────────────────────────────────────────────────


def test_step_tells_what_each_event_changes(tenure: Tenure, pools: str) -> None:
    said = tenure("step", "entitlements.pools", "pool-7")
    assert said.code == 0
    for text in ("1 SeatPoolOpened", "pools: row inserted", "seats: row inserted", "5 events read from entitlements'"):
        assert text in said.out, text
    steps = tenure("step", "entitlements.pools", "pool-7", "--json").json["steps"]
    assert [each["type"] for each in steps] == ["SeatPoolOpened", *["SeatAssigned"] * 3, "SeatUnassigned"]
    assert any(change["table"] == "seats" and change["after"] is None for change in steps[4]["changes"])
    assert schemas(pools) == [] and operations(pools) == []
    assert tenure("step", "entitlements.pools", "pool-none").code == 4
    assert tenure("step", "entitlements.numbers", "pool-7").code == 5


def test_as_of_shows_a_moment_and_keeps_it_when_told(tenure: Tenure, pools: str) -> None:
    said = tenure("as-of", "entitlements.pools", "--position", "50", "--rows", "2")
    assert said.code == 0
    assert "pools: 10 rows" in said.out and "50 events folded from the start" in said.out
    found: dict[str, Any] = tenure("as-of", "entitlements.pools", "--time", "1h", "--json").json
    assert (found["tables"], found["folded"]) == ({"pools": 0, "seats": 0}, 0)
    keep = ("as-of", "entitlements.pools", "--position", "50", "--keep")
    assert "nothing was changed" in tenure(*keep).out and schemas(pools) == []
    kept = tenure(*keep, *YES, "--json").json["schema"]
    assert schemas(pools) == [kept] and operations(pools)[-1]["outcome"] == "done"
    assert tenure("as-of", "entitlements.pools", "--position", "60", "--json").json["from_kept"] == kept
    assert [each["schema"] for each in tenure("as-of", "entitlements.pools", "--json").json["kept"]] == [kept]
    assert "1 moment of entitlements.pools kept" in tenure("as-of", "entitlements.pools").out
    assert tenure("as-of", "entitlements.pools", "--drop", kept).code == 0 and schemas(pools) == [kept]
    assert tenure("as-of", "entitlements.pools", "--drop", kept, *YES).code == 0 and schemas(pools) == []
    assert tenure("as-of", "entitlements.pools", "--drop", kept, *YES).code == 5
    assert tenure("as-of", "entitlements.pools", "--position", "5000").code == 5
    assert tenure("as-of", "entitlements.pools", "--position", "1", "--time", "1h").code == 2
