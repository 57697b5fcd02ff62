"""What machine accounts may be given. People are limited by no scope, and machines by theirs at every route."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from fastapi.routing import APIRoute

from shared import rules
from shared.events.identity import MachineScope
from shared.runtime.auth import Actor
from shared.runtime.problems import Problem

MEANING: Final[Mapping[MachineScope, str]] = {
    "read": "Every query about one's own organisation, as far as the account that it acts for may ask it.",
    "installs:report": "The updates offered to the account that it acts for, and reports of what became of them.",
    "credits:consume": "Reports of credits that were consumed.",
    "tokens:introspect": "Whether somebody's token is good, and what it says.",
}

Scopes: TypeAlias = tuple[MachineScope, ...] | None
"""Of a route: any of these suffices a machine, none where there is none. None: every machine may."""

_FIELD: Final = "x-machine-scopes"


def machines(*scopes: MachineScope) -> dict[str, Any]:
    """Declare which scopes a query asks of a machine: `@QUERIES.get(path, openapi_extra=machines("read"))`. Without
    any, the query is for people only."""
    return {_FIELD: list(scopes)}


EVERY_MACHINE: Final[dict[str, Any]] = {_FIELD: None}
"""For a query that every machine may ask, whatever its scopes."""


def scopes_of(route: APIRoute) -> Scopes:
    """What a query asks of a machine: `read`, unless it declares something else or is no GET."""
    declared = route.openapi_extra or {}
    if _FIELD in declared:
        return None if declared[_FIELD] is None else tuple(declared[_FIELD])
    return ("read",) if "GET" in (route.methods or ()) else ()


def require_scope(actor: Actor, scopes: Scopes) -> None:
    """Raise Problem 403 for a machine that was given none of these."""
    if actor.scopes is None or scopes is None or actor.scopes & set(scopes):
        return
    challenge = 'Bearer error="insufficient_scope"'
    if not scopes:
        raise Problem(
            403,
            rule=rules.SCOPE_MISSING,
            reason="This is for people only: no machine account may do it.",
            remedy="Sign in as a person.",
            headers={"WWW-Authenticate": challenge},
        )
    raise Problem(
        403,
        rule=rules.SCOPE_MISSING,
        reason=f"A machine account needs the scope {' or '.join(scopes)} for this.",
        remedy="Ask for a token with it, or register a machine account that has it.",
        headers={"WWW-Authenticate": f'{challenge}, scope="{" ".join(scopes)}"'},
    )


def security(scopes: Scopes) -> list[dict[str, Sequence[str]]]:
    """The alternatives of an operation's security requirement: a person's token, or a machine's with one scope."""
    if scopes is None:
        return [{"Bearer": []}, {"Machine": []}]
    people: dict[str, Sequence[str]] = {"Bearer": []}
    machine: list[dict[str, Sequence[str]]] = [{"Machine": [scope]} for scope in scopes]
    return [people, *machine]


def scheme(issuer: str) -> dict[str, Any]:
    """The security scheme of machines."""
    return {
        "type": "oauth2",
        "flows": {"clientCredentials": {"tokenUrl": f"{issuer}/oauth/token", "scopes": dict(MEANING)}},
    }
