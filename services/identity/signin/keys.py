"""identity's signing keys, their rotation, and the tokens that identity itself reads.

Those are the tokens of invitations, verifications, proofs, nonces and resets; access tokens are read by every service.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet
from starlette.datastructures import State

from shared.eventlog.write.postgres import TRANSIENT
from shared.rules import UNAVAILABLE
from shared.runtime.auth import ISSUER, JWKS_S, TokenSigner, public_keys, verified
from shared.runtime.database import Pool
from shared.runtime.problems import Problem
from shared.runtime.settings import Settings
from shared.sql import Queryable, statements

INVITATION: Final = "tenure-invitation"
INVITATION_S: Final = 7 * 24 * 3600
VERIFICATION: Final = "tenure-address-verification"
PROOF: Final = "tenure-address-proof"
ADDRESS_S: Final = 3 * 24 * 3600
NONCE: Final = "tenure-oidc-nonce"
NONCE_S: Final = 600
RESET: Final = "tenure-password-reset"
RESET_S: Final = 24 * 3600
LONGEST_S: Final = INVITATION_S
"""The longest lifetime of a token that is signed here."""
PUBLISHED_S: Final = 2 * JWKS_S
"""How long a key is published before it signs; every service fetches the keys twice in this time."""
FOLLOW_S: Final = 5.0
"""The period at which a process reads new and retired keys."""
_OWN_ISSUER: Final = "tenure-identity"

_log: Final = structlog.get_logger(__name__)
SQL: Final = statements(__file__)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key, and the time from which it signs, in seconds since 1970."""

    key: ECKey
    signs_from: float = 0.0


class InvitedBy(NamedTuple):
    """The claims of an invitation's token."""

    invitation_id: str
    mailed: bool
    """Whether the token was mailed to the invited address."""


class VerifiedBy(NamedTuple):
    """The claims of a verification: the account's owner reads the mail to the address."""

    account_id: str
    address_digest: str


class ResetBy(NamedTuple):
    """The claims of a reset: the password may be set while the account has this verifier."""

    account_id: str
    replaces: str
    """The digest of the verifier that the reset replaces."""
    token_id: str


