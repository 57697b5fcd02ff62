"""A forgotten password, and a new one."""

from starlette.responses import Response

from services.console.doors import Refused
from services.console.pages.joining import code_in
from services.console.visits import Visit


async def forgot_password(visit: Visit) -> Response:
    """Show the form that asks for a link."""
    return visit.page("forgot-password.html")


async def mail_reset(visit: Visit) -> Response:
    """Mail a link to set a new password. The answer is the same for every address."""
    if not visit.form.require(visit.texts, "email"):
        return visit.again("forgot-password.html")
    try:
        await visit.do("identity", "POST", "/password/mail", {"email": visit.form["email"].strip()})
    except Refused as refused:
        return visit.again("forgot-password.html", refused)
    return visit.page("mailed.html", email=visit.form["email"].strip(), what="reset")


async def reset_password(visit: Visit) -> Response:
    """Show the form for a new password.

    The link's code is in its fragment, which the page reads.
    """
    return visit.page("reset-password.html")


async def set_password(visit: Visit) -> Response:
    """Set the new password, which ends all sessions."""
    form = visit.form
    form.values.setdefault("reset", "")
    if not form.require(visit.texts, "reset", "password"):
        return visit.again("reset-password.html")
    try:
        visit.session = None
        await visit.do("identity", "POST", "/password", {"reset": code_in(form["reset"]), "new": form["password"]})
    except Refused as refused:
        form.values["new"] = ""
        return visit.again("reset-password.html", refused)
    visit.end()
    return visit.go("/sign-in", "password")
