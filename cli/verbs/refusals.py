"""`tenure refusals`: what rules have refused, with the events that justify it."""

from typing import Annotated, Final

import typer

from cli.app import Result, group, verb
from cli.context import Context, services_named
from cli.exit_codes import NOT_FOUND, OperatorError
from cli.output import Output, when
from cli.sentences import Count, Sentence, say
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
    output.line(say("%(refusals)s shown.", refusals=Count(len(found), "refusal")))
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
            for line in _told(service, refusal):
                output.line(line)
            return Result({"service": service, **refusal.model_dump()})
    raise OperatorError(f"No service has refused the command {command}.", NOT_FOUND)


def _told(service: str, refusal: RefusalView) -> list[Sentence]:
    return [
        say(
            "%(rule)s (%(status)s), by %(service)s at %(time)s",
            rule=refusal.rule,
            status=str(refusal.status),
            service=service,
            time=refusal.refused_at,
        ),
        say(
            "%(command)s to %(subject)s: %(reason)s",
            command=refusal.command or say("a command"),
            subject=refusal.stream or refusal.request or "",
            reason=refusal.reason,
        ),
        say("Remedy: %(remedy)s", remedy=refusal.remedy or say("none")),
        say("Because of: %(events)s", events=", ".join(refusal.because) or say("no event")),
    ]
