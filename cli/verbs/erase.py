"""`tenure erase`: a person is forgotten, through identity's door."""

import asyncio
from typing import Annotated, Any, Final

import typer
import uuid_utils

from cli import doors
from cli.app import Planned, Result, change
from cli.context import Context
from cli.exit_codes import NOT_FOUND, OperatorError
from cli.operation import ChangePlan, Consent, Operation, Outcome
from cli.output import Output, count
from services.identity.domain.account import ACCOUNT, claims_of, former_claim_of
from shared.events import EVENTS
from shared.sql import statements

SQL: Final = statements(__file__)

_PERSONAL: Final = tuple(name for name, event in EVENTS.items() if event.PERSONAL_FIELDS)


async def _account(db: Any, person: str) -> str:
    """The account's id, from itself or from its e-mail address."""
    if "@" not in person:
        return person.removeprefix(f"{ACCOUNT.category}-")
    names = [*claims_of(person), former_claim_of(person)]
    holder = await db.fetchval(SQL["holder"], names)
    if holder is None:
        raise OperatorError("No open account has this e-mail address.", NOT_FOUND)
    return str(holder).removeprefix(f"{ACCOUNT.category}-")


@change("erase")
async def erase_person(
    context: Context,
    output: Output,
    consent: Consent,
    person: Annotated[str, typer.Argument(help="The account's id, or its e-mail address.")],
) -> Planned:
    """Close a person's account and forget them: nothing personal can be read any more, in any copy.

    Goes through identity's door with the operator's TENURE_TOKEN; without one the dry run still says what there is."""
    db = await context.db("identity")
    account = await _account(db, person)
    found = await db.fetchrow(SQL["person"], ACCOUNT.id(account), account, list(_PERSONAL))
    if not found["events"]:
        raise OperatorError(f"There is no account {account}.", NOT_FOUND)
    if found["last"] == "AccountClosed" and not found["readable"]:
        output.line(f"{account} is closed and forgotten already.")
        return Result({"verb": "erase", "account": account, "count": 0, "forgotten": True})
    events = count(found["personal"], "event")
    says = [
        f"Account {account} would be closed. The personal fields of {events} (looked at {found['looked']:,}) could "
        "never be read again, by anybody; the events and their hashes stay.",
        "Its password and its roles on contracts end with it. This can't be undone.",
    ]
    key = str(uuid_utils.uuid7())
    secret = await _permitted(context, output, account, key, needed=consent.yes)

    async def apply(operation: Operation) -> Outcome:
        given = secret or doors.token(context, "the operator's")
        await doors.call(context, "identity", "DELETE", f"/accounts/{account}", key, given)
        operation.counter(found["personal"])
        return await _looked_again(db, account)

    return ChangePlan(
        service="identity",
        arguments=[f"account={account}"],
        total=found["personal"],
        thing="event",
        says=says,
        data={"account": account, "permitted": secret is not None},
        apply=apply,
    )


async def _permitted(context: Context, output: Output, account: str, key: str, *, needed: bool) -> str | None:
    """The token, once the door has said that it would do it. None in a dry run without a token."""
    try:
        secret = doors.token(context, "the operator's")
    except OperatorError as how:
        if needed:
            raise
        output.note(str(how))
        return None
    await doors.call(context, "identity", "DELETE", f"/accounts/{account}", key, secret, dry_run=True)
    return secret


async def _looked_again(db: Any, account: str) -> Outcome:
    """identity erases the key when its own event comes back to it: a moment later."""
    for _ in range(100):
        found = await db.fetchrow(SQL["person"], ACCOUNT.id(account), account, list(_PERSONAL))
        if not found["readable"]:
            return Outcome(True, ["Looked again: the account is closed, and its key is gone."], {"forgotten": True})
        await asyncio.sleep(0.1)
    return Outcome(
        False,
        [
            "Looked again: the account is closed, but its key is still there after 10 s: see whether "
            "identity.reactions runs (tenure status)."
        ],
        {"forgotten": False},
    )
