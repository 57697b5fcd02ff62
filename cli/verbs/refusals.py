"""`tenure refusals`: what rules have refused, with the events that justify it."""

from typing import Annotated, Final

import typer

from cli.app import Result, group, verb
from cli.context import Context, services_named
from cli.exit_codes import NOT_FOUND, OperatorError
from cli.output import Output, count, when
from shared.runtime.refusals import RefusalView, latest, refusal_of
from shared.services import SERVICES

group("refusals", "Refusals that the services have stored: list, show.")

_ACCOUNT: Final = "Only those of this account's commands."


@verb("refusals ls")
async def list_refusals(
    context: Context,
    output: Output,
    service: Annotated[str | None, typer.Option(help="Only of this service.")] = None,
    account: Annotated[str | None, typer.Option(help=_ACCOUNT)] = None,
    limit: Annotated[int, typer.Option(help="Show at most N refusals of each service.", metavar="N")] = 50,
) -> Result:
    """List the refusals of commands, newest first, also of reactions and timers."""
    found: list[tuple[str, RefusalView]] = []
    for each in services_named(service):
        found += [(each, refusal) for refusal in await latest(await context.db(each), account, limit)]
    found.sort(key=lambda item: item[1].refused_at, reverse=True)
    output.table(
        ("service", "when", "rule", "who", "command"),
        [(name, when(r.refused_at), r.rule, r.account_id or "", r.command_id) for name, r in found],
    )
    output.line(f"{count(len(found), 'refusal')} shown.")
    return Result({"refusals": [{"service": name, **refusal.model_dump()} for name, refusal in found]})


@verb("refusals show")
async def show_refusal(
    context: Context,
    output: Output,
    command: Annotated[str, typer.Argument(help="The command's id, as the refusal has it in command_id.")],
) -> Result:
    """Show the refusal of a command: rule, reason, remedy and the events that justify it."""
    for service in SERVICES:
        refusal = await refusal_of(await context.db(service), command, None)
        if refusal is not None:
            output.line(f"{refusal.rule} ({refusal.status}), by {service} at {when(refusal.refused_at)}")
            output.line(f"{refusal.command or 'a command'} to {refusal.stream or refusal.request}: {refusal.reason}")
            output.line(f"Remedy: {refusal.remedy or 'none'}")
            output.line(f"Because of: {', '.join(refusal.because) or 'no event'}")
            return Result({"service": service, **refusal.model_dump()})
    raise OperatorError(f"No service has refused the command {command}.", NOT_FOUND)
