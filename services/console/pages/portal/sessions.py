"""The person's sessions: where they are signed in, and the end of one of them."""

from starlette.responses import Response

from services.console.deeds import Deed, do_now
from services.console.doors import path
from services.console.shapes.identity import Sessions
from services.console.visits import Visit


async def sessions(visit: Visit) -> Response:
    """List the person's sessions."""
    found = await visit.see("identity", "/sessions", Sessions)
    return visit.page("portal/sessions.html", sessions=found.items)


async def end_session(visit: Visit) -> Response:
    """End one of the person's sessions."""
    texts = visit.texts
    deed = Deed(
        service="identity",
        method="DELETE",
        path=path("/sessions/{id}", id=visit.form["session_id"]),
        question=texts.gettext("End this session?"),
        button=texts.gettext("End the session"),
        then="/sessions",
        notice="session-over",
    )
    return await do_now(visit, deed, sessions)
