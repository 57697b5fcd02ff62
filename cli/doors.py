"""The services' doors, as an operator with a token uses them."""

import os
from typing import Any, Final

import httpx

from cli.context import Context
from cli.exit_codes import NOT_FOUND, REFUSED, USAGE, OperatorError

TOKEN: Final = "TENURE_TOKEN"  # noqa: S105  # a variable's name
HOW: Final = (
    f"Set {TOKEN} to a token of {{whom}}: POST /sessions at {{url}} with e-mail address and password answers one "
    "for five minutes."
)


def token(context: Context, whom: str) -> str:
    """The token in the environment. OperatorError that says how to get one."""
    given = os.environ.get(TOKEN, "").strip()
    if not given:
        raise OperatorError(HOW.format(whom=whom, url=context.urls["identity"]), USAGE)
    return given


async def call(
    context: Context,
    service: str,
    method: str,
    path: str,
    key: str,
    secret: str,
    body: Any = None,
    *,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Send a request to a service and return its answer.

    `key` names the command: sent again, it gets its first answer. Raises OperatorError on a refusal.
    """
    client = await context.http(service, secret)
    answer = await client.request(
        method, path, json=body, params={"dry_run": "true"} if dry_run else {}, headers={"Idempotency-Key": key}
    )
    return _read(answer)


async def ask(context: Context, service: str, path: str, secret: str) -> dict[str, Any]:
    return _read(await (await context.http(service, secret)).get(path))


def _read(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = {}
    if answer.is_success:
        return found if isinstance(found, dict) else {"answer": found}
    said = f"{found.get('detail', answer.reason_phrase)} {found.get('remedy', '')}".strip()
    rule = found.get("rule", answer.status_code)
    raise OperatorError(f"The service refused ({rule}): {said}", NOT_FOUND if answer.status_code == 404 else REFUSED)
