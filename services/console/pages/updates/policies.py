"""The policies of groups: when updates are approved by themselves, and installed."""

import asyncio
from collections.abc import Sequence
from typing import Final

from pydantic import JsonValue, TypeAdapter
from starlette.responses import Response

from services.console.deeds import Deed, Outcome, again, carry_out
from services.console.doors import NoSuchId, path
from services.console.forms import whole_number
from services.console.names import names_of
from services.console.pages.updates.contracts import AT_ONCE, at_contract, groups_of
from services.console.pages.updates.words import CADENCES, WEEKDAYS, actor, policy_in_words, weekday
from services.console.shapes.distribution import Group, GroupPolicy, Policies
from services.console.texts import marked, zones
from services.console.visits import Visit

ROWS: Final = 4
"""The number of windows that the form has room for, more where the policy has more."""
WINDOWS_AT_MOST: Final = 50
NO_TIME: Final = marked("Write when the window begins, such as 22:00.")
NO_LENGTH: Final = marked("Write how many minutes it lasts, from 1 to 1,440.")
NO_ZONE: Final = marked("Choose a time zone.")
_POLICY: Final = TypeAdapter(GroupPolicy)


async def policies_of(visit: Visit) -> Sequence[GroupPolicy]:
    """Return the policies of the contract's groups, in the order of the groups."""
    at = path("/contracts/{contract_id}/policies", contract_id=visit.id("contract_id"))
    return (await visit.see("distribution", at, Policies, limit=AT_ONCE)).items


async def overview(visit: Visit) -> Response:
    """Show every group's policy in words."""
    policies, groups = await asyncio.gather(policies_of(visit), groups_of(visit, visit.id("contract_id")))
    names, by_group = await names_of(visit, (each.set_by for each in policies)), {p.group_id: p for p in policies}
    shown = [(group, by_group[group.group_id]) for group in groups if group.group_id in by_group]
    return visit.page(
        "updates/policies.html",
        tab="policies",
        at=at_contract(visit),
        shown=[
            {
                "group": group,
                "cadence": visit.texts.gettext(CADENCES[policy.cadence]),
                "sentences": policy_in_words(policy, visit.texts),
                "set_by": actor(policy.set_by, names, visit.texts) if policy.set_by else "",
            }
            for group, policy in shown
        ],
    )


def at_group(visit: Visit, rest: str = "") -> str:
    """Return the address of the group's page."""
    return at_contract(visit, path("/groups/{group_id}", group_id=visit.id("group_id")) + rest)


async def policy(visit: Visit) -> Response:
    """Show the form of the group's policy."""
    policies, groups = await asyncio.gather(policies_of(visit), groups_of(visit, visit.id("contract_id")))
    group_id = visit.id("group_id")
    found = next((each for each in policies if each.group_id == group_id), None)
    group = next((each for each in groups if each.group_id == group_id), None)
    if found is None or group is None:
        raise NoSuchId
    if visit.request.method == "GET":
        visit.form.values |= _values(found)
    rows = max(ROWS, len(found.windows) + 1)
    return _page(visit, group, rows)


def _values(found: GroupPolicy) -> dict[str, str]:
    values = {"cadence": found.cadence}
    for row, window in enumerate(found.windows, start=1):
        values |= {
            f"weekday_{row}": window.weekday,
            f"starts_{row}": window.starts,
            f"minutes_{row}": str(window.minutes),
            f"time_zone_{row}": window.time_zone,
        }
    return values


def _page(visit: Visit, group: Group, rows: int) -> Response:
    texts, labels = visit.texts, {"cadence": visit.texts.gettext("Approved by itself")}
    for row in range(1, rows + 1):
        labels |= {
            f"weekday_{row}": texts.gettext("Weekday"),
            f"starts_{row}": texts.gettext("Begins at"),
            f"minutes_{row}": texts.gettext("Minutes"),
            f"time_zone_{row}": texts.gettext("Time zone"),
        }
    return visit.page(
        "updates/policy.html",
        tab="groups",
        at=at_contract(visit),
        here=at_group(visit),
        group=group,
        labels=labels,
        cadences=[(name, texts.gettext(text)) for name, text in CADENCES.items()],
        weekdays=[(name, weekday(name, texts)) for name in WEEKDAYS],
        zones=zones(),
        own_zone=str(texts.zone or "UTC"),
        rows=range(1, rows + 1),
    )


async def set_policy(visit: Visit) -> Response:
    """Set the group's policy, once the person has confirmed it in words."""
    texts, form = visit.texts, visit.form
    form.values.setdefault("cadence", "")
    windows = _windows(visit)
    if not form.require(texts, "cadence") or form.wrong:
        return await again(visit, policy)
    at = path(
        "/contracts/{contract_id}/groups/{group_id}/policy",
        contract_id=visit.id("contract_id"),
        group_id=visit.id("group_id"),
    )
    deed = Deed(
        service="distribution",
        method="PUT",
        path=at,
        body={"cadence": form["cadence"], "windows": windows},
        question=texts.gettext("Set this policy?"),
        button=texts.gettext("Set the policy"),
        says=lambda outcome: _says(visit, outcome),
        idle=texts.gettext("It is the group's policy already."),
        then=at_group(visit),
        notice="policy-set",
    )
    return await carry_out(visit, deed, policy)


def _says(visit: Visit, outcome: Outcome) -> Sequence[str]:
    return [
        sentence
        for event in outcome.events
        if event.type == "GroupPolicySet"
        for sentence in policy_in_words(_POLICY.validate_python(event.data), visit.texts)
    ]


def _windows(visit: Visit) -> list[JsonValue]:
    """Return the windows that the form has, and note what is wrong with them."""
    form, texts = visit.form, visit.texts
    windows: list[JsonValue] = []
    for row in range(1, WINDOWS_AT_MOST + 1):
        if not form[f"weekday_{row}"]:
            continue
        starts, minutes = form[f"starts_{row}"].strip(), whole_number(form[f"minutes_{row}"]) or 0
        zone = form[f"time_zone_{row}"].strip()
        if not starts:
            form.errors[f"starts_{row}"] = texts.gettext(NO_TIME)
        if not 1 <= minutes <= 1440:
            form.errors[f"minutes_{row}"] = texts.gettext(NO_LENGTH)
        if not zone:
            form.errors[f"time_zone_{row}"] = texts.gettext(NO_ZONE)
        if not form.errors:
            windows.append(
                {
                    "weekday": form[f"weekday_{row}"],
                    "starts": starts,
                    "minutes": minutes,
                    "time_zone": zone,
                }
            )
    return windows
