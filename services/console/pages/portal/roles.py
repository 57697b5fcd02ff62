"""Roles: asking for one, answering, naming and withdrawing coordinators, and the handover."""

from collections.abc import Callable, Sequence
from typing import Final

from pydantic import JsonValue
from starlette.responses import Response

from services.console.deeds import Deed, Outcome, again, carry_out, refuse
from services.console.doors import NoSuchId, Refused, path
from services.console.names import Names, names_of
from services.console.pages.portal.words import role_name
from services.console.shapes.identity import AtAddresses, Contract, RoleAsked
from services.console.texts import Texts, marked
from services.console.visits import Visit

NOBODY: Final = marked("Nobody in your organisation has this address. Invite them first.")
NO_REQUEST: Final = marked("This request has been answered already, or was withdrawn.")


async def contract_of(visit: Visit) -> Contract:
    """Return the contract of the page's path."""
    return await visit.see("identity", path("/contracts/{contract_id}", contract_id=visit.id("contract_id")), Contract)


async def account_at(visit: Visit, name: str = "email") -> str | None:
    """Return the account of the colleague at a field's address, or note that there is none."""
    if not visit.form.require(visit.texts, name):
        return None
    address: JsonValue = [{"email": visit.form[name].strip()}]
    found = await visit.ask("identity", "POST", "/accounts/by-address", AtAddresses, {"items": address})
    account_id = found.items[0].account_id
    if account_id is None:
        visit.form.errors[name] = visit.texts.gettext(NOBODY)
    return account_id


def role_changes(texts: Texts, names: Names) -> Callable[[Outcome], Sequence[str]]:
    """Return what says in sentences which roles a command gives and takes."""

    def says(outcome: Outcome) -> Sequence[str]:
        return [sentence for event in outcome.events if (sentence := _change(texts, names, event.type, event.data))]

    return says


def _change(texts: Texts, names: Names, kind: str, data: dict[str, JsonValue]) -> str:
    values = {"name": names[str(data.get("account_id", ""))].name, "role": role_name(texts, str(data.get("role", "")))}
    if kind == "RoleAssigned" and data.get("may_assign_seats") and data.get("role") == "software_coordinator":
        return texts.gettext("%(name)s becomes %(role)s and may assign seats.") % values
    if kind == "RoleAssigned":
        return texts.gettext("%(name)s becomes %(role)s.") % values
    if kind == "RoleRevoked":
        return texts.gettext("%(name)s is %(role)s no longer, and has to sign in again.") % values
    if kind == "RoleRequested":
        return texts.gettext("The Contract Manager is asked to make %(name)s %(role)s.") % values
    if kind == "RoleRequestDeclined":
        return texts.gettext("%(name)s is told that the request is declined, and why.") % values
    return ""


# ── Asking for a role ──────────────────────────────────────────────────────────────────────────────────


async def ask_role(visit: Visit) -> Response:
    """Show the form that asks for a role."""
    contract = await contract_of(visit)
    visit.form.values = {"role": "software_coordinator", "message": ""} | visit.form.values
    return visit.page("portal/ask-role.html", contract=contract)


async def send_role_request(visit: Visit) -> Response:
    """Ask the Contract Manager for a role."""
    contract_id, form = visit.id("contract_id"), visit.form
    names = await names_of(visit, ())
    deed = Deed(
        service="identity",
        method="POST",
        path=path("/contracts/{contract_id}/role-requests", contract_id=contract_id),
        body={"role": form["role"], "message": form["message"].strip()},
        question=visit.texts.gettext("Ask for this role?"),
        button=visit.texts.gettext("Ask for the role"),
        says=role_changes(visit.texts, names),
        then=path("/contracts/{contract_id}", contract_id=contract_id),
        notice="role-asked",
    )
    return await carry_out(visit, deed, ask_role)


# ── Answering ──────────────────────────────────────────────────────────────────────────────────────────


async def answer_page(visit: Visit) -> Response:
    """Show a request for a role, with the ways to answer it."""
    contract = await contract_of(visit)
    asked = _asked(contract, visit.id("account_id"))
    names = await names_of(visit, [visit.id("account_id")])
    if asked is None and not names.knows(visit.id("account_id")):
        raise NoSuchId
    visit.form.values = {"answer": "", "reason": ""} | visit.form.values
    return visit.page("portal/answer.html", contract=contract, asked=asked, names=names)


def _asked(contract: Contract, account_id: str) -> RoleAsked | None:
    return next((each for each in contract.requests if each.account_id == account_id), None)


