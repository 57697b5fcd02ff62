"""The key that identity signs tokens with, and what else it signs: invitations and password resets."""

from typing import Any, Final

from fastapi import Request
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from shared.runtime.auth import ISSUER, TokenSigner, public_keys, verified
from shared.runtime.doors import Pool
from shared.runtime.problems import Problem
from shared.runtime.settings import Settings

INVITATION: Final = "tenure-invitation"
INVITATION_S: Final = 7 * 24 * 3600
VERIFICATION: Final = "tenure-address-verification"
PROOF: Final = "tenure-address-proof"
ADDRESS_S: Final = 3 * 24 * 3600
NONCE: Final = "tenure-oidc-nonce"
NONCE_S: Final = 600
RESET: Final = "tenure-password-reset"
RESET_S: Final = 24 * 3600


class Keys:
    """The signing keys; the newest signs, all of them verify."""

    def __init__(self, keys: list[ECKey], issuer: str = ISSUER) -> None:
        self._keys, self._issuer = keys, issuer
        self.signer = TokenSigner(keys[-1], issuer=issuer)

    def published(self) -> dict[str, Any]:
        """The JWKS."""
        return public_keys(self._keys)

    def invite(self, invitation_id: str, token_id: str, *, mailed: bool = False) -> str:
        """The token of an invitation. One that is `mailed` to the invited address proves that address, too."""
        claims = {"sub": invitation_id, "mailed": mailed}
        return self.signer.sign_claims(claims, token_id, audience=INVITATION, lifetime_s=INVITATION_S)

    def invited_by(self, token: str) -> dict[str, Any] | None:
        """What an invitation's token says, if it is one of ours and in time."""
        return self._said(token, INVITATION)

    def verification(self, account_id: str, address_digest: str, token_id: str) -> str:
        """A token that shows, for three days, that whoever has this account reads the mail to this address."""
        claims = {"sub": account_id, "address": address_digest}
        return self.signer.sign_claims(claims, token_id, audience=VERIFICATION, lifetime_s=ADDRESS_S)

    def verified_by(self, token: str) -> dict[str, Any] | None:
        """What a verification says, if it is one of ours and in time."""
        return self._said(token, VERIFICATION)

    def address_proof(self, address_digest: str, token_id: str) -> str:
        """A token that shows, for three days, that its holder reads the mail to this address."""
        return self.signer.sign_claims({"sub": address_digest}, token_id, audience=PROOF, lifetime_s=ADDRESS_S)

    def proven_by(self, token: str) -> str | None:
        """The digest of the address that the token proves, if it is one of ours and in time."""
        said = self._said(token, PROOF)
        return None if said is None else str(said["sub"])

    def nonce(self, token_id: str) -> str:
        """Something for another issuer to repeat in its ID token, for ten minutes."""
        return self.signer.sign_claims({"sub": "nonce"}, token_id, audience=NONCE, lifetime_s=NONCE_S)

    def is_nonce(self, text: str) -> bool:
        """Whether it is a nonce of ours, in time. Whether it was used, the database says."""
        return self._said(text, NONCE) is not None

    def reset(self, account_id: str, replaces: str, token_id: str) -> str:
        """A token that lets its holder set the account's password, for a day, while the verifier that it replaces (by
        its digest) is the account's: so once."""
        claims = {"sub": account_id, "replaces": replaces}
        return self.signer.sign_claims(claims, token_id, audience=RESET, lifetime_s=RESET_S)

    def reset_by(self, token: str) -> dict[str, Any] | None:
        """What a reset says, if it is one of ours and in time."""
        return self._said(token, RESET)

    def _said(self, token: str, audience: str) -> dict[str, Any] | None:
        try:
            return verified(token, KeySet(list(self._keys)), audience, issuer=self._issuer, leeway_s=0)
        except (JoseError, ValueError, TypeError):
            return None


def current_keys(request: Request) -> Keys:
    """The keys of the process that answers the request. Raises Problem 503 while it starts."""
    keys: Keys | None = getattr(request.app.state, "keys", None)
    if keys is None:
        raise Problem(503, rule="unavailable", reason="The service is starting.", remedy="Try again in a moment.")
    return keys


async def load(db: Pool, settings: Settings, new_id: str) -> Keys:
    """The keys of the database, the first made under a lock so that replicas share it; TENURE_SIGNING_KEY_FILE
    replaces them. Raises OSError or ValueError when that file is not a key."""
    issuer = settings.token_issuer
    if settings.signing_key_file is not None:
        key = ECKey.import_key(settings.signing_key_file.read_bytes())
        return Keys([ECKey.import_key(key.as_dict(private=True), {"kid": key.thumbprint()})], issuer)
    async with db.acquire() as tx, tx.transaction():
        await tx.execute("lock table signing_keys in exclusive mode")
        rows = await tx.fetch("select kid, pem from signing_keys order by created_at")
        if not rows:
            pem = ECKey.generate_key("P-256").as_pem(private=True).decode()
            rows = await tx.fetch("insert into signing_keys (kid, pem) values ($1, $2) returning kid, pem", new_id, pem)
    return Keys([ECKey.import_key(row["pem"], {"kid": row["kid"]}) for row in rows], issuer)
