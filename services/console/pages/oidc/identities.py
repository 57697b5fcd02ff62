"""The identities of other providers that sign in as the person's account."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from services.console.cookies import Errand
from services.console.deeds import Deed, Outcome, carry_out
from services.console.pages.oidc.flow import lead
from services.console.shapes.identity import LinkedIdentities
from services.console.visits import Visit


@dataclass(frozen=True, slots=True)
class Shown:
    """A linked identity as the page shows it."""

    label: str
    """The provider's name, or its issuer's URL if it is not configured any more."""
    issuer: str
    subject: str


async def identities(visit: Visit) -> Response:
    """List the linked identities, and the providers that have none yet."""
    found = await visit.see("identity", "/me/oidc", LinkedIdentities)
    linked = [Shown(_label(visit, each.issuer), each.issuer, each.subject) for each in found.items]
    issuers = {each.issuer for each in linked}
    free = [client for client in visit.providers.values() if client.provider.issuer not in issuers]
    return visit.page("oidc/identities.html", linked=linked, free=free)


def _label(visit: Visit, issuer: str) -> str:
    return next((each.label for each in visit.providers.values() if each.provider.issuer == issuer), issuer)


async def change(visit: Visit) -> Response:
    """Lead to a provider to link an identity, or unlink one after asking."""
    if name := visit.form["link"]:
        return await lead(visit, name, Errand(session_id=visit.session_id))
    texts, issuer = visit.texts, visit.form["unlink"]

    def says(_: Outcome) -> Sequence[str]:
        return [texts.gettext("You then sign in with your e-mail address and your password.")]

    deed = Deed(
        service="identity",
        method="DELETE",
        path="/me/oidc",
        body={"issuer": issuer},
        question=texts.gettext("Unlink your account at %(provider)s?") % {"provider": _label(visit, issuer)},
        button=texts.gettext("Unlink it"),
        says=says,
        then="/profile/identities",
        notice="oidc-unlinked",
    )
    return await carry_out(visit, deed, identities)
