"""The verbs that go through a service's door, on a running system: what they do, that they look again, who did it."""

import json
from datetime import UTC, datetime, timedelta
from secrets import token_hex

import pytest

from shared.events.envelope import stamp
from shared.services import SERVICES
from tests.cli.conftest import Said, Tenure, tenure  # noqa: F401  # the fixture
from tests.cli.stores import YES, fetch
from tests.system.people import invited, signed_up
from tests.system.running import System

pytestmark = pytest.mark.system


def assert_recorded(system: System, said: Said, verb: str, argument: str, looked_again: str) -> None:
    """Begun before and ended after it, by whom and why, with what the second look said."""
    dsn, operation = system.dsns()["identity"], said.json["operation"]
    rows = fetch(dsn, f"select type, data::text from log.events where stream = '{operation}' order by version")
    assert [row["type"] for row in rows] == ["OperationPerformed"] * 2
    begun, ended = (json.loads(row["data"]) for row in rows)
    assert (begun["outcome"], ended["outcome"]) == ("begun", "done")
    for each in (begun, ended):
        assert (each["verb"], each["actor"], each["reason"]) == (verb, "operator:test", "a test")
        assert argument in each["arguments"]
    assert looked_again in ended["result"]


def test_a_sandboxs_clock_is_moved_in_every_service(
    operated: System,
    tenure: Tenure,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    organisation = {"name": f"Sandbox {token_hex(4)}", "kind": "customer", "sandbox": True}
    somebody = signed_up(operated, {"organisation": organisation})
    monkeypatch.setenv("TENURE_TOKEN", somebody.token)

    def ahead() -> dict[str, int]:
        found: dict[str, int] = tenure("clock", "show", "--json").json["clocks"].get(somebody.organisation_id, {})
        return found

    for days in (30, 60):
        to, before = stamp(datetime.now(UTC) + timedelta(days=days)), ahead()
        dry = tenure("clock", "move", to)
        assert (
            dry.code == 0 and "in every service. It can't be moved back" in dry.out and "nothing was changed" in dry.out
        )
        assert ahead() == before
        done = tenure("clock", "move", to, *YES, "--json")
        assert (done.code, done.json["ok"], done.json["organisation"]) == (0, True, somebody.organisation_id)
        now = ahead()
        assert set(now) == set(SERVICES) and len(set(now.values())) == 1
        assert abs(now["identity"] - days * 86_400) < 60, "not the time before"
        looked = "Every service has the new time."
        assert_recorded(operated, done, "clock move", f"organisation={somebody.organisation_id}", looked)
    assert tenure("clock", "move", stamp(datetime.now(UTC)), *YES).code == 5, "forward only"


def test_a_person_is_erased_and_nobody_can_read_them_any_more(
    operated: System,
    tenure: Tenure,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    person = signed_up(operated, {"organisation": {"name": f"Leavers {token_hex(4)}", "kind": "customer"}})
    stranger = signed_up(operated, {"organisation": {"name": f"Strangers {token_hex(4)}", "kind": "customer"}})
    dsn = operated.dsns()["identity"]

    def readable() -> bool:
        key = f"select from person_keys where account_id = '{person.account_id}' and key is not null"
        return bool(fetch(dsn, key))

    monkeypatch.setenv("TENURE_TOKEN", stranger.token)
    said = tenure("erase", person.email, *YES)
    assert said.code == 5 and "operator-only" in said.err and readable()

    monkeypatch.setenv("TENURE_TOKEN", invited(operated, "operator", "Tenure").token)
    dry = tenure("erase", person.email, "--json").json
    assert (dry["account"], dry["count"], dry["dry_run"], dry["permitted"]) == (person.account_id, 1, True, True)
    assert readable()
    done = tenure("erase", person.email, *YES, "--json")
    assert (done.code, done.json["ok"], done.json["forgotten"]) == (0, True, True)
    assert not readable()
    last = f"select type from log.events where stream = 'account-{person.account_id}' order by version desc limit 1"
    assert [row["type"] for row in fetch(dsn, last)] == ["AccountClosed"]
    checked = "Checked: the account is closed, and its key is erased."
    assert_recorded(operated, done, "erase", f"account={person.account_id}", checked)
    said = tenure("erase", person.account_id, *YES)
    assert said.code == 0 and "already closed, and its personal data is already erased" in said.out
    assert person.email not in tenure("stream", "show", f"account-{person.account_id}").out
    operated.assert_sound()
