"""The way to a provider and back, by a code that is exchanged for an ID token.

What belongs together is in the browser's own encrypted cookie: an answer of the provider counts only in the browser,
and for the session, in which the way began, once and for ten minutes.
"""

import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import structlog
from pydantic import JsonValue
from starlette.responses import Response

from services.console.cookies import Errand, Pending
from services.console.doors import Refused, SessionOver, Unreachable
from services.console.pages.oidc import entry
from services.console.providers import NotGranted, ProviderClient
from services.console.shapes.identity import Nonce, Tokens
from services.console.texts import marked
from services.console.visits import NotSignedIn, Visit
from shared.runtime.providers import Unusable

logger = structlog.get_logger("oidc")

AWAY: Final = marked("%(provider)s does not answer as it should. Try again in a moment.")
LOST: Final = marked(
    "This sign-in was not begun in this browser, took longer than ten minutes, or has been answered already. "
    "Begin again."
)
ELSEWHERE: Final = marked("This answer is not from %(provider)s. Nothing was done with it. Begin again.")
OTHER_SESSION: Final = marked(
    "You signed in or out since you asked for it, so that nothing is linked. Sign in, and link it again."
)
NOT_GRANTED: Final = marked("%(provider)s did not confirm who you are. Begin again.")
DECLINED: Final[Mapping[str, str]] = {
    "access_denied": marked("%(provider)s did not let you in, or you cancelled there."),
    "temporarily_unavailable": AWAY,
    "server_error": AWAY,
}
"""What a provider's error means to a person. Source: RFC 6749, section 4.1.2.1."""
MISCONFIGURED: Final = marked("%(provider)s refused the request of this site. Tell the operator.")
SECRET_BYTES: Final = 32


async def begin(visit: Visit) -> Response:
    """Lead to a provider, to sign in there."""
    visit.session = None  # the provider decides who it is, not the session that the browser may have
    return await lead(visit, visit.id("provider"), Errand(following=visit.following))


async def lead(visit: Visit, name: str, errand: Errand) -> Response:
    """Lead to a provider.

    The page in between leaves by itself: a redirect would be one of the form, which may lead to this site only.
    """
    client = visit.providers.get(name)
    if client is None:
        return visit.page("not-found.html", HTTPStatus.NOT_FOUND)
    try:
        nonce = await visit.ask("identity", "POST", "/sessions/oidc/nonce", Nonce)
        begun = Pending(
            provider=name,
            state=secrets.token_urlsafe(SECRET_BYTES),
            nonce=nonce.nonce,
            verifier=secrets.token_urlsafe(SECRET_BYTES),
            errand=errand,
        )
        url = await client.authorization_url(begun)
    except Refused as refused:
        return _refused(visit, client, refused, errand)
    except Unusable as fault:
        logger.warning("a provider can't be used", provider=name, fault=str(fault)[:300])
        return _failed(visit, client, AWAY, HTTPStatus.BAD_GATEWAY, errand)
    response = visit.page("oidc/leaving.html", provider=client.label, url=url)
    response.headers["Refresh"] = f"0; url={url}"
    visit.cookies.keep_pending(response, begun)
    return response


async def come_back(visit: Visit) -> Response:
    """Begin a session, link the identity or open an account, by what a provider answers."""
    client = visit.providers.get(visit.id("provider"))
    if client is None:
        return visit.page("not-found.html", HTTPStatus.NOT_FOUND)
    begun = visit.cookies.pending(visit.request.cookies)
    answer = dict(visit.request.query_params.multi_items())
    repeated = len(answer) < len(visit.request.query_params.multi_items())
    if begun is None or begun.provider != client.name or repeated or not _fits(begun, answer.get("state", "")):
        return _failed(visit, client, LOST, HTTPStatus.BAD_REQUEST, Errand())
    response = await _answered(visit, client, begun, answer)
    visit.cookies.drop_pending(response)
    return response


def _fits(begun: Pending, state: str) -> bool:
    return secrets.compare_digest(begun.state.encode(), state.encode())


async def _answered(visit: Visit, client: ProviderClient, begun: Pending, answer: Mapping[str, str]) -> Response:
    """Return the page after a provider's answer, whatever becomes of it."""
    errand = begun.errand
    try:
        if not await client.has_sent(answer.get("iss")):
            return _failed(visit, client, ELSEWHERE, HTTPStatus.BAD_REQUEST, errand)
        if "error" in answer:
            logger.info("a provider declines", provider=client.name, error=answer["error"][:200])
            text = DECLINED.get(answer["error"], MISCONFIGURED)
            return _failed(visit, client, text, HTTPStatus.FORBIDDEN, errand)
        token = await client.id_token(answer.get("code", ""), begun.verifier)
        body: dict[str, JsonValue] = {"id_token": token, "nonce": begun.nonce}
        if errand.entered:
            return await entry.open_account(visit, errand.entered, body)
        return await (_link(visit, errand, body) if errand.session_id else _sign_in(visit, errand, body))
    except Refused as refused:
        return _refused(visit, client, refused, errand)
    except (NotSignedIn, SessionOver):
        visit.end()
        return _failed(visit, client, OTHER_SESSION, HTTPStatus.FORBIDDEN, Errand())
    except NotGranted as fault:
        logger.warning("a provider grants nothing", provider=client.name, fault=str(fault)[:300])
        return _failed(visit, client, NOT_GRANTED, HTTPStatus.FORBIDDEN, errand)
    except Unusable as fault:
        logger.warning("a provider can't be used", provider=client.name, fault=str(fault)[:300])
        return _failed(visit, client, AWAY, HTTPStatus.BAD_GATEWAY, errand)
    except Unreachable:
        return visit.page("unreachable.html", HTTPStatus.SERVICE_UNAVAILABLE)


async def _sign_in(visit: Visit, errand: Errand, body: dict[str, JsonValue]) -> Response:
    visit.session = None
    tokens = await visit.ask("identity", "POST", "/sessions/oidc", Tokens, body)
    visit.end()
    visit.begin(tokens)
    return visit.go(errand.following)


async def _link(visit: Visit, errand: Errand, body: dict[str, JsonValue]) -> Response:
    """Link the identity to the account whose session began this, and to no other."""
    if visit.session_id != errand.session_id:
        raise NotSignedIn
    await visit.enter()
    await visit.do("identity", "POST", "/me/oidc", body)
    return visit.go("/profile/identities", "oidc-linked")


def _refused(visit: Visit, client: ProviderClient, refused: Refused, errand: Errand) -> Response:
    """Show a refusal of identity, a sign-up's in its form.

    A person who has no linked account gets the ways to one.
    """
    if errand.entered:
        return entry.again(visit, client, errand.entered, refused)
    visit.form.refuse(refused, visit.texts)
    unknown = refused.problem.status == HTTPStatus.FORBIDDEN and not errand.session_id
    return _page(visit, client, refused.problem.status, errand, unknown=unknown)


def _failed(visit: Visit, client: ProviderClient, text: str, status: int, errand: Errand) -> Response:
    shown = visit.texts.gettext(text)
    visit.form.faults.append(shown % {"provider": client.label} if "%(" in shown else shown)
    if errand.entered:
        return entry.again(visit, client, errand.entered)
    return _page(visit, client, status, errand)


def _page(visit: Visit, client: ProviderClient, status: int, errand: Errand, *, unknown: bool = False) -> Response:
    return visit.page("oidc/failed.html", status, client=client, linking=bool(errand.session_id), unknown=unknown)
