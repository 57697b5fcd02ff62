"""Who subscribes, by a token, a one-use ticket or a browser's session, and for how long."""

import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from services.console.doors import Refused, SessionOver, Unreachable
from services.console.visits import NotSignedIn, Visit
from shared import rules
from shared.events.identity import MachineScope
from shared.runtime.auth import Actor, TokenVerifier
from shared.runtime.endings import FollowedEndings
from shared.runtime.problems import Problem, busy, unavailable
from shared.runtime.scopes import Scopes, require_scope

SCOPE: Final[MachineScope] = "read"
"""The scope that a machine account needs."""
TICKET_S: Final = 30.0
TICKETS: Final = 10_000
STREAMS_OF_AN_ACCOUNT: Final = 20
"""How many streams, and waiting questions for pages, an account may have open in a process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """A caller, and until when the token is accepted."""

    actor: Actor
    token: str
    until: float

    @property
    def account(self) -> str:
        return self.actor.client_id or self.actor.account_id


class Callers:
    """The verification of subscribers, at the beginning and while they are served."""

    def __init__(self, verifier: TokenVerifier, endings: FollowedEndings) -> None:
        self._verifier, self._endings = verifier, endings
        self._tickets: OrderedDict[str, tuple[Subscriber, float]] = OrderedDict()
        self._open: Counter[str] = Counter()

    @property
    def streams(self) -> int:
        """The number of open streams."""
        return self._open.total()

    async def of(self, request: Request, ticket: str = "") -> Subscriber:
        """Return who asks.

        Raises:
            Problem: 401 without a valid token, ticket or session, 403 without the scope, 503 if that is unknown.
        """
        if ticket:
            return self._taken(ticket)
        authorization = request.headers.get("authorization")
        if authorization is None and request.headers.get("sec-fetch-site", "same-origin") == "same-origin":
            authorization = await _of_session(request)
        return await self.by(authorization)

    async def by(self, authorization: str | None, scopes: Scopes = (SCOPE,)) -> Subscriber:
        """Return who has this token. Raises Problem 401, 403 or 503."""
        actor = await self._verifier.actor(authorization)
        require_scope(actor, scopes)
        token = (authorization or "").partition(" ")[2]
        return Subscriber(actor=actor, token=token, until=self._verifier.accepted_until(token))

    def ticket_for(self, subscriber: Subscriber) -> str:
        """Return a new ticket, which begins one stream within TICKET_S.

        Raises:
            Problem: 503 if too many wait.
        """
        now = time.monotonic()
        while self._tickets and next(iter(self._tickets.values()))[1] < now:
            self._tickets.popitem(last=False)
        if len(self._tickets) >= TICKETS:
            raise busy("Too many tickets are waiting to be used.")
        ticket = secrets.token_urlsafe(24)
        self._tickets[ticket] = subscriber, now + TICKET_S
        return ticket

    def _taken(self, ticket: str) -> Subscriber:
        subscriber, until = self._tickets.pop(ticket, (None, 0.0))
        if subscriber is None or until < time.monotonic():
            raise Problem(
                rule=rules.NOT_SIGNED_IN,
                reason="The ticket was used already, has expired, or is another process's.",
                remedy="Ask for another one with your token (POST /live/tickets).",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        return subscriber

    def ended(self, subscriber: Subscriber) -> bool:
        """Return whether the token has expired, or its session is known to have ended."""
        return time.time() >= subscriber.until or self._endings.knows_of(subscriber.actor)

    async def still(self, subscriber: Subscriber) -> bool:
        """Return whether the token is still valid. Raises Problem 503 if that is unknown."""
        return time.time() < subscriber.until and await self._endings.good(subscriber.actor, subscriber.token)

    @contextmanager
    def admitted(self, subscriber: Subscriber) -> Iterator[None]:
        """Count a stream of the account while it is open. Raises Problem 429 if it has too many."""
        account = subscriber.account
        if self._open[account] >= STREAMS_OF_AN_ACCOUNT:
            raise Problem(
                rule=rules.TOO_MANY_REQUESTS,
                reason=f"{STREAMS_OF_AN_ACCOUNT} streams of this account are open already.",
                remedy="Close one, or share one between the parts of your program.",
                headers={"Retry-After": "5"},
            )
        self._open[account] += 1
        try:
            yield
        finally:
            self._open -= Counter([account])


async def _of_session(request: Request) -> str | None:
    """Return the token of the browser's session as a header's value; None without a session."""
    visit = await Visit.of(request)
    try:
        token = await visit.token()
    except (NotSignedIn, SessionOver):
        return None
    except (Refused, Unreachable) as fault:
        raise unavailable("identity can't renew the session now.") from fault
    request.state.visit = visit  # whose renewed session the answer has to keep
    return f"Bearer {token}"
