"""Approving an update at once or at a later time, in phases, and holding it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import JsonValue, TypeAdapter
from starlette.responses import Response

from services.console.deeds import Deed, Outcome, again, carry_out
from services.console.doors import path
from services.console.forms import whole_number
from services.console.pages.updates.available import APPROVED, ONE, asked_update, at_update
from services.console.pages.updates.contracts import at_contract, groups_of, named
from services.console.pages.updates.words import phases_in_words
from services.console.shapes.distribution import Group, Phase, Update
from services.console.texts import marked
from services.console.visits import Visit

ROWS: Final = 5
"""The number of phases that the form has room for."""
SHARE: Final = "share"
"""The choice of a phase's users that is a share of all, and no group."""
NO_GROUP: Final = marked("Choose at least one group.")
NOT_PERCENT: Final = marked("Write a whole number from 1 to 100.")
NO_PHASE: Final = marked("Fill in at least the first phase, or choose to install it everywhere at once.")
NOT_A_TIME: Final = marked("Choose a day and a time.")
_PHASES: Final = TypeAdapter(list[Phase])


# ── Approving ──────────────────────────────────────────────────────────────────────────────────────────


async def approval(visit: Visit) -> Response:
    """Show the form that approves or schedules the update."""
    update, groups = await asyncio.gather(asked_update(visit), groups_of(visit, visit.id("contract_id")))
    if visit.request.method == "GET":
        undecided = [each.group_id for each in groups if each.group_id not in update.approved]
        visit.form.values |= {"groups[]": "\n".join(undecided), "when": "now", "course": "once", "starts_at": ""}
        visit.form.values |= _suggested()
    return _form_page(visit, "updates/approve.html", update, groups)


def _suggested() -> dict[str, str]:
    """Return the phases that the form suggests: a tenth of the users, then the others."""
    values: dict[str, str] = {}
    for row, (who, share, success, error) in enumerate(((SHARE, "10", "90", "10"), (SHARE, "90", "90", "10")), start=1):
        values |= {f"who_{row}": who, f"share_{row}": share, f"success_{row}": success, f"error_{row}": error}
    return values


async def approve(visit: Visit) -> Response:
    """Approve the update, at once or at a time, once the person has confirmed it."""
    texts, form = visit.texts, visit.form
    update, groups = await asyncio.gather(asked_update(visit), groups_of(visit, visit.id("contract_id")))
    chosen = _chosen_groups(visit)
    body: dict[str, JsonValue] = {"groups": list(chosen)}
    if form["course"] == "phases" and (phases := _phases(visit)):
        body["phases"] = phases
    later = form["when"] == "later"
    if later:
        starts_at = _instant(form["starts_at"], texts.zone)
        if starts_at is None:
            form.errors["starts_at"] = texts.gettext(NOT_A_TIME)
        else:
            body["starts_at"] = starts_at.isoformat()
    if form.wrong:
        return await again(visit, approval)
    values = {"update": update.title, "groups": ", ".join(named(groups, chosen))}
    at = path(
        ONE, contract_id=visit.id("contract_id"), publisher=visit.id("publisher"), update_id=visit.id("update_id")
    )
    at_once = texts.gettext("Approve %(update)s for: %(groups)s?") % values
    deed = Deed(
        service="distribution",
        method="POST",
        path=f"{at}/schedule" if later else f"{at}/approval",
        body=body,
        question=texts.gettext("Schedule %(update)s for: %(groups)s?") % values if later else at_once,
        button=texts.gettext("Schedule it") if later else texts.gettext("Approve it"),
        says=lambda outcome: _says(visit, outcome, groups),
        idle=texts.gettext("It was decided so already."),
        then=at_update(visit),
        notice="update-scheduled" if later else APPROVED,
    )
    return await carry_out(visit, deed, approval)


def _says(visit: Visit, outcome: Outcome, groups: Sequence[Group]) -> Sequence[str]:
    texts, said = visit.texts, list[str]()
    for event in outcome.events:
        if event.type not in ("UpdateApproved", "UpdateScheduled"):
            continue
        starts_at = event.data.get("starts_at")
        if isinstance(starts_at, str):
            at = texts.time(datetime.fromisoformat(starts_at))
            said.append(texts.gettext("The rollout begins by itself: %(time)s.") % {"time": at})
        else:
            said.append(texts.gettext("The rollout begins at once, in the maintenance windows of each group."))
        said += phases_in_words(_PHASES.validate_python(event.data["phases"]), groups, texts)
    return said


