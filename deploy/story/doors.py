"""Clients of the running system: HTTP with tokens, and events on Kafka."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any, Final, TypeVar

import aiohttp
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from cloudevents.core.bindings.kafka import to_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from deploy.cast import PUBLISHER
from deploy.data import as_publisher
from services.distribution.domain.rules import UPDATE_NOT_AVAILABLE, USER_NOT_MANAGED
from services.entitlements.domain.rules import SEAT_NEEDED, USER_UNKNOWN
from services.marketplace.domain.rules import CONTRACT_MANAGER_ONLY, NOT_CONFIRMED, PARTNER_UNKNOWN, PURCHASER_UNKNOWN
from shared.eventlog.deliver.kafka import InvalidKafkaSettings, KafkaAccess
from shared.eventlog.deliver.received import receive
from shared.eventlog.deliver.records import raw_of
from shared.events.envelope import Envelope
from shared.events.registry import INBOUND, inbound_topic, topic_of
from shared.rules import AGREEMENT_MISSING, ROLE_MISSING, SEAT_RIGHT_MISSING, UNKNOWN
from shared.services import SERVICES, local_url, url_variable

T = TypeVar("T")
Json = dict[str, Any]

TOPICS: Final = (INBOUND, inbound_topic(PUBLISHER), *map(topic_of, SERVICES))
ZONE: Final = "Europe/Berlin"
"""Where everybody of the example, the story and the year is."""
PATIENCE_S: Final = 60.0
LATE: Final = frozenset(
    {
        UNKNOWN,
        ROLE_MISSING,
        SEAT_RIGHT_MISSING,
        AGREEMENT_MISSING,
        CONTRACT_MANAGER_ONLY,
        USER_UNKNOWN,
        PARTNER_UNKNOWN,
        PURCHASER_UNKNOWN,
        SEAT_NEEDED,
        USER_NOT_MANAGED,
        NOT_CONFIRMED,
        UPDATE_NOT_AVAILABLE,
    }
)
"""The rules by which a service refuses while it has not yet consumed another service's event: usually for milliseconds,
longer if a consumer's process was killed."""


class Wrong(Exception):
    """The system did not behave as expected."""


@dataclass(kw_only=True, slots=True)
class Person:
    """A person with an account and tokens."""

    name: str
    email: str
    password: str
    account_id: str = ""
    organisation_id: str = ""
    token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)

    def profile(self) -> Json:
        """Return what the person signs up with, but for the organisation."""
        return {
            "email": self.email,
            "password": self.password,
            "name": self.name,
            "country": "DE",
            "time_zone": ZONE,
            "locale": "en-GB",
        }

    def signed_in(self, session: Json) -> None:
        """Store the tokens and ids of a session's response."""
        self.token, self.refresh_token = session["access_token"], session["refresh_token"]
        self.account_id, self.organisation_id = session["account_id"], session["organisation_id"]


