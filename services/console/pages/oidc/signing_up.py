"""Signing up by a provider: in a new organisation, or by an invitation."""

from http import HTTPStatus

from starlette.responses import Response

from services.console.cookies import Errand
from services.console.pages.oidc import entry
from services.console.pages.oidc.flow import lead
from services.console.visits import Visit


async def sign_up(visit: Visit) -> Response:
    """Show the form for a new account in a new organisation."""
    return _shown(visit, invited=False)


async def join(visit: Visit) -> Response:
    """Show the form for a new account in the organisation that sent an invitation."""
    return _shown(visit, invited=True)


async def sign_up_there(visit: Visit) -> Response:
    """Lead to the provider, and open the account in a new organisation afterwards."""
    return await _lead(visit, invited=False)


async def join_there(visit: Visit) -> Response:
    """Lead to the provider, and open the account by the invitation afterwards."""
    return await _lead(visit, invited=True)


def _shown(visit: Visit, *, invited: bool) -> Response:
    client = visit.providers.get(visit.id("provider"))
    if client is None:
        return visit.page("not-found.html", HTTPStatus.NOT_FOUND)
    return entry.page(visit, client, invited=invited)


async def _lead(visit: Visit, *, invited: bool) -> Response:
    """Lead to the provider with what was entered, or show the form for what is missing.

    The form of a sign-up by password, which has buttons for the providers, may be sent empty: nothing is wrong with it.
    """
    client = visit.providers.get(visit.id("provider"))
    if client is None:
        return visit.page("not-found.html", HTTPStatus.NOT_FOUND)
    asked_here = visit.form["here"] == "yes"
    if not entry.required(visit, client, invited=invited):
        if not asked_here:
            visit.form.errors.clear()
        return entry.page(visit, client, invited=invited)
    entries = entry.entered(visit, invited=invited)
    if entries is None:
        visit.form.faults.append(visit.texts.gettext(entry.TOO_LONG))
        return entry.page(visit, client, invited=invited)
    visit.session = None  # the nonce is for nobody who is signed in already
    return await lead(visit, client.name, Errand(entered=entries))
