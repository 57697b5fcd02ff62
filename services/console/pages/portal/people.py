"""People: the list, one person, invitations, who manages people, and leavers."""

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus

from starlette.responses import Response

from services.console.deeds import Deed, LinesDeed, Outcome, again, carry_out, carry_out_lines
from services.console.doors import Refused, path
from services.console.pages.portal import files
from services.console.shapes.entitlements import Holders, Pool, Pools
from services.console.shapes.identity import Contracts, Invitations, People, Person
from services.console.texts import Texts
from services.console.visits import Visit

POOLS_AT_ONCE = 40
"""The number of pools in which a person's seats are looked for."""

# ── The list ───────────────────────────────────────────────────────────────────────────────────────────


async def people(visit: Visit) -> Response:
    """List the organisation's people, and the invitations that wait."""
    if visit.wants_csv:
        return await visit.export("identity", "/people", "people", "role")
    found, invitations = await asyncio.gather(_people(visit), _invitations(visit))
    pending = [each for each in invitations.items if each.state == "pending"] if invitations else []
    return visit.page("portal/people.html", found=found, manages=invitations is not None, pending=pending)


async def _people(visit: Visit) -> People | None:
    """Return the people that the page's address names; None if the person may not see them."""
    try:
        return await visit.see_list("identity", "/people", People, "role")
    except Refused as refused:
        if refused.problem.status != HTTPStatus.FORBIDDEN:
            raise
        return None


async def _invitations(visit: Visit) -> Invitations | None:
    """Return the invitations; None if the person does not manage people."""
    try:
        return await visit.see("identity", "/invitations", Invitations, limit="200")
    except Refused:
        return None


async def invite_page(visit: Visit) -> Response:
    """Show the form that invites somebody."""
    visit.form.values = {"email": ""} | visit.form.values
    return visit.page("portal/invite.html")


async def invite(visit: Visit) -> Response:
    """Invite somebody by their address."""
    texts = visit.texts
    if not visit.form.require(texts, "email"):
        return await again(visit, invite_page)
    email = visit.form["email"].strip()
    deed = Deed(
        service="identity",
        method="POST",
        path="/invitations",
        body={"email": email},
        question=texts.gettext("Invite this person?"),
        button=texts.gettext("Send the invitation"),
        says=lambda _: [
            texts.gettext("A link goes to %(email)s. It is valid once, for this address, for seven days.")
            % {"email": email}
        ],
        then="/people",
        notice="invited",
    )
    return await carry_out(visit, deed, invite_page)


async def withdraw_invitation(visit: Visit) -> Response:
    """Withdraw an invitation that nobody has accepted."""
    texts = visit.texts
    deed = Deed(
        service="identity",
        method="DELETE",
        path=path("/invitations/{id}", id=visit.form["invitation_id"]),
        question=texts.gettext("Withdraw this invitation?"),
        button=texts.gettext("Withdraw the invitation"),
        says=lambda _: [texts.gettext("The link in its mail is not valid any more.")],
        then="/people",
        notice="invitation-withdrawn",
    )
    return await carry_out(visit, deed, people)


# ── One person ─────────────────────────────────────────────────────────────────────────────────────────


async def person_page(visit: Visit) -> Response:
    """Show a person with their roles and seats."""
    account_id = visit.id("account_id")
    person, seats, contracts, invitations = await asyncio.gather(
        _person(visit, account_id),
        seats_of(visit, account_id) if _of_customer(visit) else _none(),
        visit.see("identity", "/contracts", Contracts, limit="200"),
        _invitations(visit),
    )
    labels = {each.contract_id: each for each in contracts.items}
    return visit.page(
        "portal/person.html",
        person=person,
        seats=seats,
        labels=labels,
        manages=invitations is not None,
        mine=visit.account is not None and visit.account.account_id == account_id,
    )


def _of_customer(visit: Visit) -> bool:
    """Return whether the person's organisation has seats."""
    return visit.account is not None and visit.account.organisation_kind == "customer"


async def _none() -> Sequence[Pool]:
    return ()


