"""The inbox: what a person was notified of, and how they want to be."""

import re
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Final

from pydantic import JsonValue
from starlette.responses import Response

from services.console.areas import Area, PageAt
from services.console.doors import Refused
from services.console.shapes.identity import Notifications, Preferences
from services.console.texts import Texts, marked
from services.console.visits import Visit

OWN: Final = "/me/notifications"
PREFERENCES: Final = "/me/notification-preferences"
LABELS: Final[Sequence[tuple[str, str]]] = (
    ("/contracts/[^/]+/requests/", marked("Answer the request")),
    ("/contracts/[^/]+/ask", marked("Ask again")),
    ("/contracts/", marked("See the contract")),
    ("/credits/", marked("See the credits")),
    ("/orders/", marked("See the order")),
    ("/subscriptions/[^/]+/auto-renew", marked("See auto-renew")),
    ("/subscriptions/", marked("See the subscription")),
    ("/seats/", marked("See the seats")),
    ("/own", marked("See your seats")),
    ("/updates/[^/]+/rollouts/", marked("See the rollout")),
    ("/updates", marked("See the updates")),
    ("/customers/", marked("See the customer")),
    ("/people", marked("See the people")),
    ("/sessions", marked("See your sessions")),
)
"""The words of a link by the path that it leads to; the first one that fits counts."""
ELSEWHERE: Final = marked("Go to the page")


async def inbox(visit: Visit) -> Response:
    """List the person's notifications, the newest first."""
    if visit.wants_csv:
        return await visit.export("identity", OWN, "inbox", "state")
    return await _page(visit)


async def mark_read(visit: Visit) -> Response:
    """Mark one notification as read, or all up to the newest that the page has shown."""
    one, until = visit.form["notification_id"], visit.form["until"]
    body: dict[str, JsonValue] = {"notification_ids": [one]} if one else {"until": until}
    try:
        await visit.do("identity", "POST", f"{OWN}/read", body)
    except Refused as refused:
        return await _page(visit, refused)
    return visit.go(visit.with_listed())


async def _page(visit: Visit, refused: Refused | None = None) -> Response:
    found = await visit.see_list("identity", OWN, Notifications, "state")
    if refused is not None:
        return visit.again("inbox/inbox.html", refused, found=found, label_of=partial(label, visit.texts))
    return visit.page("inbox/inbox.html", found=found, label_of=partial(label, visit.texts))


def label(texts: Texts, page: str) -> str:
    """Return the words of the link to the page where one can see to a notification."""
    found = next((words for start, words in LABELS if re.match(start, page)), ELSEWHERE)
    return texts.gettext(found)


async def count(visit: Visit) -> Response:
    """Show the link to the inbox with the number of unread notifications."""
    return visit.page("inbox-link.html", at_inbox=visit.request.query_params.get("at") == "inbox")


async def preferences(visit: Visit) -> Response:
    """Show how the person is notified of each kind."""
    return _preferences(visit, await _asked(visit))


async def set_preferences(visit: Visit) -> Response:
    """Set how the person is notified: a box that is not ticked is not sent by the browser."""
    before = await _asked(visit)
    ticked = set(visit.form["ways[]"].split("\n"))
    choices: list[JsonValue] = [
        {"kind": each.kind, "email": f"email:{each.kind}" in ticked, "inbox": f"inbox:{each.kind}" in ticked}
        for each in before.kinds
    ]
    try:
        await visit.do("identity", "PUT", PREFERENCES, {"choices": choices})
    except Refused as refused:
        for each in before.kinds:
            each.email, each.inbox = f"email:{each.kind}" in ticked, f"inbox:{each.kind}" in ticked
        return _preferences(visit, before, refused)
    return visit.go("/profile/notifications", "notifications-saved")


async def _asked(visit: Visit) -> Preferences:
    return await visit.see("identity", PREFERENCES, Preferences)


def _preferences(visit: Visit, asked: Preferences, refused: Refused | None = None) -> Response:
    if refused is not None:
        return visit.again("inbox/preferences.html", refused, asked=asked)
    return visit.page("inbox/preferences.html", HTTPStatus.OK, asked=asked)


AREA: Final = Area(
    name="inbox",
    pages=(
        PageAt(path="/inbox", show=inbox, act=mark_read),
        PageAt(path="/profile/notifications", show=preferences, act=set_preferences),
    ),
)