class Keys:
    """The signing keys: the latest one whose time has come signs, and all of them verify."""

    def __init__(
        self, keys: Sequence[ECKey | SigningKey], issuer: str = ISSUER, clock: Callable[[], float] = time.time
    ) -> None:
        self._issuer, self._clock = issuer, clock
        self.take([key if isinstance(key, SigningKey) else SigningKey(key) for key in keys])

    def take(self, keys: Sequence[SigningKey]) -> None:
        """Use these keys from now on."""
        self._keys = sorted(keys, key=lambda key: key.signs_from)
        self._public = public_keys([key.key for key in self._keys])

    @property
    def signer(self) -> TokenSigner:
        """Return the signer of access tokens."""
        return TokenSigner(self._signing, self._clock, self._issuer)

    @property
    def _own(self) -> TokenSigner:
        """Return the signer of the tokens that identity itself reads.

        Their issuer is not a URL, because the operator's tools sign them, too.
        """
        return TokenSigner(self._signing, self._clock, _OWN_ISSUER)

    @property
    def _signing(self) -> ECKey:
        now = self._clock()
        return next((key.key for key in reversed(self._keys) if key.signs_from <= now), self._keys[0].key)

    def published(self) -> dict[str, list[dict[str, object]]]:
        """Return the JWKS, which also has the keys that don't sign yet."""
        return self._public

    def invite(self, invitation_id: str, token_id: str, *, mailed: bool = False) -> str:
        """Return the token of an invitation. A `mailed` one proves the invited address, too."""
        claims = {"sub": invitation_id, "mailed": mailed}
        return self._own.sign_claims(claims, token_id, audience=INVITATION, lifetime_s=INVITATION_S)

    def invited_by(self, token: str) -> InvitedBy | None:
        """Return the claims of an invitation's token, or None if it is invalid or has expired."""
        said = self._claims(token, INVITATION)
        return None if said is None else InvitedBy(str(said["sub"]), mailed=said.get("mailed") is True)

    def verification(self, account_id: str, address_digest: str, token_id: str) -> str:
        """Return a token, valid for three days, that verifies the account's address."""
        claims = {"sub": account_id, "address": address_digest}
        return self._own.sign_claims(claims, token_id, audience=VERIFICATION, lifetime_s=ADDRESS_S)

    def verified_by(self, token: str) -> VerifiedBy | None:
        """Return the claims of a verification, or None if it is invalid or has expired."""
        said = self._claims(token, VERIFICATION)
        return None if said is None else VerifiedBy(str(said["sub"]), str(said["address"]))

    def address_proof(self, address_digest: str, token_id: str) -> str:
        """Return a token, valid for three days, that proves the address."""
        return self._own.sign_claims({"sub": address_digest}, token_id, audience=PROOF, lifetime_s=ADDRESS_S)

    def proven_by(self, token: str) -> str | None:
        """Return the digest of the address that the token proves, or None if it is invalid."""
        said = self._claims(token, PROOF)
        return None if said is None else str(said["sub"])

    def nonce(self, token_id: str) -> str:
        """Return a nonce, valid for ten minutes, for the issuer to repeat in its ID token."""
        return self._own.sign_claims({"sub": "nonce"}, token_id, audience=NONCE, lifetime_s=NONCE_S)

    def is_nonce(self, text: str) -> bool:
        """Return whether it is a nonce of ours that has not expired.

        Whether it was used is in the database.
        """
        return self._claims(text, NONCE) is not None

    def reset(self, account_id: str, replaces: str, token_id: str) -> str:
        """Return a token that lets its holder set the account's password, for a day and once.

        It names the digest of the verifier that it replaces, and is valid while the account has that verifier.
        """
        claims = {"sub": account_id, "replaces": replaces}
        return self._own.sign_claims(claims, token_id, audience=RESET, lifetime_s=RESET_S)

    def reset_by(self, token: str) -> ResetBy | None:
        """Return the claims of a reset, or None if it is invalid or has expired."""
        said = self._claims(token, RESET)
        return None if said is None else ResetBy(str(said["sub"]), str(said["replaces"]), str(said["jti"]))

    def _claims(self, token: str, audience: str) -> Mapping[str, object] | None:
        try:
            return verified(token, KeySet([key.key for key in self._keys]), audience, issuer=_OWN_ISSUER, leeway_s=0)
        except (JoseError, ValueError, TypeError):
            return None


def current_keys(app: State) -> Keys:
    """Return the process's keys. Raises Problem 503 while the process starts."""
    keys: Keys | None = getattr(app, "keys", None)
    if keys is None:
        raise Problem(rule=UNAVAILABLE, reason="The service is starting.", remedy="Try again in a moment.")
    return keys


async def load(db: Pool, settings: Settings, new_id: str) -> Keys:
    """Load the keys from TENURE_SIGNING_KEY_FILE, if it is set, or else from the database.

    The first key in the database is created under a lock, so that all processes share it.

    Raises:
        OSError: The file can't be read.
        ValueError: The file is not a key.
    """
    issuer = settings.token_issuer
    if settings.signing_key_file is not None:
        key = ECKey.import_key(settings.signing_key_file.read_bytes())
        return Keys([ECKey.import_key(key.as_dict(private=True), {"kid": key.thumbprint()})], issuer)
    if not (stored := await _read(db)):
        async with db.acquire() as tx, tx.transaction():
            await tx.execute(SQL["lock"])
            if not (stored := await _read(tx)):
                await tx.execute(SQL["add"], new_id, _new_pem(), datetime.now(UTC))
                stored = await _read(tx)
    return Keys(stored, issuer)


async def follow(db: Pool, keys: Keys, every_s: float = FOLLOW_S) -> None:
    """Read the keys from the database periodically, until cancelled."""
    while True:
        await asyncio.sleep(every_s)
        try:
            if stored := await _read(db):
                keys.take(stored)
        except TRANSIENT as fault:
            _log.warning("reading the signing keys failed", fault=repr(fault))


