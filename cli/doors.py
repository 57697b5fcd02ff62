"""Requests to the services' HTTP APIs with the operator's token."""

import os
from typing import Any, Final

import httpx

from cli.context import Context
from cli.exit_codes import NOT_FOUND, REFUSED, USAGE, OperatorError

TOKEN: Final = "TENURE_TOKEN"  # noqa: S105  # a variable's name
_HOW_TO_SET: Final = (
    f"Set {TOKEN} to an access token of {{whom}}: POST /sessions at {{url}} with e-mail address and password returns "
    "one that is valid for five minutes."
)


def token(context: Context, whom: str) -> str:
    """Return the token of the context, or the one in the environment.

    Raises:
        OperatorError: It is not set; the message says how to get one.
    """
    given = os.environ.get(TOKEN, "").strip() if context.token is None else context.token
    if not given:
        raise OperatorError(_HOW_TO_SET.format(whom=whom, url=context.urls["identity"]), USAGE)
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
    """Send a request to a service and return the body of the response.

    Args:
        key: The idempotency key: a repeated request gets the response to the first.

    Raises:
        OperatorError: The service refused the request.
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
    problem = f"{found.get('detail', answer.reason_phrase)} {found.get('remedy', '')}".strip()
    rule = found.get("rule", answer.status_code)
    raise OperatorError(f"The service refused ({rule}): {problem}", NOT_FOUND if answer.status_code == 404 else REFUSED)
