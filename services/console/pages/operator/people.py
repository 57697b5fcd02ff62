"""The people of any organisation, and invitations that only the operator makes."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from pydantic import JsonValue
from starlette.responses import Response

from services.console.deeds import Deed, again, carry_out
from services.console.doors import path
from services.console.shapes.identity import People, Person
from services.console.shapes.operator import Delivered, Member
from services.console.visits import Visit

INTO: Final = ("publisher", "operator")
LATEST: Final = "5"


async def organisation(visit: Visit) -> Response:
    """List the people of an organisation."""
    organisation_id = visit.id("organisation_id")
    if visit.wants_csv:
        query = {**visit.listed("role"), "organisation_id": organisation_id}
        return await visit.export_as("identity", "/people", "people", query)
    asked = {**visit.listed("role"), "organisation_id": organisation_id}
    found = await visit.see("identity", "/people", People, **asked)
    name = (await _member(visit, found.items[0].account_id)).organisation_name if found.items else ""
    return visit.page("operator/organisation.html", found=found, name=name)


async def _member(visit: Visit, account_id: str) -> Member:
    return await visit.see("identity", path("/accounts/{account_id}", account_id=account_id), Member)


async def person(visit: Visit) -> Response:
    """Show somebody, and the forms that end their sessions or remove them."""
    account_id = visit.id("account_id")
    found, member, told = await asyncio.gather(
        visit.see("identity", path("/people/{account_id}", account_id=account_id), Person),
        _member(visit, account_id),
        visit.see("identity", "/notifications", Delivered, account_id=account_id, mail="bounced", limit=LATEST),
    )
    own = visit.account is not None and visit.account.account_id == account_id
    return visit.page("operator/person.html", person=found, member=member, bounced=told.items, own=own)


async def change(visit: Visit) -> Response:
    """End all sessions of somebody, or remove them, once the operator has confirmed that."""
    deeds: Mapping[str, Callable[[Visit, Member], Deed]] = {"sessions": _ending, "remove": _removal}
    member = await _member(visit, visit.id("account_id"))
    return await carry_out(visit, deeds.get(visit.form["act"], _ending)(visit, member), person)


def _ending(visit: Visit, member: Member) -> Deed:
    texts = visit.texts
    return Deed(
        service="identity",
        method="DELETE",
        path=path("/accounts/{account_id}/sessions", account_id=member.account_id),
        question=texts.gettext("End all sessions of %(name)s?") % {"name": member.name},
        button=texts.gettext("End all sessions"),
        says=lambda _: [texts.gettext("They are signed out everywhere within a second, and are told so.")],
        then=path("/operator/people/{account_id}", account_id=member.account_id),
        notice="sessions-of-over",
    )


def _removal(visit: Visit, member: Member) -> Deed:
    texts = visit.texts
    return Deed(
        service="identity",
        method="DELETE",
        path=path("/people/{account_id}", account_id=member.account_id),
        question=texts.gettext("Remove %(name)s?") % {"name": member.name},
        button=texts.gettext("Remove this person"),
        says=lambda _: [
            texts.gettext("Their account is closed, and their sessions end at once."),
            texts.gettext("Their roles and seats go with them."),
            texts.gettext("Their name and address are erased everywhere."),
        ],
        grave=True,
        then=path("/operator/organisations/{organisation_id}", organisation_id=member.organisation_id),
        notice="removed",
    )


# ── Invitations ────────────────────────────────────────────────────────────────────────────────────────


async def invite_page(visit: Visit) -> Response:
    """Show the form that invites somebody of a publisher or of the operator."""
    visit.form.values = {"email": "", "kind": "publisher", "name": "", "publisher": ""} | visit.form.values
    return visit.page("operator/invite.html")


async def invite(visit: Visit) -> Response:
    """Invite somebody of a publisher or of the operator by their address."""
    form, texts = visit.form, visit.texts
    kind = form["kind"] if form["kind"] in INTO else "publisher"
    if not form.require(texts, "email", *(["name"] if kind == "publisher" else [])):
        return await again(visit, invite_page)
    email, publisher = form["email"].strip(), form["publisher"].strip()
    body: dict[str, JsonValue] = {"email": email}
    if kind == "publisher":
        body["organisation"] = {"kind": kind, "name": form["name"].strip(), "publisher": publisher}
    deed = Deed(
        service="identity",
        method="POST",
        path="/invitations",
        body=body,
        question=texts.gettext("Invite this person?"),
        button=texts.gettext("Send the invitation"),
        says=lambda _: [
            texts.gettext("They will see and change what concerns this publisher, for all its customers.")
            if kind == "publisher"
            else texts.gettext("They will see what concerns all organisations."),
            texts.gettext("A link goes to %(email)s. It is valid once, for this address, for seven days.")
            % {"email": email},
        ],
        then="/operator/invite",
        notice="invited",
    )
    return await carry_out(visit, deed, invite_page)
