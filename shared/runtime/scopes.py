"""Scopes of machine accounts, which every route checks; people are not limited by scopes."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from fastapi.routing import APIRoute

from shared import rules
from shared.events.identity import MachineScope
from shared.runtime.auth import Actor
from shared.runtime.problems import Problem

MEANING: Final[Mapping[MachineScope, str]] = {
    "read": "Queries about its own organisation that the account it acts for may make.",
    "installs:report": "Read the updates offered to the account that it acts for, and report their outcomes.",
    "credits:consume": "Report consumed credits.",
    "events:publish": "Send the events of its publisher, and read what became of them.",
    "tokens:introspect": "Check whether a token is valid, and read its claims.",
}

Scopes: TypeAlias = tuple[MachineScope, ...] | None
"""The scopes of which a machine needs one at a route. If empty, machines are refused; None admits every machine."""

_FIELD: Final = "x-machine-scopes"


def machines(*scopes: MachineScope) -> dict[str, Any]:
    """Declare the scopes of which a machine needs one for a query.

    Use it as `@QUERIES.get(path, openapi_extra=machines("read"))`. Without scopes the query is for people only.
    """
    return {_FIELD: list(scopes)}


EVERY_MACHINE: Final[dict[str, Any]] = {_FIELD: None}
"""For a query that every machine may make, whatever its scopes."""


def scopes_of(route: APIRoute) -> Scopes:
    """Return a query's scopes: the declared ones, or else `read` for GET and none for others."""
    declared = route.openapi_extra or {}
    if _FIELD in declared:
        return None if declared[_FIELD] is None else tuple(declared[_FIELD])
    return ("read",) if "GET" in (route.methods or ()) else ()


def require_scope(actor: Actor, scopes: Scopes) -> None:
    """Raise Problem 403 for a machine that has none of these scopes."""
    if actor.scopes is None or scopes is None or actor.scopes & set(scopes):
        return
    challenge = 'Bearer error="insufficient_scope"'
    if not scopes:
        raise Problem(
            rule=rules.SCOPE_MISSING,
            reason="This route is for people only: machine accounts may not use it.",
            remedy="Sign in as a person.",
            headers={"WWW-Authenticate": challenge},
        )
    raise Problem(
        rule=rules.SCOPE_MISSING,
        reason=f"A machine account needs the scope {' or '.join(scopes)} for this.",
        remedy="Ask for a token with it, or register a machine account that has it.",
        headers={"WWW-Authenticate": f'{challenge}, scope="{" ".join(scopes)}"'},
    )


def security(scopes: Scopes) -> list[dict[str, Sequence[str]]]:
    """Return an operation's alternatives: a person's token, or a machine's with a scope."""
    if scopes is None:
        return [{"Bearer": []}, {"Machine": []}]
    people: dict[str, Sequence[str]] = {"Bearer": []}
    machine: list[dict[str, Sequence[str]]] = [{"Machine": [scope]} for scope in scopes]
    return [people, *machine]


def scheme(issuer: str) -> dict[str, Any]:
    """Return the security scheme of machine accounts."""
    return {
        "type": "oauth2",
        "flows": {"clientCredentials": {"tokenUrl": f"{issuer}/oauth/token", "scopes": dict(MEANING)}},
    }
