"""The rollouts of a contract, and one of them with its progress."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from services.console.areas import Attention
from services.console.doors import Refused, Unreachable, path
from services.console.names import Names, names_of
from services.console.pages.updates.contracts import administered, at_contract, groups_of, named
from services.console.pages.updates.words import (
    actor,
    entries,
    people_in,
    phase_thresholds,
    phase_users,
)
from services.console.products import products_of
from services.console.shapes.distribution import Group, PhaseProgress, Rollout, Rollouts, Target
from services.console.texts import Texts, marked
from services.console.visits import Visit

ONE: Final = "/contracts/{contract_id}/rollouts/{rollout_id}"
SHOWN: Final = 50
"""The greatest number of users and of entries of the history that a page shows."""
STATUSES: Final = {
    "running": marked("running"),
    "paused": marked("paused"),
    "completed": marked("completed"),
    "stopped": marked("stopped"),
}
TAGS: Final = {"running": "open", "paused": "bad", "completed": "good", "stopped": "off"}
STATES: Final = {
    "failed": marked("failed"),
    "open": marked("open"),
    "done": marked("installed"),
    "waiting": marked("later phase"),
    "excluded": marked("excluded"),
    "left": marked("left"),
}
STATE_TAGS: Final = {
    "failed": "bad",
    "open": "open",
    "done": "good",
    "waiting": "off",
    "excluded": "off",
    "left": "off",
}


async def rollouts(visit: Visit) -> Response:
    """List the rollouts, the newest first."""
    contract_id = visit.id("contract_id")
    at = path("/contracts/{contract_id}/rollouts", contract_id=contract_id)
    if visit.wants_csv:
        return await visit.export("distribution", at, "rollouts", "status")
    query = {"sort": "-event_id"} | visit.listed("status")
    found, groups, products = await asyncio.gather(
        visit.see("distribution", at, Rollouts, **query),
        groups_of(visit, contract_id),
        products_of(visit, contract_id),
    )
    return visit.page(
        "updates/rollouts.html",
        tab="rollouts",
        at=at_contract(visit),
        found=found,
        groups=groups,
        products=products,
        named=named,
        statuses=[(name, visit.texts.gettext(text)) for name, text in STATUSES.items()],
        words={name: visit.texts.gettext(text) for name, text in STATUSES.items()},
        tags=TAGS,
    )


async def paused(visit: Visit) -> Sequence[Attention]:
    """Return what waits for an administrator: rollouts that are paused."""
    contracts = await administered(visit)
    found = await asyncio.gather(
        *(
            visit.see(
                "distribution",
                path("/contracts/{contract_id}/rollouts", contract_id=each.contract_id),
                Rollouts,
                status="paused",
                limit="5",
            )
            for each in contracts
        )
    )
    return [
        Attention(
            text=visit.texts.gettext("The rollout of %(update)s is paused.") % {"update": rollout.title},
            path=path(
                "/updates/{contract_id}/rollouts/{rollout_id}",
                contract_id=contract.contract_id,
                rollout_id=rollout.rollout_id,
            ),
            urgent=True,
        )
        for contract, listed in zip(contracts, found, strict=True)
        for rollout in listed.items
    ]


# ── One rollout ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseShown:
    """A phase with its progress, in words and figures."""

    number: int
    users: str
    thresholds: str
    state: str
    tag: str
    progress: PhaseProgress

    @property
    def open(self) -> int:
        return self.progress.targets - self.progress.succeeded - self.progress.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class UserShown:
    """A user of a rollout, and how far it is with them."""

    target: Target
    name: str
    email: str
    state: str


async def asked_rollout(visit: Visit) -> Rollout:
    """Return the rollout that the page is about."""
    at = path(ONE, contract_id=visit.id("contract_id"), rollout_id=visit.id("rollout_id"))
    return await visit.see_then("distribution", at, Rollout)


def at_rollout(visit: Visit, rest: str = "") -> str:
    """Return the address of the rollout's page."""
    return at_contract(visit, path("/rollouts/{rollout_id}", rollout_id=visit.id("rollout_id")) + rest)