def _phases(visit: Visit) -> list[JsonValue]:
    """Return the phases that the form has, and note what is wrong with them."""
    form, texts = visit.form, visit.texts
    phases: list[JsonValue] = []
    for row in range(1, ROWS + 1):
        who = form[f"who_{row}"]
        if not who:
            continue
        percents = {name: _percent(visit, f"{name}_{row}") for name in ("success", "error")}
        phase: dict[str, JsonValue] = {f"{name}_percent": value for name, value in percents.items()}
        if who == SHARE:
            phase["share"] = _percent(visit, f"share_{row}")
        else:
            phase["groups"] = [who]
        phases.append(phase)
    if not phases:
        form.errors["course"] = texts.gettext(NO_PHASE)
    return phases


def _percent(visit: Visit, name: str) -> int:
    percent = whole_number(visit.form[name].strip().removesuffix("%"))
    if percent is not None and 1 <= percent <= 100:
        return percent
    visit.form.errors[name] = visit.texts.gettext(NOT_PERCENT)
    return 0


def _chosen_groups(visit: Visit) -> Sequence[str]:
    chosen = visit.form["groups[]"].split()
    if not chosen:
        visit.form.errors["groups"] = visit.texts.gettext(NO_GROUP)
    return chosen


def _instant(written: str, zone: ZoneInfo | None) -> datetime | None:
    """Return the instant of a local time as a form has it; None if it is none."""
    try:
        return datetime.fromisoformat(written).replace(tzinfo=zone or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


# ── Holding ────────────────────────────────────────────────────────────────────────────────────────────


async def holding(visit: Visit) -> Response:
    """Show the form that holds the update."""
    update, groups = await asyncio.gather(asked_update(visit), groups_of(visit, visit.id("contract_id")))
    if visit.request.method == "GET":
        free = [each.group_id for each in groups if each.group_id not in update.held]
        visit.form.values |= {"groups[]": "\n".join(free), "reason": ""}
    return _form_page(visit, "updates/hold.html", update, groups)


async def hold(visit: Visit) -> Response:
    """Hold the update, once the person has confirmed what follows from it."""
    texts, form = visit.texts, visit.form
    update, groups = await asyncio.gather(asked_update(visit), groups_of(visit, visit.id("contract_id")))
    chosen = _chosen_groups(visit)
    form.require(texts, "reason")
    if form.wrong:
        return await again(visit, holding)
    values = {"update": update.title, "groups": ", ".join(named(groups, chosen))}
    at = path(
        ONE, contract_id=visit.id("contract_id"), publisher=visit.id("publisher"), update_id=visit.id("update_id")
    )
    deed = Deed(
        service="distribution",
        method="POST",
        path=f"{at}/hold",
        body={"groups": list(chosen), "reason": form["reason"].strip()},
        question=texts.gettext("Hold %(update)s for: %(groups)s?") % values,
        button=texts.gettext("Hold it"),
        says=lambda outcome: _says_held(visit, outcome),
        idle=texts.gettext("It was decided so already."),
        then=at_update(visit),
        notice="update-held",
    )
    return await carry_out(visit, deed, holding)


def _says_held(visit: Visit, outcome: Outcome) -> Sequence[str]:
    texts = visit.texts
    rollouts = [each for event in outcome.events if isinstance(each := event.data.get("rollouts"), list)]
    said = [texts.gettext("It reaches nobody of these groups until somebody decides otherwise.")]
    if any(rollouts):
        said.append(texts.gettext("Running rollouts of it leave these groups out. What is installed stays installed."))
    return said


def _form_page(visit: Visit, template: str, update: Update, groups: Sequence[Group]) -> Response:
    chosen, texts = visit.form["groups[]"].split(), visit.texts
    labels = {
        "groups": texts.gettext("For which groups"),
        "starts_at": texts.gettext("Time"),
        "course": texts.gettext("In which steps"),
        "reason": texts.gettext("Reason"),
    }
    for row in range(1, ROWS + 1):
        labels |= {
            f"share_{row}": texts.gettext("Share"),
            f"success_{row}": texts.gettext("Passed at"),
            f"error_{row}": texts.gettext("Pauses at"),
        }
    decided = {
        texts.gettext("Approved"): update.approved,
        texts.gettext("Held"): update.held,
        texts.gettext("Scheduled"): update.scheduled,
    }
    return visit.page(
        template,
        tab="available",
        at=at_contract(visit),
        here=at_update(visit),
        update=update,
        groups=groups,
        chosen=chosen,
        labels=labels,
        note={group_id: text for text, ids in decided.items() for group_id in ids},
        rows=range(1, ROWS + 1),
        share=SHARE,
        zone=str(visit.texts.zone or "UTC"),
    )
