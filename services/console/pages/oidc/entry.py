"""What somebody enters to sign up by a provider, and the account that is opened with it.

The form comes before the way to the provider: an ID token is valid for minutes, and a form may take longer.
"""

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue
from starlette.responses import Response

from services.console.doors import Refused
from services.console.pages.joining import (
    OF_ORGANISATION,
    OF_PERSON,
    by_invitation,
    in_new_organisation,
    known,
    opened,
    requires_organisation,
)
from services.console.providers import ProviderClient
from services.console.texts import countries, marked
from services.console.visits import Visit

ENTERED_BYTES: Final = 2000
"""What the cookie of the way has room for: browsers refuse one of more than 4096 bytes."""
TOO_LONG: Final = marked("This is too long. Shorten the names, or open the account with a password.")


def required(visit: Visit, client: ProviderClient, *, invited: bool) -> bool:
    """Note the fields that are empty and have to be filled in; return whether there is none."""
    names = ["name", *([] if client.provider.domains else ["email"]), "country"]
    if invited:
        return visit.form.require(visit.texts, "invitation", *names)
    return requires_organisation(visit, *names)


def entered(visit: Visit, *, invited: bool) -> Mapping[str, str] | None:
    """Return what was entered, as it is taken along; None if that is too much."""
    names = (*OF_PERSON, "invitation") if invited else (*OF_PERSON, *OF_ORGANISATION)
    found = {name: visit.form[name].strip() for name in names if visit.form[name].strip()}
    return found if sum(len(value.encode()) for value in found.values()) <= ENTERED_BYTES else None


def page(visit: Visit, client: ProviderClient, refused: Refused | None = None, *, invited: bool) -> Response:
    """Return the form for what the provider does not tell, with what is wrong with it."""
    known(visit, *OF_PERSON, *(("invitation",) if invited else OF_ORGANISATION))
    path = f"{'/join' if invited else '/sign-up'}/oidc/{client.name}"
    values = {"client": client, "invited": invited, "path": path, "countries": countries(visit.texts.locale)}
    if refused is None and not visit.form.wrong:
        return visit.page("oidc/sign-up.html", **values)
    return visit.again("oidc/sign-up.html", refused, **values)


def again(visit: Visit, client: ProviderClient, entries: Mapping[str, str], refused: Refused | None = None) -> Response:
    """Return the form with what was taken along, after the way has failed."""
    visit.form.values = dict(entries)
    return page(visit, client, refused, invited="invitation" in entries)


async def open_account(visit: Visit, entries: Mapping[str, str], token: dict[str, JsonValue]) -> Response:
    """Open an account with an ID token and what was taken along, and begin its session.

    Raises:
        Refused: identity refuses the token or the account.
    """
    visit.form.values = dict(entries)
    body = by_invitation(visit) if "invitation" in entries else in_new_organisation(visit)
    return await opened(visit, {**body, **token})
