"""The list of machines, one of them, and the form that registers another."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from pydantic import JsonValue
from starlette.responses import Response

from services.console.deeds import Deed, again, carry_out, refuse
from services.console.doors import Refused, path
from services.console.names import names_of
from services.console.pages.one_time import SecretWords, overlap, rotation, show_once
from services.console.pages.portal.roles import account_at
from services.console.shapes.machines import Machine, Machines, MachineSecret
from services.console.texts import marked
from services.console.visits import Page, Visit

AT: Final = "/machines"
SCOPES: Final[Mapping[str, str]] = {
    "installs:report": marked("reports installations of updates"),
    "read": marked("reads what its organisation may see"),
    "credits:consume": marked("spends credits"),
    "events:publish": marked("sends a publisher's events"),
    "tokens:introspect": marked("checks tokens"),
}
"""What a machine may do; the last three are the operator's to give."""
OPERATORS: Final = ("credits:consume", "events:publish", "tokens:introspect")
KINDS: Final = ("customer", "partner", "publisher")
NO_SCOPE: Final = marked("Choose what it may do.")
NO_DAY: Final = marked("Choose a day, at most a year ahead.")
NEEDS_PUBLISHER: Final = marked("Name the organisation, and of a publisher its name in contracts.")

# ── The list, and one of them ──────────────────────────────────────────────────────────────────────────


async def machines(visit: Visit) -> Response:
    """List the machines of the organisation that the person may see."""
    if visit.wants_csv:
        return await visit.export("identity", AT, "machines", "revoked")
    found = await visit.see_list("identity", AT, Machines, "revoked")
    people = [*(each.registered_by for each in found.items), *(each.acts_for for each in found.items)]
    return visit.page(
        "machines/machines.html",
        found=found,
        scopes=_scopes(visit),
        now=datetime.now(UTC),
        names=await names_of(visit, people),
    )


def _scopes(visit: Visit) -> Mapping[str, str]:
    return {name: visit.texts.gettext(text) for name, text in SCOPES.items()}


async def machine(visit: Visit) -> Response:
    """Show a machine, and the forms that give it a new secret or revoke it."""
    found = await visit.see("identity", path("/machines/{id}", id=visit.id("client_id")), Machine)
    visit.form.values.setdefault("overlap", "1")
    return visit.page(
        "machines/machine.html",
        machine=found,
        scopes=_scopes(visit),
        now=datetime.now(UTC),
        names=await names_of(visit, [found.registered_by, found.acts_for, found.revoked_by]),
    )


async def change(visit: Visit) -> Response:
    """Give the machine a new secret, or revoke it."""
    texts, client_id = visit.texts, visit.id("client_id")
    if visit.form["act"] != "revoke":
        return await _rotate(visit)
    deed = Deed(
        service="identity",
        method="DELETE",
        path=path("/machines/{id}", id=client_id),
        question=texts.gettext("Revoke this machine?"),
        button=texts.gettext("Revoke it"),
        says=lambda _: [texts.gettext("Its secrets and its tokens are not valid any more, within a second.")],
        grave=True,
        then=path("/machines/{id}", id=client_id),
        notice="machine-revoked-now",
    )
    return await carry_out(visit, deed, machine)


async def _rotate(visit: Visit) -> Response:
    texts, days = visit.texts, overlap(visit)
    kept = texts.ngettext(
        "The secret before it stays valid for %(num)d day.", "The secret before it stays valid for %(num)d days.", days
    )
    deed = rotation(
        visit,
        path("/machines/{id}", id=visit.id("client_id")),
        question=texts.gettext("Give this machine a new secret?"),
        before=kept % {"num": days} if days else texts.gettext("The secret before it is not valid any more."),
    )
    return await _with_secret(visit, deed, machine)