async def _person(visit: Visit, account_id: str) -> Person:
    return await visit.see("identity", path("/people/{account_id}", account_id=account_id), Person)


async def seats_of(visit: Visit, account_id: str) -> Sequence[Pool]:
    """Return the pools in which somebody holds a seat."""
    pools = await visit.see("entitlements", "/pools", Pools, limit=str(POOLS_AT_ONCE), sort="product_name")
    used = [pool for pool in pools.items if pool.assigned]
    held = await asyncio.gather(
        *(
            visit.see(
                "entitlements",
                path("/pools/{id}/seats", id=pool.subscription_id),
                Holders,
                account_id=account_id,
            )
            for pool in used
        )
    )
    return [pool for pool, holders in zip(used, held, strict=True) if holders.items]


async def change_person(visit: Visit) -> Response:
    """Remove a leaver, or change whether somebody manages people."""
    deeds = {"remove": _removal, "name": _naming, "dismiss": _dismissal}
    make = deeds.get(visit.form["act"], _removal)
    return await carry_out(visit, await make(visit, visit.id("account_id")), person_page)


async def _removal(visit: Visit, account_id: str) -> Deed:
    texts = visit.texts
    person, seats = await asyncio.gather(_person(visit, account_id), seats_of(visit, account_id))
    return Deed(
        service="identity",
        method="DELETE",
        path=path("/people/{id}", id=account_id),
        question=texts.gettext("Remove %(name)s?") % {"name": person.name},
        button=texts.gettext("Remove this person"),
        says=_taken(texts, person, seats),
        grave=True,
        then="/people",
        notice="removed",
    )


def _taken(texts: Texts, person: Person, seats: Sequence[Pool]) -> Callable[[Outcome], Sequence[str]]:
    """Return what says what a leaver loses."""

    def says(_: Outcome) -> Sequence[str]:
        said = [texts.gettext("Their account is closed, and their sessions end at once.")]
        count = len(person.roles)
        if count:
            said.append(texts.ngettext("They lose %(num)d role.", "They lose %(num)d roles.", count) % {"num": count})
        said += [texts.gettext("Their seat of %(product)s is free.") % {"product": pool.product_name} for pool in seats]
        return [*said, texts.gettext("Their name and address are erased everywhere.")]

    return says


async def _naming(visit: Visit, account_id: str) -> Deed:
    return _administrator(visit, account_id, "PUT")


async def _dismissal(visit: Visit, account_id: str) -> Deed:
    return _administrator(visit, account_id, "DELETE")


def _administrator(visit: Visit, account_id: str, method: str) -> Deed:
    texts, gives = visit.texts, method == "PUT"
    return Deed(
        service="identity",
        method="PUT" if gives else "DELETE",
        path=path("/organisation/administrators/{id}", id=account_id),
        question=texts.gettext("Let this person manage people?") if gives else texts.gettext("Take this right?"),
        button=texts.gettext("Give the right") if gives else texts.gettext("Take the right"),
        says=lambda _: [
            texts.gettext("They may invite people, withdraw invitations and remove leavers.")
            if gives
            else texts.gettext("They may not invite or remove people any more, and have to sign in again.")
        ],
        then=path("/people/{id}", id=account_id),
        notice="right-given" if gives else "right-taken",
    )


# ── Several leavers ────────────────────────────────────────────────────────────────────────────────────


async def leavers_page(visit: Visit) -> Response:
    """Show the form that removes people by a list or a file."""
    visit.form.values = {"file": "", "pasted": ""} | visit.form.values
    return visit.page("portal/leavers.html")


async def remove_leavers(visit: Visit) -> Response:
    """Remove the people of a list or a file, after a preview of each line."""
    texts = visit.texts
    lines = files.lines_of(visit)
    if lines is None:
        return await again(visit, leavers_page)
    deed = LinesDeed(
        service="identity",
        path="/people/remove/bulk",
        lines=lines.text,
        added=lines.added,
        question=texts.gettext("Remove these people?"),
        button=texts.gettext("Remove these people"),
        then="/people",
    )
    return await carry_out_lines(visit, deed, leavers_page)
