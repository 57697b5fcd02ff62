"""Verbs against a real Kafka."""

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from cli import topics
from cli.place import SERVICES
from shared.events.registry import INBOUND, MARKETPLACE
from tests.cli.conftest import Tenure, in_a_loop
from tests.cli.test_stores import PUBLISHERS, YES, append, csn, fetch, operations
from tests.engine.test_host import Bench as _Bench  # noqa: F401  # the same Kafka, so the same tidiness about it
from tests.system import parts

pytestmark = pytest.mark.system


@pytest.fixture
def live(stores: Mapping[str, str], kafka: parts.Kafka, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", kafka.bootstrap)
    return stores


def send(bootstrap: str, topic: str, number: int) -> None:
    async def sent() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
        await producer.start()
        for _ in range(number):
            await producer.send_and_wait(topic, b"{}", partition=0)
        await producer.stop()

    in_a_loop(sent())


def test_topics_and_an_import_that_tail_then_shows(tenure: Tenure, live: Mapping[str, str], tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    ours = [{**PUBLISHERS, "id": f"cli-{n}", "subject": f"{n}"} for n in range(5)]
    file.write_text("".join(f"{json.dumps(each)}\n" for each in ours))
    before = {each["topic"]: each["records"] for each in tenure("topics", "--json").json["topics"]}
    assert len(before) == len(SERVICES) + 1
    assert "would get 5 CsnIssued events" in tenure("import", str(file)).out
    done = tenure("import", str(file), *YES, "--json")
    assert (done.code, done.json["sent"], done.json["ok"]) == (0, 5, True)
    after = {each["topic"]: each["records"] for each in tenure("topics", "--json").json["topics"]}
    assert after[INBOUND] - before[INBOUND] == 5
    assert [each["outcome"] for each in operations(live["identity"])] == ["begun", "done"]
    said = tenure("tail", INBOUND, "--no-follow", "--since", "1h", "--type", "CsnIssued", "--stream", "3", "--json")
    assert [json.loads(line)["id"] for line in said.out.splitlines()] == ["cli-3"]
    assert "showed 1" not in said.err, "--json is for a program"
    assert "showed 1." in tenure("tail", INBOUND, "--no-follow", "--since", "1h", "--stream", "3").err


def test_tail_shows_what_comes_by(
    tenure: Tenure, live: Mapping[str, str], kafka: parts.Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It follows until it is told to stop: here after the third record, as Ctrl-C would."""
    shown: list[Any] = []
    told = topics._told

    def stop_at_three(say: Any, record: Any, of: Any, data: bool) -> None:
        told(say, record, of, data)
        shown.append(record)
        if len(shown) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(topics, "_told", stop_at_three)
    later = threading.Timer(2, send, (kafka.bootstrap, INBOUND, 3))
    later.start()
    said = tenure("tail", INBOUND, "--last", "0")
    later.join()
    assert len(shown) == 3 and "can't be read" in said.out


def test_status_measures_a_lag_and_its_trend(tenure: Tenure, live: Mapping[str, str], kafka: parts.Kafka) -> None:
    send(kafka.bootstrap, MARKETPLACE, 4)
    (ends,) = (each["records"] for each in tenure("topics", "--json").json["topics"] if each["topic"] == MARKETPLACE)
    fetch(
        live["entitlements"],
        f"insert into log.checkpoints values ('entitlements.numbers', '{MARKETPLACE}', 0, -1, now())",
    )
    later = threading.Timer(1, send, (kafka.bootstrap, MARKETPLACE, 40))
    later.start()
    began = time.time()
    said = tenure("status", "--over", "4", "--json")
    later.join()
    assert said.code == 1, "no service runs"
    (lag,) = said.json["consumers"]
    assert 44 <= lag["lag"] <= ends + 40
    assert 0 < lag["lag_s"] < 3600 and lag["per_s"] > 0 and time.time() - began > 4


def test_a_replay_goes_to_a_topic_of_its_own(tenure: Tenure, live: Mapping[str, str]) -> None:
    append(live["marketplace"], "marketplace", "partner-1", csn(1), csn(2))
    said = tenure("replay", "marketplace", "--to-topic", "nobodys.topic", *YES)
    assert said.code == 4 and "none is made here" in said.err
