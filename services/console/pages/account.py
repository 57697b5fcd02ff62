"""The person's own account: another password, and the end of the account."""

from collections.abc import Callable, Sequence
from http import HTTPStatus

from starlette.responses import Response

from services.console.deeds import Deed, Outcome, again, carry_out, refuse
from services.console.doors import Refused, Unreachable, part_of_page
from services.console.shapes.entitlements import MySeats
from services.console.visits import Visit


async def password(visit: Visit) -> Response:
    """Show the form that changes the password."""
    return visit.page("password.html")


async def change_password(visit: Visit) -> Response:
    """Change the password, which ends all sessions of the person."""
    form = visit.form
    if not form.require(visit.texts, "current", "password"):
        return await again(visit, password)
    try:
        await visit.do("identity", "PUT", "/me/password", {"current": form["current"], "new": form["password"]})
    except Refused as refused:
        form.values["new"] = ""
        return await refuse(visit, refused, password)
    visit.end()
    return visit.go("/sign-in", "password")


async def closing(visit: Visit) -> Response:
    """Say what closing the account does, with the button that asks for it."""
    return visit.page("close-account.html", seats=await _seats(visit))


async def close(visit: Visit) -> Response:
    """Close the account for good, once the person has confirmed it."""
    texts, seats = visit.texts, await _seats(visit)
    deed = Deed(
        service="identity",
        method="DELETE",
        path="/me",
        question=texts.gettext("Close your account for good?"),
        button=texts.gettext("Close my account"),
        says=_lost(visit, seats),
        grave=True,
        then="/sign-in",
        notice="closed-for-good",
    )
    response = await carry_out(visit, deed, closing)
    if response.status_code == HTTPStatus.SEE_OTHER:
        visit.end()
    return response


async def _seats(visit: Visit) -> Sequence[str]:
    """Return the products of which the person holds a seat, as far as that can be looked up."""
    try:
        async with part_of_page():
            held = await visit.see("entitlements", "/me/seats", MySeats)
    except (Refused, Unreachable):
        return ()
    return [each.product_name for each in held.items]


def _lost(visit: Visit, seats: Sequence[str]) -> Callable[[Outcome], Sequence[str]]:
    texts = visit.texts

    def says(_: Outcome) -> Sequence[str]:
        return [
            texts.gettext("You are signed out everywhere at once, and can't sign in any more."),
            texts.gettext("Your name and your address are erased everywhere, and nobody can bring them back."),
            texts.gettext("Your roles and your requests for roles end."),
            *(texts.gettext("Your seat of %(product)s is free for others.") % {"product": each} for each in seats),
            texts.gettext("What you did stays in the histories, without your name."),
        ]

    return says
