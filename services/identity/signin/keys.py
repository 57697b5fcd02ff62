"""The keys that identity signs with: access tokens, and what only itself reads, such as invitations and resets."""

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
"""No token that is signed here is good for longer."""
PUBLISHED_S: Final = 2 * JWKS_S
"""How long a key is published before it signs: whoever checks tokens fetches the keys twice meanwhile."""
FOLLOW_S: Final = 5.0
"""How late a process knows of a new key, or of one that was retired."""
_OWN_ISSUER: Final = "tenure-identity"

_log: Final = structlog.get_logger(__name__)
SQL: Final = statements(__file__)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key, and the second of real time from which it signs."""

    key: ECKey
    signs_from: float = 0.0


class InvitedBy(NamedTuple):
    """What an invitation's token says."""

    invitation_id: str
    mailed: bool
    """Whether the token came in the mail to the invited address."""


class VerifiedBy(NamedTuple):
    """What the token of a mailed link says: whoever has the account reads the mail to the address."""

    account_id: str
    address_digest: str


class ResetBy(NamedTuple):
    """What a reset says: the account's password may be set, while this verifier is the account's."""

    account_id: str
    replaces: str
    """The verifier's digest."""
    token_id: str


class Keys:
    """The signing keys: the newest whose time has come signs, all of them verify."""

    def __init__(
        self, keys: Sequence[ECKey | SigningKey], issuer: str = ISSUER, clock: Callable[[], float] = time.time
    ) -> None:
        self._issuer, self._clock = issuer, clock
        self.take([each if isinstance(each, SigningKey) else SigningKey(each) for each in keys])

    def take(self, keys: Sequence[SigningKey]) -> None:
        """Use these from now on."""
        self._keys = sorted(keys, key=lambda each: each.signs_from)
        self._public = public_keys([each.key for each in self._keys])

    @property
    def signer(self) -> TokenSigner:
        """Signs access tokens."""
        return TokenSigner(self._signing, self._clock, self._issuer)

    @property
    def _own(self) -> TokenSigner:
        """Signs what only identity itself reads, which names no URL: the operator's tools sign it, too."""
        return TokenSigner(self._signing, self._clock, _OWN_ISSUER)

    @property
    def _signing(self) -> ECKey:
        now = self._clock()
        return next((each.key for each in reversed(self._keys) if each.signs_from <= now), self._keys[0].key)

    def published(self) -> dict[str, list[dict[str, object]]]:
        """The JWKS: also the keys that don't sign yet."""
        return self._public

    def invite(self, invitation_id: str, token_id: str, *, mailed: bool = False) -> str:
        """The token of an invitation. One that is `mailed` to the invited address proves that address, too."""
        claims = {"sub": invitation_id, "mailed": mailed}
        return self._own.sign_claims(claims, token_id, audience=INVITATION, lifetime_s=INVITATION_S)

    def invited_by(self, token: str) -> InvitedBy | None:
        """What an invitation's token says, if it is one of ours and in time."""
        said = self._said(token, INVITATION)
        return None if said is None else InvitedBy(str(said["sub"]), mailed=said.get("mailed") is True)

    def verification(self, account_id: str, address_digest: str, token_id: str) -> str:
        """A token that shows, for three days, that whoever has this account reads the mail to this address."""
        claims = {"sub": account_id, "address": address_digest}
        return self._own.sign_claims(claims, token_id, audience=VERIFICATION, lifetime_s=ADDRESS_S)

    def verified_by(self, token: str) -> VerifiedBy | None:
        """What a verification says, if it is one of ours and in time."""
        said = self._said(token, VERIFICATION)
        return None if said is None else VerifiedBy(str(said["sub"]), str(said["address"]))

    def address_proof(self, address_digest: str, token_id: str) -> str:
        """A token that shows, for three days, that its holder reads the mail to this address."""
        return self._own.sign_claims({"sub": address_digest}, token_id, audience=PROOF, lifetime_s=ADDRESS_S)

    def proven_by(self, token: str) -> str | None:
        """The digest of the address that the token proves, if it is one of ours and in time."""
        said = self._said(token, PROOF)
        return None if said is None else str(said["sub"])

    def nonce(self, token_id: str) -> str:
        """Something for another issuer to repeat in its ID token, for ten minutes."""
        return self._own.sign_claims({"sub": "nonce"}, token_id, audience=NONCE, lifetime_s=NONCE_S)

    def is_nonce(self, text: str) -> bool:
        """Whether it is a nonce of ours, in time. Whether it was used, the database says."""
        return self._said(text, NONCE) is not None

    def reset(self, account_id: str, replaces: str, token_id: str) -> str:
        """A token that lets its holder set the account's password, for a day, while the verifier that it replaces (by
        its digest) is the account's: so once."""
        claims = {"sub": account_id, "replaces": replaces}
        return self._own.sign_claims(claims, token_id, audience=RESET, lifetime_s=RESET_S)

    def reset_by(self, token: str) -> ResetBy | None:
        """What a reset says, if it is one of ours and in time."""
        said = self._said(token, RESET)
        return None if said is None else ResetBy(str(said["sub"]), str(said["replaces"]), str(said["jti"]))

    def _said(self, token: str, audience: str) -> Mapping[str, object] | None:
        try:
            return verified(token, KeySet([each.key for each in self._keys]), audience, issuer=_OWN_ISSUER, leeway_s=0)
        except (JoseError, ValueError, TypeError):
            return None