async def _read(db: Queryable) -> list[SigningKey]:
    return [
        SigningKey(ECKey.import_key(row["pem"], {"kid": row["kid"]}), row["signs_from"].timestamp())
        for row in await db.fetch(SQL["listed"])
        if row["pem"] is not None
    ]


def _new_pem() -> str:
    pem: str = ECKey.generate_key("P-256").as_pem(private=True).decode()
    return pem


# ── Rotation ───────────────────────────────────────────────────────────────────────────────────────────


class CannotRetire(Exception):
    """The key can't be retired, because it is needed; the message says for what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStanding:
    """A key's present state.

    It `signs`, is `published` before it signs, `verifies` what it signed, or is `retired`.
    """

    kid: str
    state: Literal["signs", "published", "verifies", "retired"]
    signs_from: datetime
    signs_until: datetime | None
    retired_at: datetime | None

    @property
    def needed_until(self) -> datetime | None:
        """Return when the last token that it signed expires, or None while it signs."""
        return None if self.signs_until is None else self.signs_until + timedelta(seconds=LONGEST_S)


async def standing(db: Queryable) -> list[KeyStanding]:
    """Return all keys with their states, in the order in which they sign."""
    rows, now = await db.fetch(SQL["listed"]), datetime.now(UTC)
    alive = [row for row in rows if row["retired_at"] is None]
    signing = max((row["signs_from"] for row in alive if row["signs_from"] <= now), default=None)
    keys = []
    for row in rows:
        later = [other["signs_from"] for other in rows if other["signs_from"] > row["signs_from"]]
        state: Literal["signs", "published", "verifies", "retired"] = "verifies"
        if row["retired_at"] is not None:
            state = "retired"
        elif row["signs_from"] > now:
            state = "published"
        elif row["signs_from"] == signing:
            state = "signs"
        keys.append(
            KeyStanding(
                kid=row["kid"],
                state=state,
                signs_from=row["signs_from"],
                signs_until=min(later, default=row["retired_at"]),
                retired_at=row["retired_at"],
            )
        )
    return keys


async def rotate(db: Queryable, kid: str) -> datetime:
    """Add a key, and return from when on it signs.

    It signs once every service has had the time to fetch it.
    """
    signs_from = datetime.now(UTC) + timedelta(seconds=PUBLISHED_S)
    await db.execute(SQL["add"], kid, _new_pem(), signs_from)
    return signs_from


def successor(keys: Sequence[KeyStanding], kid: str, *, at_once: bool) -> str | None:
    """Return the key that has to sign at once if this one is retired, or None if none has to.

    Raises:
        LookupError: There is no such key, or it is retired.
        CannotRetire: The key is needed.
    """
    key = next((candidate for candidate in keys if candidate.kid == kid), None)
    if key is None or key.state == "retired":
        raise LookupError(kid)
    if not at_once:
        if key.state in ("signs", "published"):
            raise CannotRetire("It signs now, or will: rotate first, and retire it once nothing it signed is in use.")
        if key.needed_until is not None and key.needed_until > datetime.now(UTC):
            raise CannotRetire(
                f"Invitations it signed may be in use until {key.needed_until:%Y-%m-%d %H:%M} UTC. Retire it then; "
                "if somebody else has it, --at-once ends what it signed."
            )
    if key.state != "signs":
        return None
    others = [other.kid for other in keys if other.kid != kid and other.state in ("verifies", "published")]
    if not others:
        raise CannotRetire("It is the only key: rotate first.")
    return others[-1]


async def retire(db: Pool, kid: str, sign_now: str | None) -> None:
    """Retire a key and erase its private key; `sign_now` signs instead of it at once."""
    async with db.acquire() as tx, tx.transaction():
        await tx.execute(SQL["lock"])
        if sign_now is not None:
            await tx.execute(SQL["sign_now"], sign_now)
        await tx.execute(SQL["retire"], kid)
