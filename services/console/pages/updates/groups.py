"""Groups of users: the list, one group with its members, and members from a file."""

import asyncio
import re
from typing import Final

from starlette.responses import Response

from services.console.deeds import Deed, LinesDeed, again, carry_out, carry_out_lines, do_now
from services.console.doors import NoSuchId, path
from services.console.names import Named, names_of
from services.console.pages.updates.available import titles_of
from services.console.pages.updates.contracts import DEFAULT_GROUP, at_contract, groups_of
from services.console.pages.updates.policies import at_group, policies_of
from services.console.pages.updates.words import CADENCES, entries, people_in, policy_in_words, updates_in
from services.console.shapes.distribution import Group, GroupThen, History
from services.console.texts import marked
from services.console.visits import Visit

SHOWN: Final = 100
"""The greatest number of members that a page shows; the search finds the others."""
ADDRESS: Final = re.compile(r"[^@\s,;]+@[^@\s,;]+")
NO_FILE: Final = marked("Choose a CSV file.")
_MEMBERS: Final = "/contracts/{contract_id}/groups/{group_id}/users"


# ── The groups ─────────────────────────────────────────────────────────────────────────────────────────


async def groups(visit: Visit) -> Response:
    """List the groups with their policies, and show the form for another."""
    if visit.wants_csv:
        at = path("/contracts/{contract_id}/groups", contract_id=visit.id("contract_id"))
        return await visit.export("distribution", at, "groups")
    found, policies = await asyncio.gather(groups_of(visit, visit.id("contract_id")), policies_of(visit))
    cadences = {each.group_id: visit.texts.gettext(CADENCES[each.cadence]) for each in policies}
    visit.form.values.setdefault("name", "")
    return visit.page(
        "updates/groups.html",
        tab="groups",
        at=at_contract(visit),
        groups=found,
        cadences=cadences,
        default=DEFAULT_GROUP,
    )


async def create(visit: Visit) -> Response:
    """Create a group."""
    form = visit.form
    if not form.require(visit.texts, "name"):
        return await again(visit, groups)
    deed = Deed(
        service="distribution",
        method="POST",
        path=path("/contracts/{contract_id}/groups", contract_id=visit.id("contract_id")),
        body={"name": form["name"].strip()},
        question=visit.texts.gettext("Create the group?"),
        button=visit.texts.gettext("Create it"),
        then=at_contract(visit, "/groups"),
        notice="group-created",
    )
    return await do_now(visit, deed, groups)


# ── One group ──────────────────────────────────────────────────────────────────────────────────────────


async def group(visit: Visit) -> Response:
    """Show a group: its policy, its members and its history."""
    contract_id, group_id, texts = visit.id("contract_id"), visit.id("group_id"), visit.texts
    told = path("/contracts/{contract_id}/groups/{group_id}/history", contract_id=contract_id, group_id=group_id)
    here = path("/contracts/{contract_id}/groups/{group_id}", contract_id=contract_id, group_id=group_id)
    history = await visit.see("distribution", told, History, sort="-version", limit="20")
    one = await visit.see_then("distribution", here, GroupThen)  # afterwards, so that it is not older than its history
    names, titles = await asyncio.gather(
        names_of(visit, [*one.members, *people_in(history.items)]),
        titles_of(visit, contract_id, updates_in(history.items)),
    )
    asked = visit.request.query_params.get("q", "").strip().casefold()
    members = [(account_id, names[account_id]) for account_id in one.members]
    matching = sorted((each for each in members if _matches(each[1], asked)), key=lambda each: each[1].name.casefold())
    visit.form.values.setdefault("email", "")
    return visit.page(
        "updates/group.html",
        tab="groups",
        at=at_contract(visit),
        here=at_group(visit),
        group=one,
        is_default=group_id == DEFAULT_GROUP,
        members=matching[:SHOWN],
        more=max(len(matching) - SHOWN, 0),
        policy=policy_in_words(one.policy, texts),
        history=entries(history.items, names, texts, titles),
    )


def _matches(person: Named, asked: str) -> bool:
    return asked in person.name.casefold() or asked in person.email.casefold()


async def change(visit: Visit) -> Response:
    """Put somebody into the group, or remove a member."""
    return await (_remove(visit) if visit.form["remove"] else _put(visit))


async def _put(visit: Visit) -> Response:
    form, texts = visit.form, visit.texts
    if not form.require(texts, "email"):
        return await again(visit, group)
    deed = Deed(
        service="distribution",
        method="POST",
        path=path(_MEMBERS, contract_id=visit.id("contract_id"), group_id=visit.id("group_id")),
        body={"email": form["email"].strip()},
        question=texts.gettext("Put %(person)s into the group?") % {"person": form["email"].strip()},
        button=texts.gettext("Put into the group"),
        says=lambda _: [texts.gettext("Whoever is in another group leaves that. Running rollouts follow at once.")],
        then=at_group(visit),
        notice="member-put",
    )
    return await carry_out(visit, deed, group)


async def _remove(visit: Visit) -> Response:
    texts, account_id = visit.texts, visit.form["remove"]
    person = (await names_of(visit, [account_id]))[account_id]
    at = path(_MEMBERS, contract_id=visit.id("contract_id"), group_id=visit.id("group_id"))
    deed = Deed(
        service="distribution",
        method="DELETE",
        path=at + path("/{account_id}", account_id=account_id),
        question=texts.gettext("Remove %(person)s from the group?") % {"person": person.name},
        button=texts.gettext("Remove"),
        says=lambda _: [texts.gettext("They go back to those who are in no group. Running rollouts follow at once.")],
        then=at_group(visit),
        notice="member-removed",
    )
    return await carry_out(visit, deed, group)


# ── A file ─────────────────────────────────────────────────────────────────────────────────────────────


async def upload(visit: Visit) -> Response:
    """Show the form for a file of members."""
    found = await groups_of(visit, visit.id("contract_id"))
    one = next((each for each in found if each.group_id == visit.id("group_id")), None)
    if one is None:
        raise NoSuchId
    visit.form.values.setdefault("file", "")
    return _upload_page(visit, one)


def _upload_page(visit: Visit, one: Group) -> Response:
    return visit.page("updates/group-file.html", tab="groups", at=at_contract(visit), here=at_group(visit), group=one)


async def put_file(visit: Visit) -> Response:
    """Put the people of a file into the group, once the person has seen each line's outcome."""
    form, texts = visit.form, visit.texts
    if form.wrong:
        return await again(visit, upload)
    if not form["file"].strip():
        form.errors["file"] = texts.gettext(NO_FILE)
        return await again(visit, upload)
    form.values["file"] = with_header(form["file"])
    deed = LinesDeed(
        service="distribution",
        path=path(f"{_MEMBERS}/bulk", contract_id=visit.id("contract_id"), group_id=visit.id("group_id")),
        lines=form["file"],
        question=texts.gettext("Put these people into the group?"),
        button=texts.gettext("Put them into the group"),
        then=at_group(visit),
    )
    return await carry_out_lines(visit, deed, upload)


def with_header(lines: str) -> str:
    """Return a file with the heading `email`, if its first line is an address already."""
    first = next(iter(lines.splitlines()), "").strip()
    return f"email\n{lines}" if ADDRESS.fullmatch(first) else lines
