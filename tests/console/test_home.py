"""Home: what waits for the person, asked of every area and said in the order of urgency."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx
import pytest

from services.console import app, doors
from services.console.areas import Area, Attention, Kind, Watch
from services.console.doors import Refused, Unreachable
from services.console.names import names_of
from services.console.visits import Visit
from shared.runtime.problems import ProblemDetails
from tests.console.fakes import Browser, Services, problem, words

CUSTOMERS: Final[frozenset[Kind]] = frozenset({"customer"})
ANA, BEN, GONE = (f"0190f3a0-0000-7000-8000-00000000000{number}" for number in (1, 2, 3))


def found(*waiting: Attention) -> Callable[[Visit], Awaitable[Sequence[Attention]]]:
    async def find(_: Visit) -> Sequence[Attention]:
        return waiting

    return find


def told(*waiting: Attention, kinds: frozenset[Kind] = CUSTOMERS) -> Watch:
    return Watch(find=found(*waiting), kinds=kinds)


async def forbidden(_: Visit) -> Sequence[Attention]:
    raise Refused(ProblemDetails(type="", title="", status=403, detail="No."))


async def silent(_: Visit) -> Sequence[Attention]:
    raise Unreachable("entitlements")


LATER = Attention(text="A seat is free.", path="/seats")
SOON = Attention(text="A request waits.", path="/contracts", urgent=True)


async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *watches: Watch) -> str:
    monkeypatch.setattr(app, "AREAS", (app.AREAS[0], Area(name="x", pages=(), watches=watches)))
    browser = Browser(Services(), tmp_path)
    await browser.sign_in()
    return (await browser.get("/")).text


async def test_what_is_urgent_is_said_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = await home(tmp_path, monkeypatch, told(LATER), told(SOON))
    assert "What needs you A request waits. A seat is free." in words(text) and '<a href="/seats">' in text


async def test_who_has_nothing_to_do_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Nothing waits for you." in words(await home(tmp_path, monkeypatch, told()))


async def test_what_a_person_may_not_see_is_not_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = words(await home(tmp_path, monkeypatch, Watch(find=forbidden, kinds=CUSTOMERS), told(LATER)))
    assert "A seat is free." in said and "looked up" not in said


async def test_what_can_not_be_looked_up_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = words(await home(tmp_path, monkeypatch, Watch(find=silent, kinds=CUSTOMERS), told(LATER)))
    assert "A seat is free." in said and "can't be looked up right now" in said


async def test_a_watch_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hanging(_: Visit) -> Sequence[Attention]:
        await asyncio.Event().wait()
        return ()

    monkeypatch.setattr(doors, "PART_S", 0.05)
    said = words(await home(tmp_path, monkeypatch, Watch(find=hanging, kinds=CUSTOMERS), told(LATER)))
    assert "A seat is free." in said and "can't be looked up right now" in said


async def test_a_watch_is_asked_for_its_kinds_of_organisation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = words(await home(tmp_path, monkeypatch, told(LATER, kinds=frozenset({"partner"}))))
    assert "A seat is free." not in said and "What needs you" not in said


# ── Administrators ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answer", "is_told"),
    [
        (httpx.Response(200, json={}), True),
        (problem(403, "people-not-shown"), False),
        (problem(404, "unknown"), True),
        (problem(503, "unavailable"), True),
    ],
)
async def test_what_administrators_see_to_is_not_said_to_a_plain_user(
    tmp_path: Path, answer: httpx.Response, *, is_told: bool
) -> None:
    watch = Watch(find=found(LATER), kinds=CUSTOMERS, administrators=True)
    browser = Browser(Services({"GET /people/a-1": answer}), tmp_path)
    browser.app.state.areas = (Area(name="x", pages=(), watches=(watch, Watch(find=found(SOON), kinds=CUSTOMERS))),)
    await browser.sign_in()
    said = words((await browser.get("/")).text)
    assert "A request waits." in said and ("A seat is free." in said) is is_told


# ── Names ──────────────────────────────────────────────────────────────────────────────────────────────


async def named(tmp_path: Path, services: Services, *wanted: str) -> list[tuple[str, str]]:
    """The names and addresses that a page of a visit shows for account ids."""
    shown: list[tuple[str, str]] = []

    async def find(visit: Visit) -> Sequence[Attention]:
        names = await names_of(visit, wanted)
        shown.extend((names[each].name, names[each].email) for each in wanted)
        return ()

    browser = Browser(services, tmp_path)
    browser.app.state.areas = (Area(name="x", pages=(), watches=(Watch(find=find, kinds=CUSTOMERS),)),)
    await browser.sign_in()
    await browser.get("/")
    return shown


def people(known: Mapping[str, tuple[str, str | None]]) -> Callable[[httpx.Request], httpx.Response]:
    """Identity, which knows these people by name and address."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)["account_ids"]
        items = [{"account_id": each, "name": known[each][0], "email": known[each][1]} for each in asked]
        return httpx.Response(200, json={"items": items})

    return answer


async def test_people_have_their_address_where_the_reader_may_see_it(tmp_path: Path) -> None:
    known = {ANA: ("Ana Sol", "ana@x.example"), BEN: ("Ben Low", None)}
    services = Services({"POST /accounts/names": people(known)})
    assert await named(tmp_path, services, ANA, BEN, ANA) == [
        ("Ana Sol", "ana@x.example"),
        ("Ben Low", ""),
        ("Ana Sol", "ana@x.example"),
    ]
    assert len(services.bodies("POST", "/accounts/names")) == 1


async def test_any_number_of_people_is_named_in_parts_that_identity_accepts(tmp_path: Path) -> None:
    known: dict[str, tuple[str, str | None]] = {
        f"0190f3a0-0000-7000-8000-{n:012}": (f"Person {n}", None) for n in range(450)
    }
    services = Services({"POST /accounts/names": people(known)})
    found = await named(tmp_path, services, *known)
    assert [name for name, _ in found] == [name for name, _ in known.values()]
    asked = services.bodies("POST", "/accounts/names")
    assert sorted(len(each["account_ids"]) for each in asked) == [50, 200, 200]


async def test_who_is_no_colleague_and_who_is_no_person_are_named_too(tmp_path: Path) -> None:
    found = await named(tmp_path, Services(), GONE, "marketplace", "a-1")
    assert [name for name, _ in found] == [
        "Somebody outside your organisation, or who has left",
        "The system",
        "Mina Okafor",
    ]