def current_keys(app: State) -> Keys:
    """The keys of the process. Raises Problem 503 while it starts."""
    keys: Keys | None = getattr(app, "keys", None)
    if keys is None:
        raise Problem(503, rule=UNAVAILABLE, reason="The service is starting.", remedy="Try again in a moment.")
    return keys


async def load(db: Pool, settings: Settings, new_id: str) -> Keys:
    """The keys of the database, the first made under a lock so that replicas share it; TENURE_SIGNING_KEY_FILE
    replaces them. Raises OSError or ValueError when that file is not a key."""
    issuer = settings.token_issuer
    if settings.signing_key_file is not None:
        key = ECKey.import_key(settings.signing_key_file.read_bytes())
        return Keys([ECKey.import_key(key.as_dict(private=True), {"kid": key.thumbprint()})], issuer)
    if not (found := await _read(db)):
        async with db.acquire() as tx, tx.transaction():
            await tx.execute(SQL["lock"])
            if not (found := await _read(tx)):
                await tx.execute(SQL["add"], new_id, _new_pem(), datetime.now(UTC))
                found = await _read(tx)
    return Keys(found, issuer)


async def follow(db: Pool, keys: Keys, every_s: float = FOLLOW_S) -> None:
    """Take over what becomes of the keys in the database, until cancelled."""
    while True:
        await asyncio.sleep(every_s)
        try:
            if found := await _read(db):
                keys.take(found)
        except TRANSIENT as fault:
            _log.warning("the signing keys can't be read", fault=repr(fault))


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
    """The key is needed. The message says what for, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStanding:
    """What a key is for now: it `signs`, is `published` before it signs, `verifies` what it signed, or is `retired`."""

    kid: str
    state: Literal["signs", "published", "verifies", "retired"]
    signs_from: datetime
    signs_until: datetime | None
    retired_at: datetime | None

    @property
    def needed_until(self) -> datetime | None:
        """When the last thing that it signed has expired; None while it signs."""
        return None if self.signs_until is None else self.signs_until + timedelta(seconds=LONGEST_S)


async def standing(db: Queryable) -> list[KeyStanding]:
    """All keys, in the order in which they sign."""
    rows, now = await db.fetch(SQL["listed"]), datetime.now(UTC)
    alive = [row for row in rows if row["retired_at"] is None]
    signing = max((row["signs_from"] for row in alive if row["signs_from"] <= now), default=None)
    found = []
    for row in rows:
        later = [each["signs_from"] for each in rows if each["signs_from"] > row["signs_from"]]
        state: Literal["signs", "published", "verifies", "retired"] = "verifies"
        if row["retired_at"] is not None:
            state = "retired"
        elif row["signs_from"] > now:
            state = "published"
        elif row["signs_from"] == signing:
            state = "signs"
        found.append(
            KeyStanding(
                kid=row["kid"],
                state=state,
                signs_from=row["signs_from"],
                signs_until=min(later, default=row["retired_at"]),
                retired_at=row["retired_at"],
            )
        )
    return found


async def rotate(db: Queryable, kid: str) -> datetime:
    """Add a key that signs once everybody who checks tokens has had the time to fetch it; return from when on."""
    signs_from = datetime.now(UTC) + timedelta(seconds=PUBLISHED_S)
    await db.execute(SQL["add"], kid, _new_pem(), signs_from)
    return signs_from


def successor(keys: Sequence[KeyStanding], kid: str, *, at_once: bool) -> str | None:
    """The key that has to sign at once in the place of one that is to be retired, if there is need. Raises LookupError
    where there is no such key, and CannotRetire."""
    key = next((each for each in keys if each.kid == kid), None)
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
    others = [each.kid for each in keys if each.kid != kid and each.state in ("verifies", "published")]
    if not others:
        raise CannotRetire("It is the only key: rotate first.")
    return others[-1]


async def retire(db: Pool, kid: str, sign_now: str | None) -> None:
    """Withdraw a key and erase its private half; `sign_now` signs in its place at once."""
    async with db.acquire() as tx, tx.transaction():
        await tx.execute(SQL["lock"])
        if sign_now is not None:
            await tx.execute(SQL["sign_now"], sign_now)
        await tx.execute(SQL["retire"], kid)
