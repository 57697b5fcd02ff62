"""Signing up, joining by an invitation, and proving an e-mail address."""

from typing import Final

from pydantic import JsonValue
from starlette.responses import Response

from services.console.doors import Refused
from services.console.shapes.identity import SignedUp
from services.console.texts import countries, texts_for, zone_of
from services.console.visits import Visit

OF_PERSON: Final = ("email", "name", "country", "time_zone")
OF_ORGANISATION: Final = ("organisation", "kind", "sandbox", "proof")
"""The fields of a sign-up, besides the password."""

# ── Signing up ─────────────────────────────────────────────────────────────────────────────────────────


async def sign_up(visit: Visit) -> Response:
    """Show the form for a new account in a new organisation."""
    return _sign_up_page(visit)


async def open_account(visit: Visit) -> Response:
    """Open an account in a new organisation, and begin its session."""
    if not requires_organisation(visit, "name", "email", "password", "country"):
        return _sign_up_page(visit, again=True)
    try:
        return await opened(visit, in_new_organisation(visit))
    except Refused as refused:
        return _sign_up_page(visit, refused, again=True)


async def join(visit: Visit) -> Response:
    """Show the form for a new account in the organisation that sent an invitation."""
    return _join_page(visit)


async def accept_invitation(visit: Visit) -> Response:
    """Open an account in the organisation that sent the invitation, and begin its session."""
    form = visit.form
    if not form.require(visit.texts, "invitation", "name", "email", "password", "country"):
        return _join_page(visit, again=True)
    try:
        return await opened(visit, by_invitation(visit))
    except Refused as refused:
        return _join_page(visit, refused, again=True)


def requires_organisation(visit: Visit, *names: str) -> bool:
    """Note which of these fields and the organisation's are empty; return whether none is."""
    form = visit.form
    form.values["kind"] = form["kind"] if form["kind"] in ("customer", "partner") else ""
    return form.require(visit.texts, *names, "organisation", "kind")


def in_new_organisation(visit: Visit) -> dict[str, JsonValue]:
    """Return the sign-up that the form asks for, in a new organisation."""
    form = visit.form
    organisation: dict[str, JsonValue] = {"name": form["organisation"].strip(), "kind": form["kind"]}
    organisation["sandbox"] = form["sandbox"] == "on"
    proof: dict[str, JsonValue] = {"proof": code_in(form["proof"])} if form["proof"].strip() else {}
    return {**_person(visit), "organisation": organisation, **proof}


def by_invitation(visit: Visit) -> dict[str, JsonValue]:
    """Return the sign-up that the form asks for, by an invitation."""
    return {**_person(visit), "invitation": code_in(visit.form["invitation"])}


def _person(visit: Visit) -> dict[str, JsonValue]:
    """Return the part of a sign-up that tells about the person.

    It has neither an address nor a password if none was entered, as with a provider that tells who it is. The person's
    time zone is the browser's, or one of the country; they can change it in their profile.
    """
    form, country = visit.form, visit.form["country"]
    spoken = texts_for(None, visit.request.headers.get("accept-language", ""))
    proven = {"email": form["email"].strip(), "password": form["password"]}
    return {
        **{name: value for name, value in proven.items() if value},
        "name": form["name"].strip(),
        "country": country,
        "time_zone": form["time_zone"].strip() or zone_of(country),
        "locale": str(spoken.locale).replace("_", "-"),
    }


async def opened(visit: Visit, body: dict[str, JsonValue]) -> Response:
    """Open an account, and begin its session. Raises Refused."""
    visit.session = None
    answer = await visit.ask("identity", "POST", "/accounts", SignedUp, body)
    visit.end()
    if answer.session is None:  # the answer to a form that was sent twice
        return visit.go("/sign-in", "opened")
    visit.begin(answer.session)
    return visit.go("/check-mail")


def _sign_up_page(visit: Visit, refused: Refused | None = None, *, again: bool = False) -> Response:
    known(visit, *OF_ORGANISATION)
    return _page(visit, "sign-up.html", refused, again=again)


def _join_page(visit: Visit, refused: Refused | None = None, *, again: bool = False) -> Response:
    known(visit, "invitation")
    return _page(visit, "join.html", refused, again=again)


def _page(visit: Visit, template: str, refused: Refused | None, *, again: bool) -> Response:
    known(visit, *OF_PERSON, "password")
    options = countries(visit.texts.locale)
    if again:
        return visit.again(template, refused, countries=options)
    return visit.page(template, countries=options)


def known(visit: Visit, *names: str) -> None:
    """Give the form its fields, so that a refusal finds them."""
    for name in names:
        visit.form.values.setdefault(name, "")


# ── Addresses ──────────────────────────────────────────────────────────────────────────────────────────


async def check_mail(visit: Visit) -> Response:
    """Say which mail to look for, or lead on whose address is verified."""
    if visit.account is None or visit.account.email_verified:
        return visit.go("/")
    return visit.page("check-mail.html")


async def mail_again(visit: Visit) -> Response:
    """Mail the link once more."""
    await visit.do("identity", "POST", "/me/address/verification/mail")
    return visit.go("/check-mail", "sent")


async def verify_address(visit: Visit) -> Response:
    """Show the button that verifies the address.

    The link's code is in its fragment, which the page reads.
    """
    return visit.page("verify-address.html")


async def confirm_address(visit: Visit) -> Response:
    """Verify the address of the person who is signed in."""
    visit.form.values.setdefault("token", "")
    if not visit.form.require(visit.texts, "token"):
        return visit.again("verify-address.html")
    try:
        await visit.do("identity", "POST", "/me/address/verification", {"token": code_in(visit.form["token"])})
    except Refused as refused:
        return visit.again("verify-address.html", refused)
    return visit.go("/", "verified")


async def prove_address(visit: Visit) -> Response:
    """Show the form for a proof of an address that another account has."""
    return visit.page("prove-address.html")


async def mail_proof(visit: Visit) -> Response:
    """Mail a proof to an address. The answer is the same for every address."""
    if not visit.form.require(visit.texts, "email"):
        return visit.again("prove-address.html")
    try:
        await visit.do("identity", "POST", "/addresses/proof", {"email": visit.form["email"].strip()})
    except Refused as refused:
        return visit.again("prove-address.html", refused)
    return visit.page("mailed.html", email=visit.form["email"].strip(), what="proof")


def code_in(text: str) -> str:
    """Return the code of a mail's link, from the whole link or the code alone."""
    return text.strip().rpartition("#")[2]