async def _with_secret(visit: Visit, deed: Deed, show: Page) -> Response:
    texts = visit.texts

    def rows(made: MachineSecret) -> Mapping[str, str]:
        shown = {texts.gettext("Number"): made.client_id, texts.gettext("Secret"): made.client_secret}
        return shown if made.client_secret else {}

    words = SecretWords(
        heading=texts.gettext("The machine's secret"),
        keep=texts.gettext("It is shown this once. Keep it where the machine reads it, and nowhere else."),
        lost=texts.gettext("It was shown already, and is not shown again. If it is lost, give the machine a new one."),
        back=(AT, texts.gettext("Machines")),
    )
    return await show_once(visit, deed, show, MachineSecret, rows, words)


# ── Registering ────────────────────────────────────────────────────────────────────────────────────────


async def new(visit: Visit) -> Response:
    """Show the form that registers a machine."""
    today = datetime.now(visit.texts.zone or UTC).date()
    visit.form.values = {
        "name": "",
        "scopes[]": "",
        "whom": "me",
        "email": "",
        "until": (today + timedelta(days=365)).isoformat(),
        "kind": "",
        "organisation_id": "",
        "publisher": "",
        **visit.form.values,
    }
    operator = visit.account is not None and visit.account.organisation_kind == "operator"
    offered = {name: text for name, text in _scopes(visit).items() if operator or name not in OPERATORS}
    ticked = visit.form["scopes[]"].split("\n")
    return visit.page("machines/new.html", scopes=offered, ticked=ticked, operator=operator, kinds=KINDS)


async def register(visit: Visit) -> Response:
    """Register the machine, and show its secret once the person has confirmed that."""
    form, texts = visit.form, visit.texts
    form.values.setdefault("scopes[]", "")
    form.require(texts, "name")
    scopes = [each for each in form["scopes[]"].split("\n") if each in SCOPES]
    if not scopes:
        form.errors["scopes"] = texts.gettext(NO_SCOPE)
    until = _until(visit)
    try:
        acts_for = await _whom(visit)
    except Refused as refused:
        return await refuse(visit, refused, new)
    body: dict[str, JsonValue] = {"name": form["name"].strip(), "scopes": [*scopes], "expires_at": until}
    if acts_for:
        body["acts_for"] = acts_for
    if form["kind"] in KINDS:
        if not form["organisation_id"].strip() or (form["kind"] == "publisher" and not form["publisher"].strip()):
            form.errors["organisation_id"] = texts.gettext(NEEDS_PUBLISHER)
        body["organisation"] = _organisation(visit)
    if form.wrong:
        return await again(visit, new)
    words = [texts.gettext(SCOPES[each]) for each in scopes]
    deed = Deed(
        service="identity",
        method="POST",
        path=AT,
        body=body,
        question=texts.gettext("Register this machine?"),
        button=texts.gettext("Register it"),
        says=lambda _: [
            texts.gettext("%(name)s: %(what)s.") % {"name": form["name"].strip(), "what": ", ".join(words)},
            texts.gettext("It is valid until %(time)s.") % {"time": texts.time(datetime.fromisoformat(until))},
            texts.gettext("Its secret is shown once: prepare the place where you keep it."),
        ],
        then=AT,
        notice="saved",
    )
    return await _with_secret(visit, deed, new)


def _organisation(visit: Visit) -> dict[str, JsonValue]:
    form = visit.form
    made: dict[str, JsonValue] = {"organisation_id": form["organisation_id"].strip(), "kind": form["kind"]}
    if form["kind"] == "publisher":
        made["publisher"] = form["publisher"].strip()
    return made


def _until(visit: Visit) -> str:
    """Return the end of the form's day in the person's time zone, or note that it has none."""
    try:
        day = date.fromisoformat(visit.form["until"])
        return datetime.combine(day, time(23, 59), visit.texts.zone or UTC).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        visit.form.errors["until"] = visit.texts.gettext(NO_DAY)
        return ""


async def _whom(visit: Visit) -> str | None:
    """Return the account that the machine acts for; None if it acts for its organisation."""
    whom = visit.form["whom"]
    if whom == "colleague":
        return await account_at(visit)
    return visit.account.account_id if whom == "me" and visit.account else None