async def answer(visit: Visit) -> Response:
    """Approve a request for a role, with or without the right to assign seats, or decline it."""
    form, texts, account_id = visit.form, visit.texts, visit.id("account_id")
    declines = form["answer"] == "decline"
    if not form.require(texts, "answer", *(["reason"] if declines else [])):
        return await again(visit, answer_page)
    at = "/contracts/{contract_id}/role-requests/{account_id}/" + ("decline" if declines else "approval")
    body: dict[str, JsonValue] = {"may_assign_seats": form["answer"] == "approve-seats"}
    deed = Deed(
        service="identity",
        method="POST",
        path=path(at, contract_id=visit.id("contract_id"), account_id=account_id),
        body={"reason": form["reason"].strip()} if declines else body,
        question=texts.gettext("Decline this request?") if declines else texts.gettext("Approve this request?"),
        button=texts.gettext("Decline the request") if declines else texts.gettext("Approve the request"),
        says=role_changes(texts, await names_of(visit, [account_id])),
        then=path("/contracts/{contract_id}", contract_id=visit.id("contract_id")),
        notice="role-answered",
    )
    return await carry_out(visit, deed, answer_page)


# ── Software Coordinators ──────────────────────────────────────────────────────────────────────────────


async def coordinator_page(visit: Visit) -> Response:
    """Show the form that names a Software Coordinator."""
    contract = await contract_of(visit)
    visit.form.values = {"email": visit.request.query_params.get("email", "")} | visit.form.values
    return visit.page("portal/coordinator.html", contract=contract)


async def name_coordinator(visit: Visit) -> Response:
    """Make a colleague a Software Coordinator, or change whether they may assign seats."""
    texts, contract_id = visit.texts, visit.id("contract_id")
    try:
        account_id = await account_at(visit)
    except Refused as refused:
        return await refuse(visit, refused, coordinator_page)
    if account_id is None:
        return await again(visit, coordinator_page)
    deed = Deed(
        service="identity",
        method="PUT",
        path=path("/contracts/{contract_id}/coordinators/{id}", contract_id=contract_id, id=account_id),
        body={"may_assign_seats": visit.form["may_assign_seats"] == "on"},
        question=texts.gettext("Name this person Software Coordinator?"),
        button=texts.gettext("Name the coordinator"),
        says=role_changes(texts, await names_of(visit, [account_id])),
        then=path("/contracts/{contract_id}", contract_id=contract_id),
        notice="coordinator-named",
    )
    return await carry_out(visit, deed, coordinator_page)


async def withdraw_role(visit: Visit) -> Response:
    """Take the role of Software Coordinator from somebody."""
    texts, contract_id, account_id = visit.texts, visit.id("contract_id"), visit.id("account_id")
    deed = Deed(
        service="identity",
        method="DELETE",
        path=path("/contracts/{contract_id}/coordinators/{id}", contract_id=contract_id, id=account_id),
        question=texts.gettext("Withdraw this role?"),
        button=texts.gettext("Withdraw the role"),
        says=role_changes(texts, await names_of(visit, [account_id])),
        then=path("/contracts/{contract_id}", contract_id=contract_id),
        notice="role-withdrawn",
    )
    return await carry_out(visit, deed, role_page)


async def role_page(visit: Visit) -> Response:
    """Show a Software Coordinator's role on a contract."""
    contract, account_id = await contract_of(visit), visit.id("account_id")
    names, role = await names_of(visit, [account_id]), contract.role_of(account_id)
    if role is None and not names.knows(account_id):
        raise NoSuchId
    return visit.page("portal/role.html", contract=contract, role=role, account_id=account_id, names=names)


# ── Handover ───────────────────────────────────────────────────────────────────────────────────────────


async def handover_page(visit: Visit) -> Response:
    """Show the form that hands the contract over."""
    contract = await contract_of(visit)
    visit.form.values = {"email": ""} | visit.form.values
    return visit.page("portal/handover.html", contract=contract)


async def hand_over(visit: Visit) -> Response:
    """Hand the contract over to a colleague."""
    texts, contract = visit.texts, await contract_of(visit)
    try:
        account_id = await account_at(visit)
    except Refused as refused:
        return await refuse(visit, refused, handover_page)
    if account_id is None:
        return await again(visit, handover_page)
    deed = Deed(
        service="identity",
        method="POST",
        path=path("/contracts/{contract_id}/handover", contract_id=contract.contract_id),
        body={"to": account_id},
        question=texts.gettext("Hand this contract over?"),
        button=texts.gettext("Hand the contract over"),
        says=role_changes(texts, await names_of(visit, [account_id, contract.manager])),
        grave=True,
        then=path("/contracts/{contract_id}", contract_id=contract.contract_id),
        notice="handed-over",
    )
    return await carry_out(visit, deed, handover_page)
