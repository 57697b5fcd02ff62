"""What an administrator does with a rollout: pause, resume, stop, retry, move on, exclude."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue
from starlette.responses import Response

from services.console.deeds import Deed, Outcome, again, carry_out
from services.console.doors import path
from services.console.forms import whole_number
from services.console.names import names_of
from services.console.pages.updates.contracts import at_contract
from services.console.pages.updates.rollouts import ONE, asked_rollout, at_rollout
from services.console.texts import marked
from services.console.visits import Visit


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """A command to a rollout: its route, and how it is asked for. All texts are marked."""

    route: str
    question: str
    button: str
    explained: str
    notice: str
    reason: bool = True
    """Whether the person gives a reason."""
    grave: bool = False


STEERING: Final[Mapping[str, Steering]] = {
    "pause": Steering(
        route="pause",
        question=marked("Pause the rollout?"),
        button=marked("Pause the rollout"),
        explained=marked("Until it is resumed, the update is offered to nobody. What is installed stays installed."),
        notice="did-paused",
    ),
    "resume": Steering(
        route="resume",
        question=marked("Resume the rollout?"),
        button=marked("Resume the rollout"),
        explained=marked("The update is offered again. Failures that were reported before do not count any more."),
        notice="did-resumed",
        reason=False,
    ),
    "stop": Steering(
        route="stop",
        question=marked("Stop the rollout for good?"),
        button=marked("Stop the rollout"),
        explained=marked("Nobody else gets the update by this rollout. What is installed stays installed."),
        notice="did-stopped",
        grave=True,
    ),
    "retry": Steering(
        route="retry",
        question=marked("Let the failed machines try again?"),
        button=marked("Try again"),
        explained=marked("Their failures are forgotten. If the policy has paused the rollout, it is resumed."),
        notice="did-retried",
        reason=False,
    ),
    "move-on": Steering(
        route="move-on",
        question=marked("End this phase and go on?"),
        button=marked("Go on"),
        explained=marked(
            "The present phase ends before enough of its users have the update, and the next one begins. If the policy "
            "has paused the rollout, it is resumed."
        ),
        notice="did-moved-on",
    ),
    "exclude": Steering(
        route="exclusions",
        question=marked("Exclude from the rollout?"),
        button=marked("Exclude"),
        explained=marked("Whoever is excluded is not offered the update, and does not count in their phase."),
        notice="did-excluded",
    ),
}


async def ask(visit: Visit) -> Response:
    """Show the form of a command to the rollout, with its reason."""
    name = visit.id("deed")
    steering = STEERING.get(name)
    if steering is None:
        return visit.go(at_rollout(visit))
    query, form = visit.request.query_params, visit.form
    if visit.request.method == "GET":
        form.values |= {"account_id": query.get("account_id", ""), "machine": query.get("machine", ""), "reason": ""}
    rollout, names = await asyncio.gather(asked_rollout(visit), names_of(visit, [form["account_id"]]))
    return visit.page(
        "updates/steer.html",
        tab="rollouts",
        at=at_contract(visit),
        here=at_rollout(visit),
        rollout=rollout,
        name=name,
        steering=steering,
        person=names[form["account_id"]].name if form["account_id"] else "",
    )


async def steer(visit: Visit) -> Response:
    """Carry out a command to the rollout, once the person has confirmed what follows from it."""
    name, form, texts = visit.id("deed"), visit.form, visit.texts
    steering = STEERING.get(name)
    if steering is None:
        return visit.go(at_rollout(visit))
    if steering.reason and not form.require(texts, "reason"):
        return await again(visit, ask)
    deed = Deed(
        service="distribution",
        method="POST",
        path=path(ONE, contract_id=visit.id("contract_id"), rollout_id=visit.id("rollout_id")) + f"/{steering.route}",
        body=_body(visit, name),
        question=texts.gettext(steering.question),
        button=texts.gettext(steering.button),
        says=lambda outcome: _says(visit, outcome, steering),
        moves=True,
        grave=steering.grave,
        then=at_rollout(visit),
        notice=steering.notice,
    )
    return await carry_out(visit, deed, ask)


def _body(visit: Visit, name: str) -> dict[str, JsonValue]:
    form = visit.form
    body: dict[str, JsonValue] = {"reason": form["reason"].strip()} if STEERING[name].reason else {}
    if name == "move-on":
        body["phase"] = whole_number(form["phase"]) or 0
    if name == "exclude":
        body["account_id"] = form["account_id"]
        if form["machine"]:
            body["machine"] = form["machine"]
    return body


def _says(visit: Visit, outcome: Outcome, steering: Steering) -> Sequence[str]:
    texts = visit.texts
    follows = [texts.gettext(FOLLOWS[event.type]) for event in outcome.events[1:] if event.type in FOLLOWS]
    return [texts.gettext(steering.explained), *follows]


FOLLOWS: Final[Mapping[str, str]] = {
    "RolloutPaused": marked("The rollout pauses then."),
    "RolloutCompleted": marked("The rollout is completed then."),
    "PhasePassed": marked("The phase is passed then."),
    "PhaseStarted": marked("The next phase begins then."),
    "RolloutResumed": marked("The rollout is resumed then."),
}
"""What follows from a command besides itself, by the type of its event."""