@dataclass(frozen=True, slots=True)
class Seen:
    """An event that was read from Kafka."""

    topic: str
    envelope: Envelope
    data: Json


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete HTTP response."""

    status_code: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(kw_only=True, slots=True)
class Doors:
    """Requests and events of one run, all with its correlation id."""

    run: str
    http: dict[str, aiohttp.ClientSession]
    producer: AIOKafkaProducer
    consumer: AIOKafkaConsumer
    kafka: KafkaAccess
    seen: list[Seen] = field(default_factory=list)
    known: set[tuple[str, str]] = field(default_factory=set)

    async def call(self, service: str, method: str, path: str, who: Person | None = None, body: Any = None) -> Reply:
        """Send a request and return the response.

        Without a response, or with 503, the request is repeated with the same Idempotency-Key, so that a command is
        executed once. A token that has expired is replaced.

        Raises:
            Wrong: The service does not answer within PATIENCE_S.
        """
        headers = {"X-Correlation-ID": self.run, "Idempotency-Key": token_hex(16)}
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            used = "" if who is None else who.token
            if used:
                headers["Authorization"] = f"Bearer {used}"
            try:
                async with self.http[service].request(method, path, json=body, headers=headers) as response:
                    answer = Reply(response.status, response.headers, await response.text())
            except (aiohttp.ClientError, TimeoutError) as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise Wrong(f"{service} does not answer at {addresses()[service]}: {error!r}") from error
            else:
                if answer.status_code == 401 and who is not None and await self._signed_in_again(who, used, deadline):
                    continue
                if answer.status_code != 503 or asyncio.get_running_loop().time() > deadline:
                    return answer
            await asyncio.sleep(0.25)

    async def _signed_in_again(self, who: Person, used: str, deadline: float) -> bool:
        """Replace a token that was refused, and return whether there is a new one.

        Repeats the request until the deadline, as identity may be busy when many sign in at once.
        """
        while who.token == used:
            answers = [await self._session(who, "/sessions/refresh", {"refresh_token": who.refresh_token})]
            if not answers[0]:
                answers.append(await self._session(who, "/sessions", {"email": who.email, "password": who.password}))
            if True in answers:
                break
            if None not in answers or asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.25)
        return True

    async def _session(self, who: Person, path: str, body: Json) -> bool | None:
        """Return whether identity issued a session; None if it did not answer."""
        with suppress(aiohttp.ClientError, TimeoutError):
            async with self.http["identity"].post(path, json=body) as response:
                if response.status == 200:
                    who.signed_in(await response.json())
                    return True
                return None if response.status == 503 else False
        return None

    async def ok(self, service: str, method: str, path: str, who: Person | None = None, body: Any = None) -> Json:
        """Return the body of a request that must succeed, repeated while the service is behind.

        Raises:
            Wrong: It was refused.
        """
        answer = await self._in_time(service, method, path, who, body)
        if answer.status_code >= 300:
            raise Wrong(f"{method} {path} should be accepted, but {answer.status_code}: {answer.text}")
        found: Json = answer.json()
        return found

    async def refused(self, service: str, method: str, path: str, who: Person | None, body: Any, *, rule: str) -> Json:
        """Return the problem of a request that must be refused by this rule.

        Repeats it while the service is behind.

        Raises:
            Wrong: It was accepted, or refused by another rule.
        """
        answer = await self._in_time(service, method, path, who, body, rule)
        if answer.status_code < 400 or "problem+json" not in answer.headers["content-type"]:
            raise Wrong(f"{method} {path} should be refused by {rule}, but {answer.status_code}: {answer.text}")
        problem: Json = answer.json()
        if problem.get("rule") != rule:
            raise Wrong(f"{method} {path} should be refused by {rule}, not by {problem.get('rule')}: {answer.text}")
        return problem

    async def _in_time(
        self, service: str, method: str, path: str, who: Person | None, body: Any, rule: str = ""
    ) -> Reply:
        """Repeat a request, up to PATIENCE_S, while a rule in LATE but not `rule` refuses it."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            answer = await self.call(service, method, path, who, body)
            if _rule(answer) not in LATE - {rule} or asyncio.get_running_loop().time() > deadline:
                return answer
            await asyncio.sleep(0.1)

    async def emit(self, publisher: str, event_type: str, data: Json) -> str:
        """Send an event as the publisher's system, with the CloudEvents SDK, and return its id."""
        attributes = {
            "type": event_type,
            "source": f"urn:publisher:{publisher}",
            "datacontenttype": "application/json",
            "time": datetime.now(UTC),
            "correlationid": self.run,
        }
        event = CloudEvent(attributes, data)
        message = to_binary(event, JSONFormat())
        await self.producer.send_and_wait(
            inbound_topic(publisher), message.value, headers=list(message.headers.items())
        )
        return str(event.get_id())

    async def events(self) -> list[Seen]:
        """Return this run's events on Kafka up to now, in order within each partition."""
        ends = await self.consumer.end_offsets(list(self.consumer.assignment()))
        while [partition for partition, end in ends.items() if await self.consumer.position(partition) < end]:
            for records in (await self.consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    envelope = receive(
                        raw_of(record), frozenset()
                    ).envelope  # None: a topic may hold what is no event of it
                    if (
                        envelope is not None
                        and envelope.correlation_id == self.run
                        and (record.topic, envelope.id) not in self.known
                    ):
                        self.known.add((record.topic, envelope.id))  # a topic may repeat an event, after a crash
                        self.seen.append(Seen(record.topic, envelope, json.loads(record.value)))
        return list(self.seen)


def _rule(answer: Reply) -> str:
    """Return the rule of a refusal, or ""."""
    if answer.status_code < 400 or "problem+json" not in answer.headers["content-type"]:
        return ""
    return str(answer.json().get("rule"))


async def eventually(
    look: Callable[[], Awaitable[T | None]],
    what: str,
    patience_s: float = PATIENCE_S,
    pause_s: float = 0.05,
    longest_pause_s: float = 0.05,
) -> T:
    """Call `look` until its result is not None, and return that.

    The pauses double, from `pause_s` to `longest_pause_s`.

    Raises:
        Wrong: It took longer than `patience_s`.
    """
    deadline = asyncio.get_running_loop().time() + patience_s
    while True:
        found = await look()
        if found is not None:
            return found
        if asyncio.get_running_loop().time() > deadline:
            raise Wrong(f"{what}: not seen within {patience_s:.0f} s")
        await asyncio.sleep(pause_s)
        pause_s = max(pause_s, min(2 * pause_s, longest_pause_s))


def addresses() -> Mapping[str, str]:
    return {name: os.environ.get(url_variable(name)) or local_url(name) for name in SERVICES}


@asynccontextmanager
async def open_doors(run: str) -> AsyncIterator[Doors]:
    """Connect to the running system that the environment names (see `make story`).

    Raises:
        Wrong: Kafka or a service does not answer.
    """
    try:
        access, publisher = KafkaAccess.from_environment(), as_publisher()
    except InvalidKafkaSettings as why:
        raise Wrong(str(why)) from None
    timeout = aiohttp.ClientTimeout(total=15)
    http = {name: aiohttp.ClientSession(url, timeout=timeout) for name, url in addresses().items()}
    producer = AIOKafkaProducer(**publisher.client(), acks="all", enable_idempotence=True)
    consumer = AIOKafkaConsumer(*TOPICS, **access.client(), enable_auto_commit=False)
    try:
        for name, client in http.items():
            await _answers(name, client)
        await producer.start()
        await consumer.start()
        await _from_now_on(consumer)
        yield Doors(run=run, http=http, producer=producer, consumer=consumer, kafka=access)
    except (KafkaError, OSError) as error:
        raise Wrong(f"Kafka does not answer at {access.bootstrap}: {error!r}. Is the system up? (make up)") from error
    finally:
        await producer.stop()
        with suppress(asyncio.CancelledError):  # raised by the idle task of a consumer without a group
            await consumer.stop()
        for client in http.values():
            await client.close()


async def _answers(name: str, client: aiohttp.ClientSession) -> None:
    try:
        async with client.get("/health"):
            pass
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Wrong(f"{name} does not answer at {addresses()[name]}. Is the system up? (make up)") from error


async def _from_now_on(consumer: AIOKafkaConsumer) -> None:
    """Seek to the current ends of all partitions."""
    for partition, offset in (await consumer.end_offsets(list(consumer.assignment()))).items():
        consumer.seek(partition, offset)
