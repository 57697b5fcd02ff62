"""Signing in and out."""

from pydantic import JsonValue
from starlette.responses import Response

from services.console.doors import Refused, SessionOver
from services.console.shapes.identity import Tokens
from services.console.visits import Visit


async def sign_in(visit: Visit) -> Response:
    """Show the sign-in, or lead on who is signed in already."""
    if visit.session is not None and not visit.notice:
        return visit.go("/")
    return visit.page("sign-in.html")


async def sign_in_with_password(visit: Visit) -> Response:
    """Begin a session."""
    form = visit.form
    if not form.require(visit.texts, "email", "password"):
        return visit.again("sign-in.html")
    visit.session = None  # the password decides, not the session that the browser may have
    body: dict[str, JsonValue] = {"email": form["email"].strip(), "password": form["password"]}
    try:
        tokens = await visit.ask("identity", "POST", "/sessions", Tokens, body)
    except Refused as refused:
        return visit.again("sign-in.html", refused)
    visit.end()
    visit.begin(tokens)
    return visit.go(visit.following)


async def sign_out(visit: Visit) -> Response:
    """End this session."""
    return await _end(visit, "/sessions/current")


async def sign_out_everywhere(visit: Visit) -> Response:
    """End all sessions of the person."""
    return await _end(visit, "/sessions")


async def _end(visit: Visit, sessions: str) -> Response:
    if visit.session is not None:
        try:
            await visit.do("identity", "DELETE", sessions)
        except SessionOver:
            pass  # it has ended already
    visit.end()
    return visit.go("/sign-in", "signed-out" if sessions.endswith("/current") else "everywhere")
