"""The same command by HTTP, in bulk, by the command line and by a page: the same events, and the same refusal.

Each door gets a person of its own in the same position, whose ids are left out of what is compared.
"""

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Final, Protocol

import httpx
import pytest

from services.console.forms import words_of
from services.console.texts import texts_for
from tests.cli.conftest import Tenure, tenure  # noqa: F401  # the fixture
from tests.cli.stores import fetch
from tests.system.people import PASSWORD
from tests.system.running import System
from tests.system.scene import Scene

pytestmark = pytest.mark.system

Told = tuple[str, str] | None
"""The rule and the reason of a refusal; None if the command was accepted."""
Fields = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command that every door has. `{…}` in its parts are what the scene and the person have."""

    service: str
    method: str
    path: str
    body: Mapping[str, Any] | None = None
    bulk: str
    """The path of its bulk form, whose items have the rest."""
    item: Mapping[str, Any]
    sent: str
    """The name that the command line has for it."""
    page: str
    entered: Fields
    stream: str
    by: str


SEAT: Final[Any] = {
    "service": "entitlements",
    "stream": "pool-{subscription_id}",
    "by": "seat coordinator",
}
ROLE: Final[Any] = {"service": "identity", "stream": "contract-{contract_id}", "by": "manager"}
CASES: Final = {
    "assign": Case(
        **SEAT,
        method="POST",
        path="/pools/{subscription_id}/seats",
        body={"email": "{email}"},
        bulk="/pools/{subscription_id}/seats/bulk",
        item={"email": "{email}"},
        sent="assign_seat",
        page="/seats/{subscription_id}/assign",
        entered={"email": "{email}"},
    ),
    "unassign": Case(
        **SEAT,
        method="DELETE",
        path="/pools/{subscription_id}/seats/{account_id}",
        bulk="/pools/{subscription_id}/seats/unassign/bulk",
        item={"account_id": "{account_id}"},
        sent="unassign_seat",
        page="/seats/{subscription_id}/holders/{account_id}",
        entered={"act": "take"},
    ),
    "name": Case(
        **ROLE,
        method="PUT",
        path="/contracts/{contract_id}/coordinators/{account_id}",
        body={"may_assign_seats": True},
        bulk="/contracts/{contract_id}/coordinators/bulk",
        item={"account_id": "{account_id}", "may_assign_seats": True},
        sent="name_coordinator",
        page="/contracts/{contract_id}/coordinators",
        entered={"email": "{email}", "may_assign_seats": "on"},
    ),
    "revoke": Case(
        **ROLE,
        method="DELETE",
        path="/contracts/{contract_id}/coordinators/{account_id}",
        bulk="/contracts/{contract_id}/coordinators/revoke/bulk",
        item={"account_id": "{account_id}"},
        sent="revoke_role",
        page="/contracts/{contract_id}/coordinators/{account_id}",
        entered={},
    ),
    "remove": Case(
        service="identity",
        stream="account-{account_id}",
        by="manager",
        method="DELETE",
        path="/people/{account_id}",
        bulk="/people/remove/bulk",
        item={"account_id": "{account_id}"},
        sent="remove_person",
        page="/people/{account_id}",
        entered={"act": "remove"},
    ),
}
UNDONE: Final = {"assign": "unassign", "name": "revoke"}
"""What makes the next door's position the same."""
REFUSED: Final = ("assign", "remove")
"""Those that a rule refuses for somebody of another organisation, alike by address and by id."""


class Door(Protocol):
    def __call__(self, case: Case, fields: Fields) -> Told: ...


def filled(part: Any, fields: Fields) -> Any:
    """The part of a case, with what the person and the scene have."""
    if isinstance(part, str):
        return part.format_map(fields)
    return {name: filled(each, fields) for name, each in part.items()} if isinstance(part, Mapping) else part


