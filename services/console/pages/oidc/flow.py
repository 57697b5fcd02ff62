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

from services.console.cookies import Pending
from services.console.doors import Refused, SessionOver, Unreachable
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
    return await lead(visit, visit.id("provider"), following=visit.following)


async def lead(visit: Visit, name: str, *, following: str, session_id: str = "") -> Response:
    """Lead to a provider.

    The page in between leaves by itself: a redirect would be one of the form, which may lead to this site only.

    Args:
        following: the page to show afterwards.
        session_id: the session to whose account the identity is linked; "" to sign in.
    """
    client = visit.providers.get(name)
    if client is None:
        return visit.page("not-found.html", HTTPStatus.NOT_FOUND)
    linking = bool(session_id)
    try:
        nonce = await visit.ask("identity", "POST", "/sessions/oidc/nonce", Nonce)
        begun = Pending(
            provider=name,
            state=secrets.token_urlsafe(SECRET_BYTES),
            nonce=nonce.nonce,
            verifier=secrets.token_urlsafe(SECRET_BYTES),
            following=following,
            session_id=session_id,
        )
        url = await client.authorization_url(begun)
    except Refused as refused:
        return _refused(visit, client, refused, linking=linking)
    except Unusable as fault:
        logger.warning("a provider can't be used", provider=name, fault=str(fault)[:300])
        return _failed(visit, client, AWAY, HTTPStatus.BAD_GATEWAY, linking=linking)
    response = visit.page("oidc/leaving.html", provider=client.label, url=url)
    response.headers["Refresh"] = f"0; url={url}"
    visit.cookies.keep_pending(response, begun)
    return response


async def come_back(visit: Visit) -> Response:
    """Begin a session, or link the identity, by what a provider answers."""
    client = visit.providers.get(visit.id("provider"))
    if client is None:
        return visit.page("not-found.html", HTTPStatus.NOT_FOUND)
    begun = visit.cookies.pending(visit.request.cookies)
    answer = dict(visit.request.query_params.multi_items())
    repeated = len(answer) < len(visit.request.query_params.multi_items())
    if begun is None or begun.provider != client.name or repeated or not _fits(begun, answer.get("state", "")):
        return _failed(visit, client, LOST, HTTPStatus.BAD_REQUEST, linking=False)
    response = await _answered(visit, client, begun, answer)
    visit.cookies.drop_pending(response)
    return response


def _fits(begun: Pending, state: str) -> bool:
    return secrets.compare_digest(begun.state.encode(), state.encode())


async def _answered(visit: Visit, client: ProviderClient, begun: Pending, answer: Mapping[str, str]) -> Response:
    """Return the page after a provider's answer, whatever becomes of it."""
    linking = bool(begun.session_id)
    try:
        if not await client.has_sent(answer.get("iss")):
            return _failed(visit, client, ELSEWHERE, HTTPStatus.BAD_REQUEST, linking=linking)
        if "error" in answer:
            logger.info("a provider declines", provider=client.name, error=answer["error"][:200])
            text = DECLINED.get(answer["error"], MISCONFIGURED)
            return _failed(visit, client, text, HTTPStatus.FORBIDDEN, linking=linking)
        token = await client.id_token(answer.get("code", ""), begun.verifier)
        body: dict[str, JsonValue] = {"id_token": token, "nonce": begun.nonce}
        return await (_link(visit, begun, body) if linking else _sign_in(visit, begun, body))
    except Refused as refused:
        return _refused(visit, client, refused, linking=linking)
    except (NotSignedIn, SessionOver):
        visit.end()
        return _failed(visit, client, OTHER_SESSION, HTTPStatus.FORBIDDEN, linking=False)
    except NotGranted as fault:
        logger.warning("a provider grants nothing", provider=client.name, fault=str(fault)[:300])
        return _failed(visit, client, NOT_GRANTED, HTTPStatus.FORBIDDEN, linking=linking)
    except Unusable as fault:
        logger.warning("a provider can't be used", provider=client.name, fault=str(fault)[:300])
        return _failed(visit, client, AWAY, HTTPStatus.BAD_GATEWAY, linking=linking)
    except Unreachable:
        return visit.page("unreachable.html", HTTPStatus.SERVICE_UNAVAILABLE)


async def _sign_in(visit: Visit, begun: Pending, body: dict[str, JsonValue]) -> Response:
    visit.session = None
    tokens = await visit.ask("identity", "POST", "/sessions/oidc", Tokens, body)
    visit.end()
    visit.begin(tokens)
    return visit.go(begun.following)


async def _link(visit: Visit, begun: Pending, body: dict[str, JsonValue]) -> Response:
    """Link the identity to the account whose session began this, and to no other."""
    if visit.session_id != begun.session_id:
        raise NotSignedIn
    await visit.enter()
    await visit.do("identity", "POST", "/me/oidc", body)
    return visit.go("/profile/identities", "oidc-linked")


def _refused(visit: Visit, client: ProviderClient, refused: Refused, *, linking: bool) -> Response:
    """Show a refusal of identity. A person who has no linked account gets the way to link one."""
    visit.form.refuse(refused, visit.texts)
    unknown = refused.problem.status == HTTPStatus.FORBIDDEN and not linking
    return _page(visit, client, refused.problem.status, linking=linking, unknown=unknown)


def _failed(visit: Visit, client: ProviderClient, text: str, status: int, *, linking: bool) -> Response:
    shown = visit.texts.gettext(text)
    visit.form.faults.append(shown % {"provider": client.label} if "%(" in shown else shown)
    return _page(visit, client, status, linking=linking)


def _page(visit: Visit, client: ProviderClient, status: int, *, linking: bool, unknown: bool = False) -> Response:
    return visit.page("oidc/failed.html", status, provider=client.label, linking=linking, unknown=unknown)
