"""Ended sessions, as every service knows them from identity's topic or from identity itself.

An access token is valid for minutes, and identity issues none for a session that has ended. So a service has to
remember only what ended within a token's lifetime: a follower of identity's topic keeps that in memory, beginning with
the records of the last minutes, and needs no table. By the partitions' high-water marks it knows whether it has read
everything. While it has not, or Kafka has not answered for a second, the service asks identity about the token. If that
fails too, the request is refused.
"""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

import httpx
import structlog

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.readers import Follower, names
from shared.eventlog.deliver.received import Raw
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
from shared.events.envelope import Unreadable, type_off_wire
from shared.events.registry import IDENTITY
from shared.runtime.auth import LEEWAY_S, TOKEN_S, Actor
from shared.runtime.clients import service_client
from shared.runtime.problems import Problem, unavailable

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
"""By event type, the field that names what ends: one session, or all earlier sessions of an account or machine account.

An account that loses a role, even by handing it over, has to sign in again.
"""
KEEP_S: Final = TOKEN_S + 2 * LEEWAY_S + 60.0
"""How long an ending is remembered: longer than any token that it ends would be accepted."""
FRESH_S: Final = 1.0
"""The greatest age of Kafka's last response, and of identity's answer about a token."""
ASK_S: Final = 2.0
"""The timeout of a request to identity."""
ASKED_TOKENS: Final = 10_000


class Ended:
    """The endings of the last `keep_s` seconds, by session, account or machine account."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._at: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """The position of the last ending of each id, and when it was noted."""

    def note(self, event_type: str, data: bytes, position: int, at: float) -> None:
        """Note an event of identity, at a time in seconds.

        Raises:
            ValueError, KeyError: the event does not name what ends.
        """
        self._note(str(json.loads(data)[ENDS[event_type]]), position, at)

    def _note(self, ended: str, position: int, at: float) -> None:
        before, _ = self._at.pop(ended, (0, 0.0))
        self._at[ended] = max(before, position), at
        while next(iter(self._at.values()))[1] < at - self._keep_s:
            self._at.popitem(last=False)

    def has(self, actor: Actor) -> bool:
        """Return whether the caller's session has ended."""
        nothing = (-1, 0.0)
        return any(
            self._at.get(id_, nothing)[0] > actor.since
            for id_ in (actor.session_id, actor.account_id, actor.client_id)
            if id_
        )


ENDINGS: Final = Follower(
    topics=(IDENTITY,),
    handlers=dict.fromkeys(ENDS, Ended.note),
    ignored=names(
        (
            *subjects.OPERATIONS,
            *subjects.AGREEMENTS,
            *subjects.INVITATIONS,
            *subjects.PREFERENCES,
            *subjects.PROOFS,
            *subjects.ROLE_REQUESTS,
            *subjects.WEBHOOKS,
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
"""The events of identity that end sessions, and those that do not."""


class FollowedEndings:
    """The endings in a service other than identity, from identity's topic."""

    def __init__(self, access: KafkaAccess, identity_url: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._ended = Ended(KEEP_S)
        self._ask = IdentityQuery(identity_url)
        # An event is published after it is decided, so each ending of the last KEEP_S seconds is among the records of
        # that time.
        self._tail = Tail(IDENTITY, access, KEEP_S, self.take, clock)

    async def good(self, actor: Actor, token: str) -> bool:
        """Return whether the caller's session still runs; see `Endings`.

        A known ending is final, however old that knowledge is.
        """
        if self._ended.has(actor):
            return False
        return self._tail.seen_all(FRESH_S) or await self._ask(token)

    def knows_of(self, actor: Actor) -> bool:
        """Return whether it is known that the caller's session has ended."""
        return self._ended.has(actor)

    async def run(self) -> None:
        """Follow the topic until cancelled."""
        await self._tail.run()

    def take(self, raw: Raw) -> None:
        """Note what a record of identity's topic ends."""
        kinds = [value for name, value in raw.headers if name == "ce_type"]
        if not any(kind is not None and type_off_wire(kind.decode("latin-1")) in ENDS for kind in kinds):
            return
        try:
            envelope, data = own_event(raw, "identity")
            self._ended.note(envelope.type, data, envelope.position or 0, self._clock())
        except (Unreadable, ValueError, KeyError, TypeError) as fault:
            # identity writes no such record, and the consumers of the topic park it.
            logger.warning(
                "ignoring an unreadable record that would end a session",
                topic=raw.topic,
                partition=raw.partition,
                offset=raw.offset,
                fault=repr(fault),
            )


class IdentityQuery:
    """Queries to identity about tokens, at most one a second about the same token."""

    def __init__(self, identity_url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._clock = f"{identity_url}/sessions/current", clock
        self._client: httpx.AsyncClient | None = None
        self._answers: dict[str, tuple[bool, float]] = {}
        self._asked: dict[str, asyncio.Task[bool]] = {}

    async def __call__(self, token: str) -> bool:
        """Return whether the token is still valid. Raises Problem 503 if identity does not answer."""
        answer = self._answers.get(token)
        if answer is not None and self._clock() < answer[1]:
            return answer[0]
        asked = self._asked.get(token)
        if asked is None:
            asked = self._asked[token] = asyncio.create_task(self._query(token))
            asked.add_done_callback(lambda _: self._asked.pop(token, None))
        return await asyncio.shield(asked)

    async def _query(self, token: str) -> bool:
        until = self._clock() + FRESH_S  # counted from before the request, because the answer may be that old
        if self._client is None:
            self._client = service_client(ASK_S)
        try:
            answer = await self._client.get(self._url, headers={"Authorization": f"Bearer {token}"})
        except httpx.HTTPError as fault:
            raise _unavailable() from fault
        if answer.status_code not in (200, 401):
            raise _unavailable()
        if len(self._answers) >= ASKED_TOKENS:
            self._answers.clear()
        self._answers[token] = answer.status_code == 200, until
        return answer.status_code == 200


def _unavailable() -> Problem:
    return unavailable(
        "The service can't check now whether the session has ended: Kafka and identity don't answer.", again_s=1
    )
