"""Where a person exercises each rule: the tables of the console's README are true, and leave no command out."""

import re
from typing import Final

from deploy import ROOT
from services.console.app import AREAS, ENDS, OPEN, SIGN_UP_BY_PROVIDER
from tests.console.asked import every_request, unnamed
from tests.services.every_route import ROUTES

README: Final = (ROOT / "services" / "console" / "README.md").read_text()
SECTION: Final = README.partition("\n## Where a rule is used\n")[2].partition("\n## ")[0]
ROWS: Final = re.findall(r"^\| (?!rule \||---)(.+?) \| (.+?) \|$", SECTION, re.MULTILINE)
MACHINES: Final = "by machines: "

ACTING: Final = {unnamed(page.path) for area in AREAS for page in area.pages if page.act} | {
    unnamed(at) for at, *_ in (*OPEN, *SIGN_UP_BY_PROVIDER)
}
PAGES: Final = {unnamed(page.path) for area in AREAS for page in area.pages} | ACTING | {at for at, *_ in ENDS}
COMMANDS: Final = {(method, path) for _, method, path in ROUTES if method != "GET"}


def places(*, machines: bool) -> set[str]:
    """What the rows name in their second column, for people or for machines."""
    of_kind = (where for _, where in ROWS if where.startswith(MACHINES) == machines)
    return {name for where in of_kind for name in re.findall(r"`([^`]+)`", where)}


def test_every_rule_has_a_page_or_is_exercised_by_machines() -> None:
    assert len(ROWS) > 50
    assert [rule for rule, where in ROWS if "`" not in where] == []


def test_every_page_that_is_named_is_there() -> None:
    assert {unnamed(page) for page in places(machines=False)} - PAGES == set()


def test_every_page_with_a_form_is_named() -> None:
    assert ACTING - {unnamed(page) for page in places(machines=False)} == set()


def test_every_command_is_on_a_page_or_named_as_a_machines() -> None:
    asked = every_request()
    on_no_page = {
        f"{method} {path}"
        for service, method, path in ROUTES
        if method != "GET" and not any(each.may_be(service, method, path) for each in asked)
    }
    named = {each for each in places(machines=True) if " /" in each}
    assert on_no_page - named == set(), "commands that no person can give"
    assert named - {f"{method} {path}" for method, path in COMMANDS} == set(), "commands that no service has"
    assert named - on_no_page == set(), "commands that a page gives, too"