class Doors:
    """The four ways to send a command."""

    def __init__(self, scene: Scene, console: str, tenure: Tenure, patch: pytest.MonkeyPatch) -> None:  # noqa: F811
        self.scene, self._console, self._tenure, self._patch = scene, console, tenure, patch
        self._browsers: dict[str, httpx.Client] = {}

    def by_http(self, case: Case, fields: Fields) -> Told:
        answer = self._asked(case, case.method, filled(case.path, fields), filled(case.body, fields))
        return self._told(answer.status_code, answer.json())

    def in_bulk(self, case: Case, fields: Fields) -> Told:
        answer = self._asked(case, "POST", filled(case.bulk, fields), {"items": [filled(case.item, fields)]})
        assert answer.status_code == 200, answer.text
        (item,) = answer.json()["items"]
        return self._told(item["status"], item["answer"])

    def by_command_line(self, case: Case, fields: Fields) -> Told:
        self._patch.setenv("TENURE_TOKEN", self.scene.people[case.by].fresh())
        named = {name: fields[name] for name in re.findall(r"{(\w+)}", case.path)} | (filled(case.body, fields) or {})
        written = [f"{name}:={json.dumps(each)}" for name, each in named.items()]
        said = self._tenure("command", "send", case.sent, *written, "--yes", "--json")
        if said.code == 0:
            return None
        told = re.fullmatch(r"The service refused \(([\w-]+)\): (.*)", said.json["error"], re.DOTALL)
        assert told, said
        return told[1], told[2]

    def by_page(self, case: Case, fields: Fields, refused: Told = None) -> Told:
        """What was refused is said in the page's own words for the rule of the `refused` command."""
        browser, page = self._browser(case.by), filled(case.page, fields)
        asked = browser.post(page, data=_hidden(browser.get(page).text) | filled(case.entered, fields))
        if 'name="confirmed"' in asked.text:
            asked = browser.post(page, data=_hidden(asked.text))
        if asked.status_code == 303:
            return None
        assert asked.status_code in (404, 422), asked.text
        words = "" if refused is None else words_of(*refused, texts_for("en"))
        return refused if words and words in html.unescape(asked.text) else ("otherwise", asked.text)

    def _asked(self, case: Case, method: str, path: str, body: Any) -> httpx.Response:
        someone = self.scene.people[case.by]
        headers = {"Authorization": f"Bearer {someone.fresh()}", "Idempotency-Key": token_hex(8)}
        return someone.http[case.service].request(method, path, json=body, headers=headers)

    def _told(self, status: int, answer: dict[str, Any]) -> Told:
        return None if status < 400 else (answer["rule"], f"{answer['detail']} {answer['remedy']}".strip())

    def _browser(self, by: str) -> httpx.Client:
        """Somebody's browser, signed in."""
        if by not in self._browsers:
            browser = self._browsers[by] = httpx.Client(base_url=self._console, timeout=30)
            form = _hidden(browser.get("/sign-in").text)
            entered = {"email": self.scene.people[by].email, "password": PASSWORD}
            assert browser.post("/sign-in", data=form | entered).status_code == 303
        return self._browsers[by]


def _hidden(page: str) -> dict[str, str]:
    """The hidden fields of a page's form."""
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page)
    return {name: html.unescape(value) for name, value in found}


@pytest.fixture
def doors(
    scene: Scene,
    operated: System,
    console: str,
    tenure: Tenure,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Doors:
    return Doors(scene, console, tenure, monkeypatch)


def in_position(doors: Doors, running: System, case: str) -> dict[str, str]:
    """A new colleague whom the command is right for."""
    colleague = doors.scene.colleague(running)
    fields = {**doors.scene.ids, "account_id": colleague.session["account_id"], "email": colleague.email}
    before = {undoing: doing for doing, undoing in UNDONE.items()}.get(case)
    if before is not None:
        assert doors.by_http(CASES[before], fields) is None
    return fields


def appended(running: System, case: Case, fields: Fields, since: int) -> list[tuple[str, str]]:
    """The types and data of the stream's events after a version, without what is the person's own."""
    stream = filled(case.stream, fields)
    rows = fetch(
        running.dsns()[case.service],
        f"select type, data::text from log.events where stream = '{stream}' and version > {since} order by version",
    )
    return [(row["type"], anonymous(row["data"], fields)) for row in rows]


def anonymous(data: str, fields: Fields) -> str:
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z|enc:1:[^\"]+", "…", data.replace(fields["account_id"], "…"))


def version_of(running: System, case: Case, fields: Fields) -> int:
    stream = filled(case.stream, fields)
    found = fetch(running.dsns()[case.service], f"select max(version) as v from log.events where stream = '{stream}'")
    return int(found[0]["v"] or 0)


@pytest.mark.parametrize("name", CASES)
def test_every_door_brings_about_the_same_events(doors: Doors, running: System, name: str) -> None:
    case, seen = CASES[name], dict[str, list[tuple[str, str]]]()
    for door in (doors.by_http, doors.in_bulk, doors.by_command_line, doors.by_page):
        fields = in_position(doors, running, name)
        since = version_of(running, case, fields)
        assert door(case, fields) is None
        seen[door.__name__] = appended(running, case, fields, since)
        if name in UNDONE:
            assert doors.by_http(CASES[UNDONE[name]], fields) is None
    assert seen["by_http"] and all(events == seen["by_http"] for events in seen.values()), seen


@pytest.mark.parametrize("name", REFUSED)
def test_every_door_says_the_same_refusal(doors: Doors, running: System, name: str) -> None:
    stranger = doors.scene.strangers["another customer's"]
    fields = {**doors.scene.ids, "account_id": stranger.session["account_id"], "email": stranger.email}
    case = CASES[name]
    told = doors.by_http(case, fields)
    assert told is not None
    assert doors.in_bulk(case, fields) == told
    assert doors.by_command_line(case, fields) == told
    assert doors.by_page(case, fields, told) == told


def test_every_door_says_that_all_seats_are_assigned(doors: Doors, running: System) -> None:
    case, taken = CASES["assign"], list[Fields]()
    colleague = in_position(doors, running, "assign")
    while (told := doors.by_http(case, colleague)) is None:
        taken.append(colleague)
        colleague = in_position(doors, running, "assign")
    assert taken and doors.in_bulk(case, colleague) == told
    assert doors.by_command_line(case, colleague) == told
    assert doors.by_page(case, colleague, told) == told
    for each in taken:
        assert doors.by_http(CASES["unassign"], each) is None
