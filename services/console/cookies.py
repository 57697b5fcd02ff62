"""The console's cookies: session, begun sign-in, the forms' seed, what was stored last.

The console has no database. A person's session is in their own browser, encrypted and authenticated, so that any
process with the key can continue it, and a process that is restarted ends nobody's session.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote, unquote

import structlog
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.responses import Response

logger = structlog.get_logger("cookies")

FORM_S: Final = 30 * 24 * 3600
"""How long a browser keeps the seed of its forms."""
_SALT: Final = 9
_SEED: Final = 24

PENDING_S: Final = 600
"""How long a sign-in by another provider may take, which is as long as identity's nonce is valid."""
STORED_S: Final = 5
"""How long pages wait for what a command has stored; by then every table has it."""

_STORED: Final = re.compile("[!-~]+")
"""What a header to a service may have as its value."""

Kind = Literal["session", "form", "stored", "oidc"]


class Session(BaseModel):
    """A person's session at identity, as the browser keeps it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    access_token: str
    access_until: int
    """When the access token expires, in seconds since 1970."""
    refresh_token: str
    until: int
    """When the session ends, in seconds since 1970, however often it is refreshed."""
    session_id: str
    kept: Mapping[str, str] = {}
    """What pages keep between requests, such as the id of the cart that is being filled."""


class Errand(BaseModel):
    """What a person goes to a provider for: to sign in, to link an identity, or to sign up."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    following: str = "/"
    """The page to show afterwards."""
    session_id: str = ""
    """The session to whose account the identity is linked; "" to sign in or up."""
    entered: Mapping[str, str] = {}
    """What was entered to sign up; nothing to sign in or to link."""


class Pending(BaseModel):
    """A way to another provider that has begun; the provider's answer has to fit it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str
    state: str
    nonce: str
    verifier: str
    """The secret of PKCE, by which the console shows that it began this itself."""
    errand: Errand


@dataclass(frozen=True, slots=True)
class Cookies:
    """The names, the attributes and the key of the console's cookies."""

    secrets: Sequence[str]
    """The first encrypts and signs, all of them decrypt and verify."""
    secure: bool
    """Whether browsers reach the console over TLS, and send the cookies only so."""

    def name(self, kind: Kind) -> str:
        """Return a cookie's name. The prefix makes browsers refuse one that another host has set."""
        return f"__Host-tenure-{kind}" if self.secure else f"tenure-{kind}"

    def session(self, cookies: Mapping[str, str]) -> Session | None:
        """Return the session in a request's cookies, or None if it is not one of ours."""
        sealed = cookies.get(self.name("session"), "")
        try:
            return Session.model_validate_json(self._fernet().decrypt(sealed))
        except (InvalidToken, ValidationError, ValueError):
            return None

    def keep(self, response: Response, session: Session, now: int) -> None:
        """Put the session into a response."""
        sealed = self._fernet().encrypt(session.model_dump_json().encode()).decode()
        self._set(response, "session", sealed, max(0, session.until - now))

    def drop(self, response: Response) -> None:
        """Delete the session from the browser."""
        self._set(response, "session", "", 0)

    def pending(self, cookies: Mapping[str, str]) -> Pending | None:
        """Return the sign-in that has begun in this browser, or None if it took too long."""
        sealed = cookies.get(self.name("oidc"), "")
        try:
            return Pending.model_validate_json(self._fernet("oidc").decrypt(sealed, ttl=PENDING_S))
        except (InvalidToken, ValidationError, ValueError):
            return None

    def keep_pending(self, response: Response, pending: Pending) -> None:
        """Put a sign-in that has begun into a response.

        Lax and not Strict: the browser has to bring it along when the provider, another site, sends it back.
        """
        sealed = self._fernet("oidc").encrypt(pending.model_dump_json().encode()).decode()
        self._set(response, "oidc", sealed, PENDING_S)

    def drop_pending(self, response: Response) -> None:
        """Delete the sign-in that had begun from the browser."""
        self._set(response, "oidc", "", 0)

    def seed(self, cookies: Mapping[str, str]) -> str:
        """Return the seed of the browser's forms, or "" if it has none."""
        seed = cookies.get(self.name("form"), "")
        return seed if len(seed) == len(new_seed()) else ""

    def keep_seed(self, response: Response, seed: str) -> None:
        """Put the seed of the browser's forms into a response."""
        self._set(response, "form", seed, FORM_S)

    def stored(self, cookies: Mapping[str, str]) -> str:
        """Return what the last command has stored, as `service:stream@version`, or ""."""
        stored = unquote(cookies.get(self.name("stored"), ""))
        return stored if _STORED.fullmatch(stored) else ""

    def keep_stored(self, response: Response, stored: str) -> None:
        """Put what a command has stored into a response, so that the page after it shows that."""
        self._set(response, "stored", quote(stored, safe=""), STORED_S)

    def token(self, seed: str, session_id: str) -> str:
        """Return a token for a form of this browser and session.

        It differs each time, so that compressed responses do not reveal it (BREACH).
        """
        salt = secrets.token_urlsafe(_SALT)
        return f"{salt}.{_signature(self.secrets[0], salt, seed, session_id)}"

    def is_token(self, token: str, seed: str, session_id: str) -> bool:
        """Return whether a form's token was made for this browser and session."""
        salt, _, signature = token.partition(".")
        made = [_signature(secret, salt, seed, session_id) for secret in self.secrets]
        return bool(seed) and any(hmac.compare_digest(each.encode(), signature.encode()) for each in made)

    def _set(self, response: Response, kind: Kind, value: str, max_age: int) -> None:
        name = self.name(kind)
        response.set_cookie(name, value, max_age, path="/", secure=self.secure, httponly=True, samesite="lax")

    def _fernet(self, purpose: Literal["session", "oidc"] = "session") -> MultiFernet:
        return MultiFernet([Fernet(_key(purpose, secret)) for secret in self.secrets])


def new_seed() -> str:
    """Return the seed of a browser's forms."""
    return secrets.token_urlsafe(_SEED)


def _key(purpose: str, secret: str) -> bytes:
    """Return a key for one purpose.

    The secrets are random, so that no slow derivation is needed.
    """
    return base64.urlsafe_b64encode(hmac.digest(secret.encode(), f"tenure console {purpose}".encode(), "sha256"))


def _signature(secret: str, salt: str, seed: str, session_id: str) -> str:
    text = "\n".join((salt, seed, session_id)).encode()
    return hmac.new(_key("form", secret), text, hashlib.sha256).hexdigest()


def read_secrets(file: Path | None) -> Sequence[str]:
    """Return the secrets in the file, or one that lasts as long as the process.

    Raises:
        OSError: The file can't be read.
        ValueError: A secret in it is short enough to be guessed.
    """
    if file is None:
        logger.warning("TENURE_COOKIE_KEY_FILE is not set: sessions end with this process")
        return (secrets.token_urlsafe(_SEED),)
    found = tuple(line.strip() for line in file.read_text().splitlines() if line.strip())
    if not found or min(map(len, found)) < _SEED:
        raise ValueError(f"{file} must have a secret a line, of at least {_SEED} characters")
    return found
