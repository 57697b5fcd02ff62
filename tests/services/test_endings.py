"""A service other than identity knows within a second which sessions have ended, or lets nobody in."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from aiokafka import AIOKafkaProducer

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.write.log import utc_now
from shared.events import (
    AccountClosed,
    Event,
    MachineRevoked,
    PeopleAdministratorRemoved,
    RoleRevoked,
    SessionEnded,
    SessionsEnded,
)
from shared.events.envelope import Envelope, Headers, StoredEvent, chained, source_of
from shared.events.registry import IDENTITY
from shared.runtime.auth import Actor
from shared.runtime.endings import ENDS, KEEP_S, Ended, FollowedEndings, IdentityQuery
from shared.runtime.problems import Problem
from tests.contracts.golden import sample
from tests.examples.engine import new_id
from tests.system import parts

WHO = Actor(
    account_id="account",
    organisation_id="organisation",
    organisation_kind="customer",
    session_id="session",
    client_id="machine",
    since=7,
)
ENDING: list[type[Event]] = [
    SessionEnded,
    SessionsEnded,
    AccountClosed,
    RoleRevoked,
    PeopleAdministratorRemoved,
    MachineRevoked,
]
NAMED = {"account_id": "account", "session_id": "session", "client_id": "machine"}


def naming(kind: type[Event], **ids: str) -> Event:
    made: Event = sample(kind)
    return made.model_copy(update={name: value for name, value in ids.items() if hasattr(made, name)})


@pytest.mark.parametrize("kind", ENDING)
def test_what_began_before_has_ended_and_what_began_after_has_not(kind: type[Event]) -> None:
    ended = Ended(60)
    ended.note(kind.type(), naming(kind, **NAMED).data(), 8, 0.0)
    assert ended.has(WHO)
    assert not ended.has(
        Actor(
            account_id="account",
            organisation_id="organisation",
            organisation_kind="customer",
            session_id="other",
            since=8,
        )
    )
    assert not ended.has(
        Actor(
            account_id="other",
            organisation_id="organisation",
            organisation_kind="customer",
            session_id="other",
            since=7,
        )
    )
    ended.note(kind.type(), naming(kind, **NAMED).data(), 3, 1.0)
    assert ended.has(WHO), "an older one that comes again changes nothing"


def test_what_ended_long_ago_is_forgotten() -> None:
    ended = Ended(60)
    for second in range(200):
        data = naming(SessionEnded, session_id=f"session-{second}").data()
        ended.note("SessionEnded", data, 8, float(second))
    assert len(ended._at) == 61
    assert ended.has(Actor(account_id="a", organisation_id="o", organisation_kind="customer", session_id="session-199"))


def test_only_these_events_end_sessions() -> None:
    assert set(ENDS) == {kind.type() for kind in ENDING}


class Identity:
    """What answers `GET /sessions/current`."""

    def __init__(self) -> None:
        self.status, self.asked = 200, 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/sessions/current" and request.headers["authorization"].startswith("Bearer ")
        self.asked += 1
        if not self.status:
            raise httpx.ConnectError("away")
        return httpx.Response(self.status)


def asking(identity: Identity, clock: Callable[[], float] = time.monotonic) -> IdentityQuery:
    made = IdentityQuery("http://identity", clock)
    made._client = httpx.AsyncClient(transport=httpx.MockTransport(identity))
    return made


async def test_identity_is_asked_once_a_second_about_a_token() -> None:
    now, identity = [0.0], Identity()
    ask = asking(identity, lambda: now[0])
    assert await asyncio.gather(*(ask("token") for _ in range(5))) == [True] * 5
    now[0] = 0.9
    assert await ask("token") and identity.asked == 1
    identity.status = 401
    now[0] = 1.0
    assert not await ask("token") and identity.asked == 2
    assert not await ask("another") and identity.asked == 3


@pytest.mark.parametrize("status", [0, 500, 503, 429, 302])
async def test_when_identity_does_not_say_nobody_is_let_in(status: int) -> None:
    identity = Identity()
    identity.status = status
    with pytest.raises(Problem) as refused:
        await asking(identity)("token")
    assert (refused.value.status, "Retry-After" in refused.value.headers) == (503, True)


@asynccontextmanager
async def following(access: KafkaAccess) -> AsyncIterator[tuple[FollowedEndings, Identity, list[float]]]:
    """Endings that follow Kafka, the identity that they ask, and by how much their clock is ahead."""
    ahead, identity = [0.0], Identity()
    endings = FollowedEndings(access, "http://identity", lambda: time.time() + ahead[0])
    endings._ask = asking(identity)
    task = asyncio.create_task(endings.run())
    try:
        yield endings, identity, ahead
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def caught_up(endings: FollowedEndings) -> None:
    for _ in range(1000):
        if endings._tail.seen_all(1.0):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("Kafka was not heard of for 20 s")


async def ends_within_a_second(endings: FollowedEndings, who: Actor) -> None:
    """Identity would still say that the session runs: only its event says that it does not."""
    async with asyncio.timeout(1):
        for _ in range(1000):
            if not await endings.good(who, "token"):
                return
            await asyncio.sleep(0.01)


def record(event: Event, position: int = 8) -> tuple[Headers, bytes, bytes]:
    stream = f"test-{new_id()}"
    envelope = Envelope(new_id(), source_of("identity"), event.type(), stream, utc_now(), 1, 1, position)
    stored = StoredEvent(envelope._replace(hash=chained(envelope, event.data())), event.data())
    return stored.headers(), stream.encode(), stored.data


async def publish(access: KafkaAccess, *records: tuple[Headers, bytes, bytes]) -> None:
    producer = AIOKafkaProducer(**access.client())
    await producer.start()
    try:
        for headers, key, value in records:
            await producer.send_and_wait(IDENTITY, value, key, headers=headers)
    finally:
        await producer.stop()


@pytest.mark.system
@pytest.mark.parametrize("kind", ENDING)
async def test_an_end_is_known_by_its_event_without_asking(kafka: parts.Kafka, kind: type[Event]) -> None:
    ids = {name: new_id() for name in NAMED}
    who = Actor(
        account_id=ids["account_id"],
        organisation_id="organisation",
        organisation_kind="customer",
        session_id=ids["session_id"],
        client_id=ids["client_id"],
        since=7,
    )
    async with following(kafka.access) as (endings, identity, _):
        await caught_up(endings)
        assert await endings.good(who, "token") and identity.asked == 0
        await publish(kafka.access, record(naming(kind, **ids)))
        await ends_within_a_second(endings, who)
    async with following(kafka.access) as (endings, identity, _):
        await caught_up(endings)
        assert not await endings.good(who, "token"), "nor does a process that has just started"


@pytest.mark.system
async def test_who_is_behind_asks_identity_and_lets_nobody_in_when_it_is_away(kafka: parts.Kafka) -> None:
    async with following(kafka.access) as (endings, identity, ahead):
        assert await endings.good(WHO, "one") and identity.asked == 1, "before Kafka has answered"
        await caught_up(endings)
        assert await endings.good(WHO, "two") and identity.asked == 1
        ahead[0] = 5.0
        assert await endings.good(WHO, "three") and identity.asked == 2, "Kafka was last heard of five seconds ago"
        identity.status = 401
        assert not await endings.good(WHO, "four")
        identity.status = 0
        with pytest.raises(Problem) as refused:
            await endings.good(WHO, "five")
        assert refused.value.status == 503


@pytest.mark.system
async def test_what_identity_did_not_write_ends_nothing_and_stops_nothing(kafka: parts.Kafka) -> None:
    ids = {name: new_id() for name in NAMED}
    who = Actor(
        account_id=ids["account_id"],
        organisation_id="organisation",
        organisation_kind="customer",
        session_id=ids["session_id"],
        client_id=ids["client_id"],
        since=7,
    )
    good, key, value = record(naming(SessionEnded, **ids))
    elsewhere = [(name, b"urn:publisher:autodesk" if name == "ce_source" else text) for name, text in good]
    nobody = [(name, text) for name, text in good if name != "ce_position"]
    async with following(kafka.access) as (endings, identity, _):
        await caught_up(endings)
        await publish(
            kafka.access,
            (elsewhere, key, value),
            (nobody, key, value),
            (good, key, b"{}"),
            (good, key, value.replace(b"session", b"sessiom")),
            ([("ce_type", b"\xff")], key, value),
            ([], key, value),
            ([("ce_type", b"SessionEnded")], key, value),
        )
        await asyncio.sleep(0.5)
        await caught_up(endings)
        assert await endings.good(who, "token") and identity.asked == 0
        await publish(kafka.access, (good, key, value))
        await ends_within_a_second(endings, who)


def test_an_ending_is_remembered_longer_than_any_token_that_it_ends() -> None:
    assert KEEP_S > 300 + 30
