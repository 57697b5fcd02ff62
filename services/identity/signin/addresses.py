"""Verification of e-mail addresses, and proofs by mail.

An account can sign in with an address that it has not proven. It loses the address to an account that proves it: by a
link or an invitation that was mailed to it, or by the configured issuer of ID tokens.
"""

import hashlib
import secrets
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from services.identity.domain import rules
from services.identity.domain.account import (
    ACCOUNT,
    OpenedAccount,
    ReleaseAddress,
    VerifyAddress,
    address_digest,
    claim_of,
    normalised,
)
from services.identity.mail import outbox
from services.identity.persons import holder_of
from services.identity.signin.keys import current_keys
from shared.eventlog.write.log import Meta
from shared.events.fields import Address, Token
from shared.runtime.http import CurrentActor, CurrentLog, Database
from shared.runtime.limits import limited_by_source
from shared.runtime.problems import Problem, unknown
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext

COMMANDS: Final = CommandRoutes()
ADDRESS_QUERIES: Final = APIRouter()

# ── The own address ────────────────────────────────────────────────────────────────────────────────────


class Verification(BaseModel):
    """Verify the account's e-mail address by the token that was mailed to it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    token: Token


@COMMANDS.route("POST", "/me/address/verification", ACCOUNT)
async def verify_address(context: RequestContext[Verification]) -> Addressed[VerifyAddress]:
    """Complete the command that verifies the account's address.

    The caller has to be signed in as the account, so that the owner of an address can't confirm another person's
    account by following a link.
    """
    verified = current_keys(context.app).verified_by(context.asked.token)
    if verified is None or verified.account_id != context.actor.account_id:
        raise Problem(
            rule=rules.VERIFICATION_NOT_VALID,
            reason="The link is invalid, has expired, or is for another account.",
            remedy="Ask for a new one (POST /me/address/verification/mail).",
        )
    return Addressed(context.actor.account_id, VerifyAddress(digest=verified.address_digest, proof="link"))


@ADDRESS_QUERIES.post("/me/address/verification/mail", status_code=HTTPStatus.ACCEPTED)
async def mail_again(actor: CurrentActor, request: Request, db: Database, log: CurrentLog) -> None:
    """Mail the link to the caller's unverified address again, at most once in five minutes."""
    account = await log.state(ACCOUNT, actor.account_id)
    if not isinstance(account, OpenedAccount):
        raise unknown("account")
    if account.profile.email and not account.verified:
        now = request.app.state.parts.now()
        await outbox.ask(db, "verify-address", actor.account_id, account.profile.email, now)


# ── An address that has no account ─────────────────────────────────────────────────────────────────────


_DIGEST_KEY: Final = secrets.token_bytes(16)


def address_key(email: str) -> str:
    """Return the keyed digest under which the sign-ups of an e-mail address are counted."""
    return hashlib.blake2b(claim_of(email).encode(), key=_DIGEST_KEY, digest_size=16).hexdigest()


class AskForProof(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    email: Address


@ADDRESS_QUERIES.post("/addresses/proof", status_code=HTTPStatus.ACCEPTED, dependencies=[limited_by_source("sign-up")])
async def ask_for_proof(form: AskForProof, request: Request, db: Database) -> None:
    """Mail a proof to an address, to sign up with it although another account holds it unproven.

    The response doesn't tell whether the address is known.
    """
    email = form.email
    parts = request.app.state.parts
    parts.limits.take("sign-up-address", address_key(email))
    await outbox.ask(db, "prove-address", "", email, parts.now(), address=email)


def proven_by(context: RequestContext[object], token: str, email: str) -> None:
    """Raise Problem 409 unless the token proves this address."""
    if current_keys(context.app).proven_by(token) != address_digest(normalised(email)):
        raise Problem(
            rule=rules.PROOF_NOT_VALID,
            reason="The proof is invalid, has expired, or is for another address.",
            remedy="Ask for a new one (POST /addresses/proof).",
        )


async def release(context: RequestContext[object], email: str) -> None:
    """Release the address from the account that holds it, if that has not proven it."""
    address = normalised(email)
    holder = await holder_of(context.log.store, address)
    if holder is None or context.dry_run:
        return
    account_id = holder.removeprefix(ACCOUNT.id(""))
    command_id = context.further_id("release")
    meta = Meta(command_id, context.actor.account_id or account_id, context.now, command_id, context.command_id)
    await context.log.execute(ACCOUNT, account_id, ReleaseAddress(address_digest(address)), meta)
