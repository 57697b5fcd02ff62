"""`tenure keys`: the keys that identity signs tokens with, and their rotation."""

from typing import Annotated, Any

import typer
import uuid_utils

from cli.app import Planned, Result, change, group, verb
from cli.context import Context
from cli.exit_codes import NOT_FOUND, REFUSED, OperatorError
from cli.operation import ChangePlan, Operation, Outcome
from cli.output import Output, count, when
from services.identity.signin import keys as signing
from services.identity.signin.keys import CannotRetire, KeyStanding
from shared.runtime.auth import JWKS_S

group("keys", "Identity's signing keys: list, rotate, retire.")


@verb("keys list")
async def list_keys(context: Context, output: Output) -> Result:
    """List identity's signing keys and their states."""
    found = await signing.standing(await context.db("identity"))
    output.table(("key", "state", "signs from", "until"), [_row(each) for each in found])
    alive = sum(each.state != "retired" for each in found)
    output.line(f"{count(alive, 'key')} published, {len(found) - alive} retired.")
    return Result({"keys": [_data(each) for each in found]})


def _row(key: KeyStanding) -> tuple[object, ...]:
    return key.kid, key.state, when(key.signs_from), "" if key.signs_until is None else when(key.signs_until)


def _data(key: KeyStanding) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "state": key.state,
        "signs_from": key.signs_from,
        "signs_until": key.signs_until,
        "retired_at": key.retired_at,
    }


@change("keys rotate", if_cancelled="The new key is there, or nothing is changed.")
async def rotate(context: Context) -> Planned:
    """Create a signing key: published at once, used for signing two minutes later.

    Signatures of the previous key stay valid."""
    kid = str(uuid_utils.uuid7())
    summary = [
        f"A new key would be published within {signing.FOLLOW_S:.0f} s and used for signing {signing.PUBLISHED_S} s "
        "later.",
        "Nobody is signed out: signatures of the previous key stay valid.",
    ]

    async def apply(operation: Operation) -> Outcome:
        db = await context.db("identity", write=True)
        signs_from = await signing.rotate(db, kid)
        operation.counter()
        exists = kid in {each.kid for each in await signing.standing(db)}
        return Outcome(exists, [f"Checked: {kid} signs from {when(signs_from)} on."], {"signs_from": signs_from})

    return ChangePlan(
        service="identity",
        arguments=[f"kid={kid}"],
        total=1,
        thing="key",
        summary=summary,
        data={"kid": kid},
        apply=apply,
    )


@change("keys retire", if_cancelled="The key is retired, or it is as it was.")
async def retire(
    context: Context,
    kid: Annotated[str, typer.Argument(metavar="KEY", help="The key's id, as `tenure keys list` shows it.")],
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Even while something that it signed is valid, because it was leaked.")
    ] = False,
) -> Planned:
    """Withdraw a key and erase its private half; what it signed becomes invalid."""
    try:
        known = await signing.standing(await context.db("identity"))
        following = signing.successor(known, kid, at_once=at_once)
    except LookupError:
        raise OperatorError(f"There is no key {kid} to retire; `tenure keys list` lists the keys.", NOT_FOUND) from None
    except CannotRetire as refusal:
        raise OperatorError(str(refusal), REFUSED) from None
    summary = [
        f"What {kid} signed would become invalid in every service within {JWKS_S + signing.FOLLOW_S:.0f} s: "
        "access tokens, invitations, password resets, links in mails. Sessions continue."
    ]
    summary += [f"{following} would replace it for signing at once."] if following else []
    arguments = [f"kid={kid}", f"at_once={at_once}"]

    async def apply(operation: Operation) -> Outcome:
        db = await context.db("identity", write=True)
        await signing.retire(db, kid, following)
        operation.counter()
        states = {each.kid: each.state for each in await signing.standing(db)}
        retired = states[kid] == "retired"
        return Outcome(retired, [f"Checked: {kid} is {states[kid]}."], {"state": states[kid]})

    return ChangePlan(
        service="identity",
        arguments=arguments,
        total=1,
        thing="key",
        summary=summary,
        data={"kid": kid, "signs_now": following},
        apply=apply,
    )
