"""Who the client is: tokens, which are renewed before they end."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

from tenure_client.answers import refused

_EARLY_S = 30.0


class Credentials(Protocol):
    """A source of access tokens. It is used by several threads."""

    def token(self, http: httpx.Client, identity: str, *, renew: bool) -> str:
        """Return a token that is accepted now; a new one if `renew`.

        Raises:
            Refused: Tenure gives none.
            httpx.HTTPError: Tenure does not answer.
        """


@dataclass(frozen=True, slots=True)
class Token:
    """An access token that somebody else renews."""

    value: str = field(repr=False)

    def token(self, *_: object, renew: bool) -> str:
        """Return the token; there is no other, so that a `renew` is in vain."""
        del renew
        return self.value


class _Renewed(ABC):
    """A token that is asked for when it is needed, and again before it ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._token, self._until = "", 0.0

    def token(self, http: httpx.Client, identity: str, *, renew: bool) -> str:
        with self._lock:
            if renew or time.monotonic() >= self._until:
                asked = time.monotonic()
                answer = self._ask(http, identity)
                self._token = answer["access_token"]
                lifetime = float(answer["expires_in"])
                self._until = asked + max(lifetime - _EARLY_S, lifetime / 2)
            return self._token

    @abstractmethod
    def _ask(self, http: httpx.Client, identity: str) -> Mapping[str, Any]:
        """Return the answer with a new token. Raises Refused or httpx.HTTPError."""


def _json(answer: httpx.Response) -> dict[str, Any]:
    """Return an answer's body.

    Raises:
        Refused: It was refused.
        httpx.HTTPStatusError: It may be asked again.
    """
    if answer.is_client_error and answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
        raise refused(answer)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


class Machine(_Renewed):
    """A machine account."""

    def __init__(self, client_id: str, client_secret: str) -> None:
        super().__init__()
        self._form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}

    def _ask(self, http: httpx.Client, identity: str) -> Mapping[str, Any]:
        return _json(http.post(f"{identity}/oauth/token", data=self._form))


class Person(_Renewed):
    """A person, by e-mail address and password. The session is renewed, not begun again."""

    def __init__(self, email: str, password: str) -> None:
        super().__init__()
        self._form, self._refresh = {"email": email, "password": password}, ""

    def _ask(self, http: httpx.Client, identity: str) -> Mapping[str, Any]:
        used, self._refresh = self._refresh, ""
        if used:
            answer = http.post(f"{identity}/sessions/refresh", json={"refresh_token": used})
            if answer.is_success or answer.is_server_error:
                return self._noted(_json(answer))
        return self._noted(_json(http.post(f"{identity}/sessions", json=self._form)))

    def _noted(self, session: dict[str, Any]) -> Mapping[str, Any]:
        self._refresh = session["refresh_token"]
        return session
