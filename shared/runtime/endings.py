"""Which sessions have ended, as every service knows it: from identity's events, and when it is behind from identity.

An access token lives for minutes, and identity makes none for a session that has ended. So a service has to remember
only what ended within a token's lifetime: a follower of identity's topic keeps that in memory, from the records of the
last minutes on, and needs no table. It knows by the partitions' high-water marks whether it has read all there is.
While it has not, or Kafka has not answered for a second, the service asks identity about the token; and where that is
not possible either, nobody is let in.
"""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

import httpx
import structlog

from shared import rules
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.plan import Raw
from shared.eventlog.deliver.readers import Follower, names
from shared.eventlog.deliver.tail import Tail
from shared.eventlog.repair.chains import own_event
from shared.events import (
    AccountClosed,
    AccountOpened,
    ClockMoved,
    ContractOpened,
    MachineRegistered,
    MachineRevoked,
    MachineSecretRotated,
    PeopleAdministratorNamed,
    PeopleAdministratorRemoved,
    ProfileUpdated,
    RoleAssigned,
    RoleRevoked,
    SessionEnded,
    SessionsEnded,
    subjects,
)
from shared.events.envelope import Unreadable
from shared.events.registry import IDENTITY
from shared.runtime.auth import LEEWAY_S, TOKEN_S, Actor
from shared.runtime.problems import Problem

logger = structlog.get_logger(__name__)

ENDS: Final[Mapping[str, str]] = {
    event.type(): field
    for event, field in (
        (SessionEnded, "session_id"),
        (SessionsEnded, "account_id"),
        (AccountClosed, "account_id"),
        (RoleRevoked, "account_id"),
        (PeopleAdministratorRemoved, "account_id"),
        (MachineRevoked, "client_id"),
    )
}
"""By event type, the field that names whose sessions end with it: one session, or all of an account that began before.
Who loses a role, also by handing it over, signs in again."""
KEEP_S: Final = TOKEN_S + 2 * LEEWAY_S + 60.0
"""How long an ending is remembered: no token that it ends is accepted for longer."""
FRESH_S: Final = 1.0
"""How old the last answer of Kafka may be, and identity's about one token."""
ASK_S: Final = 2.0
"""How long identity is waited for."""
ASKED_TOKENS: Final = 10_000


class Ended:
    """The endings of the last `keep_s` seconds, by what ended."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._at: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """By session, account or machine account: the position of the last ending, and when it was noted."""

    def note(self, event_type: str, data: bytes, position: int, at: float) -> None:
        """Note an event of identity's at a time in seconds. Raises ValueError or KeyError when it names nobody."""
        self._note(str(json.loads(data)[ENDS[event_type]]), position, at)

    def _note(self, whose: str, position: int, at: float) -> None:
        before, _ = self._at.pop(whose, (0, 0.0))
        self._at[whose] = max(before, position), at
        while next(iter(self._at.values()))[1] < at - self._keep_s:
            self._at.popitem(last=False)

    def has(self, actor: Actor) -> bool:
        """Whether the caller's session is among them."""
        nothing = (-1, 0.0)
        return any(
            self._at.get(whose, nothing)[0] > actor.since
            for whose in (actor.session_id, actor.account_id, actor.client_id)
            if whose
        )


ENDINGS: Final = Follower(
    topics=(IDENTITY,),
    handlers=dict.fromkeys(ENDS, Ended.note),
    ignored=names(
        (
            *subjects.OPERATIONS,
            *subjects.AGREEMENTS,
            *subjects.INVITATIONS,
            *subjects.PROOFS,
            *subjects.ROLE_REQUESTS,
            AccountOpened,
            ClockMoved,
            ContractOpened,
            MachineRegistered,
            MachineSecretRotated,
            PeopleAdministratorNamed,
            ProfileUpdated,
            RoleAssigned,
        )
    ),
)
"""Which events of identity's end sessions, and which do not."""


class FollowedEndings:
    """The endings as a service other than identity knows them. `run` follows identity's topic until cancelled."""

    def __init__(self, access: KafkaAccess, identity_url: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._ended = Ended(KEEP_S)
        self._ask = IdentityQuery(identity_url)
        # An event is published later than it is decided: what matters is among the last records.
        self._tail = Tail(IDENTITY, access, KEEP_S, self.take, clock)

    async def good(self, actor: Actor, token: str) -> bool:
        """See `Endings`. What is known to have ended has ended, however old that knowledge is."""
        if self._ended.has(actor):
            return False
        return self._tail.seen_all(FRESH_S) or await self._ask(token)

    async def run(self) -> None:
        """Follow the topic until cancelled."""
        await self._tail.run()

    def take(self, raw: Raw) -> None:
        """Note what a record of identity's topic ends."""
        kinds = [value for name, value in raw.headers if name == "ce_type"]
        if not any(kind is not None and kind.decode("latin-1") in ENDS for kind in kinds):
            return
        try:
            envelope, data = own_event(raw, "identity")
            self._ended.note(envelope.type, data, envelope.position or 0, self._clock())
        except (Unreadable, ValueError, KeyError, TypeError) as fault:
            # identity writes no such record, and whoever consumes the topic parks it.
            logger.warning(
                "a record ends no session",
                topic=raw.topic,
                partition=raw.partition,
                offset=raw.offset,
                fault=repr(fault),
            )


class IdentityQuery:
    """Asks identity whether a token is still good, at most once a second about the same."""

    def __init__(self, identity_url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._clock = f"{identity_url}/sessions/current", clock
        self._client: httpx.AsyncClient | None = None
        self._answers: dict[str, tuple[bool, float]] = {}
        self._asked: dict[str, asyncio.Task[bool]] = {}

    async def __call__(self, token: str) -> bool:
        """Whether it is good. Raises Problem 503 when identity does not say."""
        answer = self._answers.get(token)
        if answer is not None and self._clock() < answer[1]:
            return answer[0]
        asked = self._asked.get(token)
        if asked is None:
            asked = self._asked[token] = asyncio.create_task(self._question(token))
            asked.add_done_callback(lambda _: self._asked.pop(token, None))
        return await asyncio.shield(asked)

    async def _question(self, token: str) -> bool:
        until = self._clock() + FRESH_S  # from before it is asked: the answer may be as old as that
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=ASK_S, trust_env=False)
        try:
            answer = await self._client.get(self._url, headers={"Authorization": f"Bearer {token}"})
        except httpx.HTTPError as fault:
            raise _nobody_says() from fault
        if answer.status_code not in (200, 401):
            raise _nobody_says()
        if len(self._answers) >= ASKED_TOKENS:
            self._answers.clear()
        self._answers[token] = answer.status_code == 200, until
        return answer.status_code == 200


def _nobody_says() -> Problem:
    return Problem(
        503,
        rule=rules.UNAVAILABLE,
        reason="Whether the session still runs can't be known now: neither Kafka nor identity answers.",
        remedy="Try again in a moment.",
        headers={"Retry-After": "1"},
    )
