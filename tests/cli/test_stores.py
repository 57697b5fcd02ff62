"""Verbs over real databases: what they find, what they change, what they leave behind."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli import operation
from shared.eventlog.repair.parked import FROM_STORE
from shared.eventlog.write.log import Log
from shared.events import AccountOpened, AgreementStarted
from shared.events.registry import MARKETPLACE
from tests.cli.conftest import Tenure
from tests.cli.stores import PUBLISHERS, YES, Stores, append, csn, fetch, operations, park
from tests.conftest import in_a_loop
from tests.contracts.golden import sample
from tests.examples.engine import new_id

pytestmark = pytest.mark.system


def test_a_stream_is_shown_with_its_states_and_its_personal_fields_sealed(tenure: Tenure, stores: Stores) -> None:
    opened = sample(AccountOpened).model_copy(update={"email": "enc:1:abc", "name": "enc:1:def"})
    append(stores["identity"], "identity", "account-1", opened)
    said = tenure("stream", "show", "account-1")
    assert said.code == 0
    assert "profile.email = enc:1:abc" in said.out or "opened.email = enc:1:abc" in said.out
    assert "1 event read from identity's store; the hash chain is intact." in said.out
    found = tenure("stream", "show", "account-1", "--json").json
    assert (found["chain"], found["events"][0]["state"]["is"]) == ("whole", "OpenedAccount")
    assert tenure("stream", "show", "account-1", "--at", "1h", "--json").json["events"] == []


def test_what_is_not_there_ends_with_4(tenure: Tenure, stores: Stores) -> None:
    assert tenure("stream", "show", "account-2").code == 4
    assert "No service has streams like" in tenure("stream", "show", "nothing-2").err
    said = tenure("why", new_id())
    assert said.code == 3 and "could not be searched" in said.err, "it may be a publisher's, and Kafka can't be asked"
    assert tenure("why", " ").code == tenure("why", "é").code == 2
    assert tenure("parked", "show", "12345678").code == 4
    assert tenure("erase", "nobody@x.example").code == 4
    assert tenure("replay", "identity", "--consumer", "identity.nothing").code == 4


def test_a_flipped_byte_is_seen(tenure: Tenure, stores: Stores) -> None:
    append(stores["marketplace"], "marketplace", "partner-1", csn(1), csn(2))
    fetch(stores["marketplace"], "update log.events set actor = 'somebody else' where version = 2")
    said = tenure("stream", "show", "partner-1")
    assert said.code == 1 and "version 2 does not match its hash" in said.out


def test_why_follows_an_event_over_the_stores(tenure: Tenure, stores: Stores) -> None:
    (first,) = append(stores["marketplace"], "marketplace", "partner-1", csn(1), cause="door:1", about="it")
    (effect,) = append(stores["entitlements"], "entitlements", "pool-1", csn(1), cause=first, about="it")
    append(stores["entitlements"], "entitlements", "pool-2", csn(1), cause="door:2", about="it")
    (last,) = append(stores["identity"], "identity", "account-1", csn(1), cause=effect, about="it")
    found = tenure("why", effect, "--json").json
    assert [each["id"] for each in found["events"]] == [first, effect, last]
    assert found["looked_at"] >= 4
    assert len(tenure("why", effect, "--all", "--json").json["events"]) == 4
    said = tenure("why", effect)
    assert "caused by the command door:1" in said.out and "<- asked" in said.out and "1 more of its" in said.out


def test_why_says_what_it_did_not_look_at(tenure: Tenure, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    about = [
        append(stores["marketplace"], "marketplace", f"partner-{n}", csn(n), cause="door:1", about="it")
        for n in range(3)
    ]
    whole = tenure("why", "door:1", "--json").json
    assert (len(whole["events"]), whole["looked_at"], whole["cut_off"]) == (3, 6, []), "for effects, and for relatives"
    assert "INCOMPLETE" not in tenure("why", "door:1").out
    monkeypatch.setattr("cli.event_search.MOST", 2)
    cut = tenure("why", "door:1", "--json").json
    assert [each["id"] for each in cut["events"]] == [each for (each,) in about[:2]]
    assert cut["looked_at"] == 4, "not the third"
    place = {"service": "marketplace", "taken": 2, "after": 2, "left": 1}
    assert cut["cut_off"] == [{**place, "about": "door:1"}, {**place, "about": "it"}]
    limit = "INCOMPLETE in marketplace's store: the limit of 2 events about door:1 was reached"
    line = f"{limit}; 1 event after position 2 not searched."
    assert line in " ".join(tenure("why", "door:1").out.split())

    monkeypatch.setattr("cli.event_search.MOST", 3)
    monkeypatch.setattr("cli.verbs.why._CORRELATIONS", 1)
    append(stores["identity"], "identity", "account-1", csn(1), cause="door:1", about="another")
    found = tenure("why", "door:1", "--json").json
    assert (len(found["events"]), found["cut_off"]) == (4, [])
    assert found["not_followed"] == {"correlations": 1, "publishers_events": 0}
    assert "INCOMPLETE: it has effects in 1 more correlation, which were not followed." in tenure("why", "door:1").out

    monkeypatch.setattr("cli.verbs.why._CROSSINGS", 0)
    envelope = {"about": "in-1", "cause": "in-1", "command": "marketplace.sales:urn:publisher:p#in-1:partner-9:0"}
    (effect,) = append(stores["marketplace"], "marketplace", "partner-9", csn(1), **envelope)
    assert tenure("why", effect, "--json").json["not_followed"] == {"correlations": 0, "publishers_events": 1}
    said = tenure("why", effect).out
    assert "INCOMPLETE: 1 more publisher event among its causes, not searched for." in said


def test_why_of_a_command_and_without_kafka(tenure: Tenure, stores: Stores) -> None:
    (first,) = append(stores["marketplace"], "marketplace", "partner-1", csn(1), cause="door:1", about="it")
    found = tenure("why", "door:1", "--json").json
    assert [each["id"] for each in found["events"]] == [first] and found["inbound"] is None
    envelope = {"about": "in-1", "cause": "in-1", "command": "marketplace.sales:urn:publisher:p#in-1:partner-2:0"}
    (effect,) = append(stores["marketplace"], "marketplace", "partner-2", csn(1), **envelope)
    (last,) = append(stores["identity"], "identity", "account-1", csn(1), cause=effect, about="in-1")
    for asked in ("in-1", last):
        found = tenure("why", asked, "--json")
        assert found.code == 0 and [each["id"] for each in found.json["events"]] == [effect, last]
        assert "Kafka at" in found.json["inbound"]["problem"]
        said = tenure("why", asked)
        assert "caused by in-1 of urn:publisher:p, which was not found" in said.out
        assert "publisher.inbound.v1* could not be searched: Kafka at" in said.out


def test_an_export_keeps_every_byte_and_hash(tenure: Tenure, stores: Stores, tmp_path: Path) -> None:
    append(stores["marketplace"], "marketplace", "partner-1", csn(1), csn(2), csn(3))
    file = tmp_path / "out.jsonl"
    assert tenure("export", "marketplace", "-o", str(file), "--from", "2", "--json").json["written"] == 2
    rows = fetch(
        stores["marketplace"], "select id, data::text, hash from log.events where position > 1 order by position"
    )
    for line, row in zip(file.read_text().splitlines(), rows, strict=True):
        event = json.loads(line)
        assert (event["id"], event["hash"]) == (str(row["id"]), row["hash"].hex())
        assert line.endswith(f',"data":{row["data"]}}}')
    assert tenure("export", "marketplace", "-o", str(file)).code == 5, "a file that is there is not written over"
    assert tenure("export", "marketplace", "--type", "Nothing").code == 4
    assert "2 events written, of 2 read, positions 1 to 2" in tenure("export", "marketplace", "--to", "2").err


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"source": "urn:tenure:identity"}, "only urn:publisher"),
        ({"data": {"csn": "1"}}, "organisation_id"),
        ({"type": "Nothing"}, "no event of this contract"),
        ({"time": "noon"}, "not a time"),
        ({"A b": "c"}, "is not a CloudEvents attribute"),
    ],
)
def test_a_file_with_one_bad_line_is_not_imported(
    tenure: Tenure, stores: Stores, tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text(f"{json.dumps(PUBLISHERS)}\n\n{json.dumps({**PUBLISHERS, **change})}\n")
    said = tenure("import", str(file), *YES)
    assert said.code == 5 and why in said.err and "1 line of 2 can't be imported, so nothing is imported" in said.err
    assert operations(stores["identity"]) == []


# ── Parked ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def parked(stores: Stores) -> str:
    in_a_loop(park(stores["entitlements"]))
    return stores["entitlements"]


def test_parked_events_are_listed_grouped_and_shown(tenure: Tenure, parked: str) -> None:
    (first,) = tenure("parked", "ls", "--json").json["parked"]
    assert (first["consumer"], first["stream"], first["behind"]) == ("entitlements.numbers", "partner-1", 2)
    (group,) = tenure("parked", "group", "--json").json["groups"]
    assert (group["records"], group["behind"], group["fingerprint"]) == (1, 2, first["fingerprint"])
    assert len(tenure("parked", "ls", "--behind", "--json").json["parked"]) == 3
    assert tenure("parked", "ls", "--group", "00000000", "--json").json == {"looked_at": 1, "parked": []}
    said = tenure("parked", "show", first["handle"])
    assert "KeyError: '5200'" in said.out and '"csn":"5200"' in said.out and "2 records" in said.out
    for verb in ("ls", "group"):
        said = tenure("parked", verb)
        assert said.code == 0 and max(map(len, said.out.splitlines())) <= 80


def test_a_retry_is_dry_by_default_and_then_done_and_recorded(tenure: Tenure, parked: str) -> None:
    said = tenure("parked", "retry", "--consumer", "entitlements.numbers")
    assert said.code == 0 and "3 of 3 records can be applied" in said.out and "nothing was changed" in said.out
    assert tenure("parked", "retry", "--consumer", "entitlements.numbers", "--yes").code == 2, "why?"
    assert operations(parked) == []
    done = tenure("parked", "retry", "--consumer", "entitlements.numbers", *YES, "--json")
    assert done.code == 0
    assert (done.json["ok"], done.json["still_parked"], done.json["retried"][0]["applied"]) == (True, 0, 3)
    begun, ended = operations(parked)
    assert (begun["outcome"], ended["outcome"]) == ("begun", "done")
    assert (ended["actor"], ended["reason"]) == ("operator:test", "a test")
    assert ended["verb"] == "parked retry" and "line=partner-1" in ended["arguments"]
    assert {row["operation"] for row in fetch(parked, "select operation from engine.settled")} == {
        done.json["operation"]
    }
    assert tenure("stream", "show", done.json["operation"]).code == 0
    assert "No parked record matches" in tenure("parked", "retry", "--consumer", "entitlements.numbers").out


def test_an_edited_record_is_what_its_consumer_gets(tenure: Tenure, parked: str, tmp_path: Path) -> None:
    handle = tenure("parked", "ls", "--json").json["parked"][0]["handle"]
    body = tmp_path / "body.json"
    body.write_bytes(csn(99).data())
    assert tenure("parked", "edit", handle, "--header", "ce_sequence=7", *YES).code == 5
    assert tenure("parked", "edit", handle, *YES).code == 2
    would = tenure("parked", "edit", handle, "--value", str(body), "--header", "ce_actor=me", "--json").json["changes"]
    assert would == ["  -ce_actor: a", "  +ce_actor: me", '  -  "csn": "5200",', '  +  "csn": "99",']
    assert tenure("parked", "edit", handle, "--value", str(body), *YES).code == 0
    assert tenure("parked", "retry", handle, *YES).code == 0
    rows = fetch(parked, "select outcome, value from engine.settled order by settled")
    assert [row["outcome"] for row in rows] == ["edited", "applied", "applied", "applied"]
    assert (rows[0]["value"], rows[1]["value"]) == (csn(5200).data(), csn(99).data())


def test_dropping_leaves_the_rest_waiting(tenure: Tenure, parked: str) -> None:
    handle = tenure("parked", "ls", "--json").json["parked"][0]["handle"]
    assert "2 records behind it would wait" in tenure("parked", "drop", handle).out
    assert tenure("parked", "drop", handle, *YES).code == 0
    assert tenure("parked", "ls", "--json").json["parked"][0]["version"] == 2
    assert [each["outcome"] for each in operations(parked)] == ["begun", "done"]


def test_a_replay_to_a_consumer_parks_copies_for_it_alone(tenure: Tenure, stores: Stores) -> None:
    append(stores["marketplace"], "marketplace", "partner-1", csn(1), csn(2), csn(3))
    arguments = ("replay", "marketplace", "--to", "2", "--consumer", "entitlements.numbers")
    assert "CsnIssued: 2 events" in tenure(*arguments).out
    assert tenure(*arguments, *YES, "--json").json["parked"] == 2
    assert tenure(*arguments, *YES, "--json").json["parked"] == 0
    rows = fetch(
        stores["entitlements"], 'select partition, "offset", holds_stream from engine.parked order by "offset"'
    )
    assert [tuple(row) for row in rows] == [(FROM_STORE, 1, False), (FROM_STORE, 2, False)]
    assert tenure("replay", "identity", "--consumer", "entitlements.numbers").code == 5
    assert tenure("replay", "identity").code == 2
    for topic in (MARKETPLACE, "publisher.outcomes.v1.autodesk"):
        assert tenure("replay", "marketplace", "--to-topic", topic).code == 5, "the services alone write there"


def test_a_retry_in_several_services_is_one_question_and_one_document(tenure: Tenure, stores: Stores) -> None:
    agreements = [AgreementStarted(contract_id="1", subscription_id=s, kind="desktop", product="p") for s in "ab"]
    append(stores["identity"], "identity", "contract-1", *agreements)
    services = ("entitlements", "marketplace")
    for service in services:
        assert tenure("replay", "identity", "--consumer", f"{service}.access", *YES).code == 0
    handles = [each["handle"] for each in tenure("parked", "ls", "--json").json["parked"]]
    dry = tenure("parked", "retry", *handles, "--json").json
    assert (dry["count"], dry["dry_run"], [each["service"] for each in dry["changes"]]) == (4, True, list(services))
    done = tenure("parked", "retry", *handles, *YES, "--json")
    assert (done.code, done.json["ok"], [each["count"] for each in done.json["changes"]]) == (0, True, [2, 2])
    for service in services:
        assert [each["outcome"] for each in operations(stores[service]) if each["verb"] == "parked retry"] == [
            "begun",
            "done",
        ]
        assert fetch(stores[service], "select count(*) from access_agreements")[0][0] == 2


def test_what_went_wrong_is_told_though_it_can_not_be_recorded(
    tenure: Tenure, stores: Stores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recorded = operation.record_step

    async def once(log: Log, name: str, actor: str, step: str, command: Any) -> None:
        if step == "end":
            raise ConnectionResetError("the database went away, too")
        await recorded(log, name, actor, step, command)

    monkeypatch.setattr(operation, "record_step", once)
    file = tmp_path / "in.jsonl"
    file.write_text(json.dumps(PUBLISHERS))
    said = tenure("import", str(file), *YES)
    assert said.code == 3 and "Kafka" in said.err and "could not be recorded" in said.err


def test_a_fault_of_its_own_has_a_code_of_its_own(
    tenure: Tenure, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stores
    monkeypatch.setattr("cli.verbs.transfer.span", None)
    said = tenure("export", "identity")
    assert said.code == 70 and "a bug in tenure" in said.err


def test_an_operation_that_fails_says_so_in_its_record(tenure: Tenure, stores: Stores, tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text(json.dumps(PUBLISHERS))
    said = tenure("import", str(file), *YES)
    assert said.code == 3 and "Kafka" in said.err and len(said.err.splitlines()) == 1
    begun, failed = operations(stores["identity"])
    assert (begun["outcome"], failed["outcome"]) == ("begun", "failed") and "Kafka" in failed["result"]


def test_timers_and_clocks(tenure: Tenure, stores: Stores) -> None:
    fetch(stores["entitlements"], "insert into engine.clocks values ('sand', 86400, 1)")
    timer = "insert into engine.timers values ('end', '{}', now() + interval '2 h', '{}', 'e', 'c')"
    for key, customer in (("k", "real"), ("k2", "sand")):
        fetch(stores["entitlements"], timer.format(key, customer))
    found = tenure("timers", "--json").json
    assert (found["looked_at"], [each["key"] for each in found["timers"]]) == (2, ["k2", "k"])
    assert [each["key"] for each in tenure("timers", "--due", "--json").json["timers"]] == ["k2"]
    assert tenure("timers", "--service", "nothing").code == 4
    said = tenure("clock", "show")
    assert said.code == 1 and "not in all services yet" in said.out
    assert "TENURE_TOKEN" in tenure("clock", "move", "2027-01-01").err


def test_erasing_without_a_token_says_what_there_is_and_how(tenure: Tenure, stores: Stores) -> None:
    append(stores["identity"], "identity", "account-1", sample(AccountOpened).model_copy(update={"account_id": "1"}))
    said = tenure("erase", "1")
    assert said.code == 0 and "personal fields of 1 event" in said.out and "POST /sessions" in said.err
    assert tenure("erase", "1", *YES).code == 2
    assert operations(stores["identity"]) == []


def test_status_tells_what_is_wrong_without_kafka_or_services(tenure: Tenure, parked: str) -> None:
    said = tenure("status", "--over", "0")
    assert said.code == 1 and max(map(len, said.out.splitlines()[:20])) <= 80
    for wrong in (
        "Kafka at 127.0.0.1:1 does not answer",
        "identity: service: no answer",
        "entitlements: 3 records parked",
    ):
        assert wrong in said.out, wrong


def test_refusals_are_found_over_the_services(tenure: Tenure, stores: Stores) -> None:
    command = "insert into log.commands values ('{}', '', 'contract-c', 0, 0, '{}', '2026-11-29T12:00:0{}Z')"
    refusal = json.dumps({"rule": "role-missing", "reason": "None.", "remedy": "Ask.", "because": ["e-1", ""]})
    for number, (service, id_) in enumerate((("identity", "mina:1"), ("marketplace", "marketplace.reactions:e:s:0"))):
        fetch(stores[service], command.format(id_, refusal, number))
    found = tenure("refusals", "ls", "--json").json["refusals"]
    assert [(each["service"], each["account_id"]) for each in found] == [("marketplace", None), ("identity", "mina")]
    assert len(tenure("refusals", "ls", "--account", "mina", "--json").json["refusals"]) == 1
    shown = tenure("refusals", "show", "mina:1")
    assert shown.code == 0 and "role-missing (403), by identity" in shown.out and "Because of: e-1" in shown.out
    assert tenure("refusals", "show", "mina:2").code == tenure("refusals", "ls", "--service", "nothing").code == 4