async def rollout(visit: Visit) -> Response:
    """Show a rollout: its phases with their progress, its users, and its history.

    While it runs, the page asks for itself every few seconds. It names what it shows, and an unchanged page is
    answered with 204, so that nothing moves under a reader's hands.
    """
    seen, contract_id = visit.request.query_params.get("seen", ""), visit.id("contract_id")
    try:
        shown, groups, products = await asyncio.gather(
            asked_rollout(visit), groups_of(visit, contract_id), products_of(visit, contract_id)
        )
    except (Refused, Unreachable):
        if seen:  # it asks again by itself
            return Response(status_code=HTTPStatus.NO_CONTENT)
        raise
    digest = hashlib.sha256(shown.model_dump_json().encode()).hexdigest()[:16]
    if seen == digest:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    texts, wanted = visit.texts, visit.request.query_params.get("state", "")
    course = [each for each in shown.history if each.type not in _OF_MACHINES][-SHOWN:]
    states = [(target, _state(target, shown)) for target in shown.users]
    picked = [(target, state) for target, state in states if wanted in ("", state)]
    picked.sort(key=lambda each: list(STATES).index(each[1]))
    names = await names_of(visit, [*(t.account_id for t, _ in picked[:SHOWN]), *people_in(course), shown.started_by])
    return visit.page(
        "updates/rollout.html",
        tab="rollouts",
        at=at_contract(visit),
        here=at_rollout(visit),
        rollout=shown,
        product=products[shown.product],
        digest=digest,
        live=shown.status == "running" and visit.as_of is None,
        status=texts.gettext(STATUSES[shown.status]),
        tag=TAGS[shown.status],
        groups=named(groups, shown.groups),
        started_by=actor(shown.started_by, names, texts),
        phases=_phases(shown, groups, texts),
        cause=_cause(shown),
        users=[_user(target, state, names) for target, state in picked[:SHOWN]],
        more=max(len(picked) - SHOWN, 0),
        states=[(name, texts.gettext(text)) for name, text in STATES.items()],
        state_words={name: texts.gettext(text) for name, text in STATES.items()},
        state_tags=STATE_TAGS,
        history=list(reversed(entries(course, names, texts))),
        failures=any(state == "failed" for _, state in states),
    )


_OF_MACHINES: Final = {"InstallSucceeded", "InstallFailed", "TargetAdded"}
"""What happens many times, and is shown with each user instead."""


def _phases(shown: Rollout, groups: Sequence[Group], texts: Texts) -> Sequence[PhaseShown]:
    progress = shown.progress or [PhaseProgress(targets=0, succeeded=0, failed=0) for _ in shown.phases]
    return [
        PhaseShown(
            number=number,
            users=phase_users(phase, groups, texts),
            thresholds=phase_thresholds(phase, texts),
            state=_phase_state(shown, number, texts),
            tag=_phase_tag(shown, number),
            progress=counted,
        )
        for number, (phase, counted) in enumerate(zip(shown.phases, progress, strict=True), start=1)
    ]


def _phase_state(shown: Rollout, number: int, texts: Texts) -> str:
    if number < shown.phase or shown.status == "completed":
        return texts.gettext("completed")
    if number > shown.phase:
        return texts.gettext("not yet begun")
    return texts.gettext(STATUSES[shown.status])


def _phase_tag(shown: Rollout, number: int) -> str:
    if number < shown.phase or shown.status == "completed":
        return "good"
    return TAGS[shown.status] if number == shown.phase else "off"


def _cause(shown: Rollout) -> str:
    """Return why the rollout is paused: the cause that its policy gives, or `decision`."""
    if shown.status != "paused":
        return ""
    pauses = [each for each in shown.history if each.type == "RolloutPaused"]
    cause = pauses[-1].data.get("cause") if pauses else None
    return cause if isinstance(cause, str) else "decision"


def _state(target: Target, shown: Rollout) -> str:
    if target.removed is not None:
        return "left"
    if target.excluded is not None:
        return "excluded"
    counting = [machine for machine in target.machines if machine.excluded is None]
    if any(not machine.succeeded for machine in counting):
        return "failed"
    if counting:
        return "done"
    return "waiting" if target.phase > shown.phase else "open"


def _user(target: Target, state: str, names: Names) -> UserShown:
    person = names[target.account_id]
    return UserShown(target=target, name=person.name, email=person.email, state=state)
