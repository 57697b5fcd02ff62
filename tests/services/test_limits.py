"""Limits: how often one account, address or source may ask, on a clock of the test's own."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import APIRouter
from pydantic import ValidationError

from shared.runtime.auth import TokenVerifier
from shared.runtime.http import make_app
from shared.runtime.limits import DEFAULTS, Limits, limited_by_source, network_of, parsed, source_of
from shared.runtime.metrics import Metrics
from shared.runtime.parts import Parts
from shared.runtime.problems import Problem
from shared.runtime.routes import CommandRoutes
from shared.runtime.settings import Settings
from tests.examples.engine import new_id
from tests.services.tokens import NothingEnded

QUERIES = APIRouter()


@QUERIES.post("/guess", dependencies=[limited_by_source("sign-in")])
async def guess() -> str:
    return "wrong"


async def _no_keys() -> object:
    return {"keys": []}


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def admitted(limits: Limits, asked: int, key: str = "192.0.2.1") -> int:
    """How many of so many requests pass."""
    passed = 0
    for _ in range(asked):
        try:
            limits.take("sign-in", key)
        except Problem:
            continue
        passed += 1
    return passed


def wait(limits: Limits, key: str = "192.0.2.1") -> int:
    """What Retry-After says to the next request."""
    with pytest.raises(Problem) as refused:
        limits.take("sign-in", key)
    assert (refused.value.status, refused.value.rule) == (429, "too-many-requests")
    return int(refused.value.headers["Retry-After"])


def test_a_limit_admits_what_it_says_and_counts_each_key_for_itself(clock: Clock) -> None:
    limits = Limits("sign-in=5/minute", clock=clock)
    assert (admitted(limits, 400), admitted(limits, 400, "192.0.2.2")) == (5, 5)


@pytest.mark.parametrize("into_the_window", [0, 7, 30, 59.5])
@pytest.mark.parametrize("later", [0, 40, 61])
def test_who_waits_as_told_is_admitted_and_not_a_second_earlier(
    clock: Clock, into_the_window: float, later: float
) -> None:
    limits = Limits("sign-in=5/minute", clock=clock)
    clock.now += into_the_window
    admitted(limits, 3)
    clock.now += later
    admitted(limits, 400)
    seconds = wait(limits)
    clock.now += seconds - 1.001
    assert admitted(limits, 1) == 0
    clock.now += 1.001
    assert admitted(limits, 1) == 1


def test_of_two_amounts_the_later_one_says_when_to_come_back(clock: Clock) -> None:
    limits = Limits("sign-in=5/minute; 8/hour", clock=clock)
    assert admitted(limits, 400) == 5
    clock.now += 120
    assert admitted(limits, 400) == 3
    assert wait(limits) > 60


def test_what_is_given_back_does_not_count(clock: Clock) -> None:
    limits = Limits("sign-in=5/minute", clock=clock)
    for _ in range(100):
        limits.take("sign-in", "192.0.2.1")
        limits.give_back("sign-in", "192.0.2.1")
    assert admitted(limits, 400) == 5


def test_the_counters_of_a_flood_of_keys_take_bounded_memory(clock: Clock) -> None:
    limits = Limits("sign-in=1/minute", clock=clock, keys_at_most=100)
    for number in range(1000):
        limits.take("sign-in", f"key {number}")
    assert admitted(limits, 1, "key 999") == 0, "what was asked last is still counted"
    assert admitted(limits, 1, "key 0") == 1, "what was asked first was forgotten"
    assert limits._counters.reset() == 100


def test_off_is_no_limit_and_the_others_stay_as_they_are(clock: Clock) -> None:
    limits = Limits("sign-in=off, dry-run = 2/second", clock=clock)
    assert admitted(limits, 10_000) == 10_000
    assert str(parsed("sign-in=off")["sign-up"]) == str(parsed("")["sign-up"])


@pytest.mark.parametrize(
    "text", ["sign-in", "sign-in=", "sign-in=5", "sign-in=0/minute", "sing-in=5/minute", "sign-in=5/fortnight", "off"]
)
def test_a_setting_that_says_no_limit_is_refused_at_the_start(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENURE_LIMITS", text)
    with pytest.raises(ValidationError, match="limit"):
        Settings()


def test_every_limit_has_a_default() -> None:
    assert set(parsed("")) == set(DEFAULTS)
    assert all(parsed("").values())


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a socket's path", "a socket's path"),
    ],
)
def test_a_source_is_an_ipv4_address_or_an_ipv6_network(host: str, counted: str) -> None:
    assert network_of(host) == counted
    assert source_of({"client": (host, 1)}) == counted
    assert source_of({"client": None}) == "unknown"


@pytest.fixture
async def client(clock: Clock) -> AsyncIterator[httpx.AsyncClient]:
    made = Parts(
        service="test",
        settings=Settings(),
        metrics=Metrics("test"),
        verifier=TokenVerifier(_no_keys, NothingEnded()),
        new_id=new_id,
    )
    made.limits = Limits("sign-in=5/minute", clock=clock, refused=made.metrics.limited)
    app = make_app(made, CommandRoutes(), QUERIES, api=True)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        yield http


async def test_over_http_a_limit_is_a_problem_that_says_when_to_come_back(client: httpx.AsyncClient) -> None:
    answers = [await client.post("/guess") for _ in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    last = answers[-1]
    assert last.headers["content-type"] == "application/problem+json"
    assert last.json()["rule"] == "too-many-requests"
    assert 1 <= int(last.headers["Retry-After"]) <= 61
    assert last.headers["Retry-After"] in last.json()["remedy"]
    page = (await client.get("/metrics")).text
    assert 'tenure_requests_limited_total{limit="sign-in",service_name="test"} 2.0' in page
