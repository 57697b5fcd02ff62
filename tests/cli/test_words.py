"""What a command prints, without a system: pure."""

import io
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from rich.console import Console

from cli import horizon
from cli.app import load_verbs
from cli.context import environment
from cli.event_search import FoundEvent, Outcome
from cli.exit_codes import MEANING, OWN_FAULT, USAGE
from cli.explain import explain
from cli.horizon import OpenTransaction
from cli.output import Output, count, duration, plain, size, time_of
from cli.verbs.status import Lag, ServiceStatus, faults, lags, show
from cli.verbs.streams import broken, differences, flat
from cli.verbs.topics import Filter
from cli.verbs.why import same_root, trees
from deploy import ROOT
from shared.eventlog.write.store import Head
from shared.events import Money
from shared.events.envelope import Envelope
from shared.runtime.settings import Settings
from tests.cli.conftest import Tenure
from tests.examples.engine import next_events

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59, "59 s"), (150, "2 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_a_duration_has_one_unit(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_numbers_are_for_people() -> None:
    assert (count(1, "event"), count(1204, "event")) == ("1 event", "1,204 events")
    assert (size(999), size(1_500), size(123_456_789), size(5e13)) == ("999 B", "1.5 kB", "123 MB", "50.0 TB")


def test_what_strangers_wrote_does_not_steer_the_terminal() -> None:
    assert plain("a\x1b[31mred\x07\u202eb") == "a\\x1b[31mred\\x07\\u202eb"


@pytest.mark.parametrize(("end", "shown"), [("\n", "\\n"), ("\r", "\\r"), ("\x85", "\\x85"), ("\u2028", "\\u2028")])
def test_what_strangers_wrote_begins_no_line(capsys: pytest.CaptureFixture[str], end: str, shown: str) -> None:
    """The type of a record may be `UpdatePublished\\nChecked: 0 records.`, and stands in the plan of a drop."""
    output = Output()
    output.line(f"a{end}b")
    output.table(("type",), [(f"a{end}b",)])
    output.fields([("type", f"a{end}b")])
    assert capsys.readouterr().out.split() == [f"a{shown}b", "type", f"a{shown}b", "type", f"a{shown}b"]


def test_only_what_is_set_is_called_a_setting() -> None:
    """An answer of a service that can't be read would send the operator to the environment."""
    with pytest.raises(ValidationError) as of_settings:
        Settings(connections=0)
    with pytest.raises(ValidationError) as of_an_answer:
        Money.model_validate({"amount": 1})
    said, code = explain(of_settings.value)
    assert (said.startswith("A setting in the environment is invalid: "), code) == (True, USAGE)
    said, code = explain(of_an_answer.value)
    assert (said.startswith("This is a bug in tenure (ValidationError: "), code) == (True, OWN_FAULT)


def test_a_time_is_read_as_it_is_typed() -> None:
    assert time_of("2026-11-21", NOON) == datetime(2026, 11, 21, tzinfo=UTC)
    assert time_of("2026-11-21T13:00:00+01:00") == NOON
    assert time_of("90m", NOON) == NOON - timedelta(minutes=90)
    with pytest.raises(ValueError, match="is not a time"):
        time_of("noon")


def said(width: int = 80) -> tuple[Output, io.StringIO]:
    out = io.StringIO()
    output = Output(out=out)
    output.out = Console(file=out, width=width, no_color=True, force_terminal=True, highlight=False, markup=False)
    return output, out


LOG = {
    "head": 41_207,
    "relayed": 41_100,
    "relay_behind_s": 1.5,
    "led": True,
    "parked": 2,
    "timers": 9,
    "due": 1,
    "bytes": 8_400_000,
    "fenced": None,
}


def test_status_is_readable_at_80_columns_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    output, out = said()
    opened = [
        OpenTransaction(
            pid=4711,
            application="psql",
            user="ops",
            state="idle in transaction",
            age_s=150.0,
            state_s=140.0,
            head=True,
            blocks=2,
            waits_s=7.5,
        )
    ]
    seen = [
        ServiceStatus(
            service="entitlements",
            waiting={"consumers": "connecting to Kafka"},
            log=LOG,
            checkpoints=(),
            transactions=opened,
        ),
        ServiceStatus(
            service="distribution",
            waiting={"service": "gone"},
            log={**LOG, "head": 12_345_678, "relayed": 12_345_571},
            checkpoints=(),
            transactions=opened,
        ),
        ServiceStatus(service="identity", waiting={}, log=None, fault="gone"),
    ]
    show(
        output,
        seen,
        [Lag(consumer="distribution.availability", events=1_234_567, parked=3, seconds=421.0, per_s=-1_520.4)],
        None,
    )
    for fault in faults(seen, "Kafka does not answer"):
        output.line(fault)
    assert not re.search(r"\x1b\[[0-9;]*[349][0-9]", out.getvalue()), "no colours"
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert max(map(len, text.splitlines())) <= 80
    for word in (
        "41,207",
        "107 (1.5 s)",
        "1 of 9",
        "1,234,567",
        "7 min",
        "falling 1,520/s",
        "not ready",
        "8.4 MB",
        "held",
        "2 min",
        "pid 4711, user ops",
    ):
        assert word in text, word


def test_a_lag_counts_what_is_still_there() -> None:
    rows: list[Mapping[str, Any]] = [
        {"consumer": "a.b", "topic": "t", "partition": n, "offset": offset, "parked": 4}
        for n, offset in enumerate((-1, 99, 5))
    ]
    (lag,) = lags(rows, {("t", 0): 10, ("t", 1): 100, ("t", 2): 20}, {("t", 0): 3, ("t", 2): 0})
    assert (lag.events, lag.parked, lag.next) == (7 + 14, 4, {("t", 0): 3, ("t", 2): 6})
    assert (
        Lag(consumer="x", events=5, parked=0, per_s=3).trend,
        Lag(consumer="x", events=5, parked=0).trend,
        Lag(consumer="x", events=0, parked=0).trend,
    ) == ("growing 3/s", "steady", "")


def test_all_is_well_only_when_it_is() -> None:
    well = {**LOG, "parked": 0}
    assert faults([ServiceStatus(service="identity", waiting={}, log=well)], None) == []
    assert "2 records parked" in faults([ServiceStatus(service="identity", waiting={}, log=LOG)], None)[0]
    assert (
        "takes no commands: why"
        in faults([ServiceStatus(service="identity", waiting={}, log={**well, "fenced": "why"})], None)[0]
    )
    assert (
        "no running relay"
        in faults([ServiceStatus(service="identity", waiting={}, log={**well, "led": False})], None)[0]
    )


@pytest.mark.parametrize(
    ("blocks", "waits_s", "state", "state_s", "said"),
    [
        (1, 5.1, "active", 9.0, True),
        (1, 4.9, "active", 90.0, False),
        (0, 0.0, "idle in transaction", 90.0, False),
        (1, 0.1, "idle in transaction", 6.0, True),
        (1, 0.1, "idle in transaction (aborted)", 4.0, False),
    ],
)
def test_who_keeps_appends_waiting_is_named_after_five_seconds(
    blocks: int, waits_s: float, state: str, state_s: float, said: bool
) -> None:
    opened = [
        OpenTransaction(
            pid=4711,
            application="",
            user="ops",
            state=state,
            age_s=100.0,
            state_s=state_s,
            head=True,
            blocks=blocks,
            waits_s=waits_s,
        )
    ]
    found = horizon.faults("identity", opened)
    assert bool(found) == said
    for line in found:
        assert "1 append waiting" in line and f"{state} for" in line and "pg_terminate_backend(4711)" in line
    assert (horizon.oldest_age(opened), horizon.oldest_age(())) == ("2 min", "")


def test_a_state_is_told_by_what_changed() -> None:
    before = flat({"is": "OpenTransaction", "seats": [1, 2], "lines": [{"n": 1}], "plan": {"price": 3}})
    after = flat({"is": "Closed", "seats": [1], "lines": [{"n": 1}, {"n": 2}]})
    assert [str(each) for each in differences(before, after)] == [
        "is = Closed",
        "seats = [1]",
        "lines[1].n = 2",
        "plan.price removed",
    ]


def test_a_broken_chain_is_named() -> None:
    events = next_events("a", Head(), 3)
    assert broken(events) is None
    assert broken([events[0], events[2]]) == "version 3 does not continue version 1"
    assert broken([events[0], events[1]._replace(data=b'{"n": 2}'), events[2]]) == "version 2 does not match its hash"


def event(name: str, cause: str, after_s: float = 0) -> FoundEvent:
    envelope = Envelope(name, "s", name.upper(), "stream", NOON + timedelta(seconds=after_s), 1, 1, 1, "c", cause)
    return FoundEvent("identity", envelope, b"{}")


def test_why_tells_one_cause_and_its_effects() -> None:
    found = [event("a", "door:1"), event("b", "a", 1), event("c", "b", 2), event("d", "door:2", 3), event("e", "b", 4)]
    shown = same_root(found, found[2])
    assert [each.envelope.id for each in shown] == ["a", "b", "c", "e"]
    out = io.StringIO()
    for tree in trees(shown, {"c"}):
        Console(file=out, width=80, no_color=True).print(tree)
    assert "caused by the command door:1" in out.getvalue()
    assert [word for line in out.getvalue().splitlines() for word in line.split() if word in "ABCE"] == list("ABCE")
    assert "C  identity +2.0 s  <- asked" in out.getvalue()


def foreign(name: str, source: str, cause: str = "", after_s: float = 0) -> FoundEvent:
    envelope = Envelope(name, source, name.upper(), "subject", NOON + timedelta(seconds=after_s), causation_id=cause)
    return FoundEvent("", envelope, b"{}", "publisher.inbound.v1/2/7")


def followed(name: str, cause: str, source: str, after_s: float) -> FoundEvent:
    """As a reaction of ours to a publisher's event."""
    found = event(name, cause, after_s)
    return found._replace(
        envelope=found.envelope._replace(command_id=f"marketplace.sales:{source}#{cause}:partner-1:0")
    )


def test_why_begins_with_the_publishers_event_and_goes_through_its_answers() -> None:
    """Two publishers have an event of the same id; one of them answers an event of ours."""
    one, other = "urn:publisher:one", "urn:publisher:other"
    found = [
        foreign("x", one),
        foreign("x", other),
        followed("a", "x", one, 1),
        followed("b", "x", other, 2),
        event("c", "a", 3),
        foreign("y", one, "c", 4),
        followed("d", "y", one, 5),
    ]
    assert (found[2].cause, found[3].cause) == (f"{one}#x", f"{other}#x")
    assert [each.envelope.id for each in same_root(found, found[6])] == ["x", "a", "c", "y", "d"]
    assert [each.key for each in same_root(found, found[1])] == [f"{other}#x", "b"]
    assert same_root(found, *found[:2]) == found
    out = io.StringIO()
    shown = trees(same_root(found, found[6]), {"d"})
    assert len(shown) == 1
    Console(file=out, width=80, no_color=True).print(shown[0])
    lines = [line.strip(" │└├─") for line in out.getvalue().splitlines()]
    assert lines[:3] == [f"X  from {one}  2026-11-21 12:00:00Z", "x in publisher.inbound.v1/2/7", "A  identity +1.0 s"]
    assert f"Y  from {one}  2026-11-21 12:00:04Z" in lines and "D  identity +5.0 s  <- asked" in lines
    (lost,) = trees([found[2]], set())
    assert str(lost.label) == f"caused by x of {one}, which was not found"


def test_why_says_what_became_of_a_publishers_event() -> None:
    rejected = Outcome("marketplace", "rejected", "not-confirmed", "It waits for `nobody`.", "Wait.", NOON)
    accepted = Outcome("distribution", "accepted", "", "", "", NOON)
    one = foreign("x", "urn:publisher:one")
    for outcomes, said in (
        (None, []),
        ([], ["no service has answered it"]),
        ([accepted], ["accepted by distribution 2026-11-21 12:00:00Z"]),
        ([rejected], ["rejected by marketplace 2026-11-21 12:00:00Z, not-confirmed: It waits for `nobody`."]),
    ):
        (tree,) = trees([one._replace(outcomes=outcomes)], set())
        assert str(tree.label).splitlines()[2:] == said


def test_a_filter_takes_what_all_of_its_parts_take() -> None:
    envelope = event("a", "").envelope
    assert Filter().matches(envelope)
    assert Filter(types=frozenset({"A"}), since=NOON, until=NOON).matches(envelope)
    assert not Filter(types=frozenset({"A"}), tenant="somebody").matches(envelope)
    assert not Filter(since=NOON + timedelta(seconds=1)).matches(envelope)


def test_a_running_systems_addresses_complete_the_environment(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    lines = [
        "DATABASE_URL=${DATABASE_URL:-'postgresql://u:p@h:1'}",
        "KAFKA_BOOTSTRAP=${KAFKA_BOOTSTRAP:-h:2}",
        "X=${X:-y}",
    ]
    (tmp_path / "run" / "addresses.env").write_text("".join(f"export {line}\n" for line in lines))
    found = environment({"TENURE_STATE": str(tmp_path), "KAFKA_BOOTSTRAP": "other:3"})
    assert found == {"DATABASE_URL": "postgresql://u:p@h:1", "KAFKA_BOOTSTRAP": "other:3"}
    assert environment({"TENURE_STATE": str(tmp_path / "nowhere")}) == {}


def test_who_one_is_at_this_machines_kafka_is_not_told_to_another(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "addresses.env").write_text(
        "export KAFKA_BOOTSTRAP=${KAFKA_BOOTSTRAP:-h:2}\nexport KAFKA_USERNAME=${KAFKA_USERNAME:-operator}\n"
    )
    state = {"TENURE_STATE": str(tmp_path)}
    assert environment(state) == {"KAFKA_BOOTSTRAP": "h:2", "KAFKA_USERNAME": "operator"}
    assert environment({**state, "KAFKA_BOOTSTRAP": "other:3"}) == {"KAFKA_BOOTSTRAP": "other:3"}


def test_help_tells_the_exit_codes_and_the_readme_the_same(tenure: Tenure) -> None:
    said = tenure("--help")
    assert said.code == 0
    assert max(map(len, said.out.splitlines())) <= 80
    readme = (ROOT / "cli" / "README.md").read_text()
    for code, meaning in MEANING.items():
        assert f"{code}:" in said.out
        assert f"| {code} | {meaning} |" in readme


def test_every_verb_stands_in_the_readme_and_answers_in_json(tenure: Tenure) -> None:
    readme = (ROOT / "cli" / "README.md").read_text()
    for verb in verbs():
        name = " ".join(verb)
        assert re.search(rf"`{name}[` ]", readme), f"cli/README.md has no row of its table for `{name}`"
        assert "--json" in tenure(*verb, "--help").out, verb


def test_every_module_of_verbs_declares_some() -> None:
    for module in sorted((ROOT / "cli" / "verbs").glob("[!_]*.py")):
        assert re.search(r"^@(verb|change)\(", module.read_text(), re.MULTILINE), module.name


CHANGES = ("parked retry", "mail drop", "keys rotate", "checkpoint set", "rebuild", "restore store", "import", "erase")


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_asks_for_consent_and_the_rest_does_not(tenure: Tenure, name: str) -> None:
    said = tenure(*name.split(), "--help").out
    assert all(option in said for option in ("--yes", "--reason", "--actor", "--json"))
    assert "--yes" not in tenure("status", "--help").out


def test_help_says_when_a_verb_ends_with_1(tenure: Tenure) -> None:
    assert "The exit code is 1 if a topic is missing." in tenure("topics", "--help").out


def verbs() -> list[tuple[str, ...]]:
    """Every verb there is, by what --help lists."""
    alone = [(info.name or "",) for info in load_verbs().registered_commands]
    groups = [(group.name or "", group.typer_instance) for group in load_verbs().registered_groups]
    return [*alone, *((name, info.name or "") for name, group in groups if group for info in group.registered_commands)]


@pytest.mark.parametrize("arguments", [("topics", "--bogus"), ("nothing",), ("tail", "--since", "noon")])
def test_a_wrong_command_line_ends_with_2(tenure: Tenure, arguments: tuple[str, ...]) -> None:
    said = tenure(*arguments)
    assert said.code == 2 and "Traceback" not in said.err


def test_an_unreachable_database_is_one_sentence(tenure: Tenure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1")
    said = tenure("timers")
    assert said.code == 3
    assert len(said.err.splitlines()) == 1 and "PostgreSQL can't be reached" in said.err
    said = tenure("timers", "--json")
    assert (said.code, said.json["code"]) == (3, 3)


def test_shells_can_complete_it(tenure: Tenure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/bash")
    monkeypatch.setenv("_TENURE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "tenure sta")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert tenure().out.split() == ["status"]
