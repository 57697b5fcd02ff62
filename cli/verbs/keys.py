"""`tenure keys`: the keys that identity signs tokens with, and their rotation."""

from typing import Annotated, Any

import typer
import uuid_utils

from cli.app import Planned, Result, change, group, verb
from cli.context import Context
from cli.exit_codes import NOT_FOUND, REFUSED, OperatorError
from cli.operation import ChangePlan, Operation, Outcome
from cli.output import Output, when
from cli.sentences import Count, say
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
    keys = Count(alive, "key")
    output.line(say("%(keys)s published, %(retired)s retired.", keys=keys, retired=len(found) - alive))
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
        say(
            "A new key would be published within %(within)s s and used for signing %(later)s s later.",
            within=round(signing.FOLLOW_S),
            later=signing.PUBLISHED_S,
        ),
        say("Nobody is signed out: signatures of the previous key stay valid."),
    ]

    async def apply(operation: Operation) -> Outcome:
        db = await context.db("identity", write=True)
        signs_from = await signing.rotate(db, kid)
        operation.counter()
        exists = kid in {each.kid for each in await signing.standing(db)}
        result = say("Checked: %(key)s signs from %(time)s on.", key=kid, time=signs_from)
        return Outcome(exists, [result], {"signs_from": signs_from})

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
        say(
            "What %(key)s signed would become invalid in every service within %(within)s s: access tokens, "
            "invitations, password resets, links in mails. Sessions continue.",
            key=kid,
            within=round(JWKS_S + signing.FOLLOW_S),
        )
    ]
    summary += [say("%(key)s would replace it for signing at once.", key=following)] if following else []
    arguments = [f"kid={kid}", f"at_once={at_once}"]

    async def apply(operation: Operation) -> Outcome:
        db = await context.db("identity", write=True)
        await signing.retire(db, kid, following)
        operation.counter()
        states = {each.kid: each.state for each in await signing.standing(db)}
        if states[kid] == "retired":
            result = say("Checked: %(key)s is retired.", key=kid)
        else:
            result = say("Checked: %(key)s is NOT retired; its state is %(state)s.", key=kid, state=states[kid])
        return Outcome(states[kid] == "retired", [result], {"state": states[kid]})

    return ChangePlan(
        service="identity",
        arguments=arguments,
        total=1,
        thing="key",
        summary=summary,
        data={"kid": kid, "signs_now": following},
        apply=apply,
    )
