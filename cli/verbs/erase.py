"""`tenure erase`: the erasure of a person's data, through identity's HTTP API."""

import asyncio
from typing import Annotated, Any, Final

import typer
import uuid_utils

from cli import doors
from cli.app import Planned, Result, change
from cli.context import Context
from cli.exit_codes import NOT_FOUND, OperatorError
from cli.operation import ChangePlan, Consent, Operation, Outcome
from cli.output import Output
from cli.people import account_of
from cli.sentences import Count, say
from services.identity.domain.account import ACCOUNT
from shared.events import EVENTS
from shared.sql import statements

SQL: Final = statements(__file__)

_PERSONAL: Final = tuple(name for name, event in EVENTS.items() if event.PERSONAL_FIELDS)


async def _account(db: Any, person: str) -> str:
    account = await account_of(db, person)
    if account is None:
        raise OperatorError("No open account has this e-mail address.", NOT_FOUND)
    return account


@change(
    "erase",
    if_cancelled="A request that has reached identity is carried out all the same; run it again to see whether it was.",
)
async def erase_person(
    context: Context,
    output: Output,
    consent: Consent,
    person: Annotated[str, typer.Argument(help="The account's id or e-mail address.")],
) -> Planned:
    """Close a person's account and make their personal data unreadable in every copy.

    Sends the request to identity with the operator's token in TENURE_TOKEN. Without a token, the dry run shows what is
    stored, but not whether identity would accept the request."""
    db = await context.db("identity")
    account = await _account(db, person)
    found = await db.fetchrow(SQL["person"], ACCOUNT.id(account), account, list(_PERSONAL))
    if not found["events"]:
        raise OperatorError(f"There is no account {account}.", NOT_FOUND)
    if found["last"] == "AccountClosed" and not found["readable"]:
        output.line(say("%(account)s is already closed, and its personal data is already erased.", account=account))
        return Result({"verb": "erase", "account": account, "count": 0, "forgotten": True})
    summary = [
        say(
            "Account %(account)s would be closed. The personal fields of %(events)s (of %(all)s) would become "
            "unreadable for everybody; the events and their hashes stay.",
            account=account,
            events=Count(found["personal"], "event"),
            all=found["looked"],
        ),
        say("Its password and its roles on contracts would be removed. This can't be undone."),
    ]
    key = str(uuid_utils.uuid7())
    secret = await _permitted(context, output, account, key, needed=consent.yes)

    async def apply(operation: Operation) -> Outcome:
        given = secret or doors.token(context, "the operator's")
        await doors.call(context, "identity", "DELETE", f"/accounts/{account}", key, given)
        operation.counter(found["personal"])
        return await _check_result(db, account)

    return ChangePlan(
        service="identity",
        arguments=[f"account={account}"],
        total=found["personal"],
        thing="event",
        summary=summary,
        data={"account": account, "permitted": secret is not None},
        apply=apply,
    )


async def _permitted(context: Context, output: Output, account: str, key: str, *, needed: bool) -> str | None:
    """Return the token, if a dry run of the request succeeds; None if there is no token."""
    try:
        secret = doors.token(context, "the operator's")
    except OperatorError as error:
        if needed:
            raise
        output.note(str(error))
        return None
    await doors.call(context, "identity", "DELETE", f"/accounts/{account}", key, secret, dry_run=True)
    return secret


async def _check_result(db: Any, account: str) -> Outcome:
    """Wait until the person's key is erased: identity does so when it consumes its own event."""
    for _ in range(100):
        found = await db.fetchrow(SQL["person"], ACCOUNT.id(account), account, list(_PERSONAL))
        if not found["readable"]:
            return Outcome(True, [say("Checked: the account is closed, and its key is erased.")], {"forgotten": True})
        await asyncio.sleep(0.1)
    return Outcome(
        False,
        [
            say(
                "Checked: the account is closed, but its key is still there after 10 s. Check with `tenure status` "
                "whether identity.reactions is running."
            )
        ],
        {"forgotten": False},
    )
