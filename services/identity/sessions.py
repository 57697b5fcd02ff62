"""Signing in, passwords, and the keys that tokens are checked with. None of it is a business fact."""

from http import HTTPStatus
from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from services.identity import credentials
from services.identity.domain.account import ACCOUNT, Open, claim_of, normalised, publisher_of
from services.identity.keys import Keys, current_keys
from services.identity.oidc import Issuer, NotGenuine, Unreachable
from services.identity.passwords import require_uncommon
from services.identity.views import Session
from shared.eventlog.log import Log
from shared.events import AccountOpened
from shared.runtime.auth import TOKEN_S, Actor
from shared.runtime.doors import Pool
from shared.runtime.http import CurrentActor, CurrentLog, Database
from shared.runtime.limits import limited_by_source
from shared.runtime.problems import Problem, unknown

SESSIONS: Final = APIRouter()
Password = Annotated[SecretStr, Field(min_length=12, max_length=256)]

_log: Final = structlog.get_logger(__name__)


class SignIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    email: Annotated[str, Field(max_length=254)]
    password: Annotated[SecretStr, Field(max_length=256)]


@SESSIONS.post("/sessions", dependencies=[limited_by_source("sign-in")])
async def sign_in(form: SignIn, request: Request, db: Database, log: CurrentLog) -> Session:
    """A token for an hour. The answer and the work are the same for an unknown address and a wrong password."""
    holder = await log.store.holder(claim_of(normalised(form.email)))
    account_id = holder.removeprefix("account-") if holder else None
    verifier = await credentials.matched(db, account_id, form.password.get_secret_value())
    account = await log.state(ACCOUNT, account_id or "")
    if verifier is None or not isinstance(account, Open):
        raise Problem(401, rule="sign-in-failed", reason="The e-mail address or the password is not right.",
                      remedy="Try again, ask the operator for a reset, or open an account.")  # fmt: skip
    return issue(account.opened, current_keys(request), request.app.state.parts.new_id())


def issue(opened: AccountOpened, keys: Keys, token_id: str) -> Session:
    who = Actor(opened.account_id, opened.organisation_id, opened.organisation_kind, publisher_of(opened))
    token = keys.signer.sign(who, token_id)
    return Session(access_token=token, expires_in=TOKEN_S, account_id=who.account_id,
                   organisation_id=who.organisation_id)  # fmt: skip


class ChangePassword(BaseModel):
    model_config = ConfigDict(extra="forbid")

    current: Annotated[SecretStr, Field(max_length=256)]
    new: Password


@SESSIONS.put("/me/password", status_code=HTTPStatus.NO_CONTENT)
async def change_password(form: ChangePassword, actor: CurrentActor, db: Database, log: CurrentLog) -> None:
    """Sets a new password of one's own. Tokens issued before run out within their hour."""
    account = await log.state(ACCOUNT, actor.account_id)
    if not isinstance(account, Open):
        raise unknown("account")
    before = await credentials.matched(db, actor.account_id, form.current.get_secret_value())
    new = form.new.get_secret_value()
    if before is not None:  # before that, nothing is said but that the current one is wrong
        await require_uncommon(new, *known_of(account))
    if before is None or not await credentials.replace(db, actor.account_id, before, new):
        raise Problem(403, rule="password-wrong", reason="The current password is not right.",
                      remedy="Try again, or ask the operator for a reset.")  # fmt: skip
    _log.info("password changed", account_id=actor.account_id)


class ResetPassword(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reset: Annotated[str, Field(max_length=4096)]
    new: Password


@SESSIONS.post("/password", status_code=HTTPStatus.NO_CONTENT, dependencies=[limited_by_source("reset")])
async def reset_password(form: ResetPassword, request: Request, db: Database, log: CurrentLog) -> None:
    """Sets the password of whoever the operator made the reset for, once. Every refusal is the same."""
    reset = current_keys(request).reset_by(form.reset)
    if reset is None or not await _reset(reset, form.new.get_secret_value(), db, log):
        raise Problem(409, rule="reset-not-valid", reason="The reset is not valid, or not any more.",
                      remedy="Ask the operator for a new one.")  # fmt: skip
    _log.info("password reset", account_id=reset["sub"], reset=reset["jti"])


async def _reset(reset: dict[str, Any], new: str, db: Pool, log: Log) -> bool:
    account_id = reset["sub"]
    before = await credentials.verifier_of(db, account_id)
    account = await log.state(ACCOUNT, account_id)
    if credentials.digest(before) != reset["replaces"] or not isinstance(account, Open):
        return False
    await require_uncommon(new, *known_of(account))
    return await credentials.replace(db, account_id, before, new)


def known_of(account: Open) -> tuple[str, str, str]:
    """What anybody knows of a person, and guesses first."""
    return account.profile.email, account.profile.name, account.opened.organisation_name


class SignInElsewhere(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id_token: Annotated[str, Field(min_length=1, max_length=16_384)]
    nonce: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """What the caller gave the issuer to repeat, if it did."""


@SESSIONS.post("/sessions/oidc", dependencies=[limited_by_source("sign-in")])
async def sign_in_elsewhere(form: SignInElsewhere, request: Request, log: CurrentLog) -> Session:
    """A token for an hour, for the ID token of the configured issuer: the account with its verified e-mail address."""
    issuer: Issuer | None = getattr(request.app.state, "oidc", None)
    if issuer is None:
        raise Problem(404, rule="issuer-not-configured", reason="No other issuer signs people in here.",
                      remedy="Sign in with a password (POST /sessions).")  # fmt: skip
    try:
        email = await issuer.verified_email(form.id_token, form.nonce)
    except NotGenuine as why:
        _log.info("sign-in elsewhere refused", fault=str(why)[:300])
        raise Problem(401, rule="id-token-not-valid", reason="The ID token is not one of the configured issuer's for "
                      "us, is out of time, or names no verified e-mail address.",
                      remedy="Sign in at the issuer again.") from why  # fmt: skip
    except Unreachable as why:
        raise Problem(503, rule="unavailable", reason="The issuer's keys can't be had now.",
                      remedy="Try again in a moment.", headers={"Retry-After": "2"}) from why  # fmt: skip
    holder = await log.store.holder(claim_of(normalised(email)))
    account = await log.state(ACCOUNT, holder.removeprefix("account-") if holder else "")
    if not isinstance(account, Open):
        raise Problem(403, rule="no-account-for-address", reason="The issuer vouches for you, but no account has this "
                      "e-mail address.", remedy="Open an account with it first, or change your account's address to "
                      "it.")  # fmt: skip
    return issue(account.opened, current_keys(request), request.app.state.parts.new_id())


@SESSIONS.get("/.well-known/jwks.json")
async def jwks(request: Request) -> dict[str, Any]:
    """The public keys that tokens are checked with."""
    return current_keys(request).published()
