"""Addresses and answers for the pages of the inbox."""

from typing import Any, Final

import httpx

from tests.console.samples import Sample

REMINDER: Final[dict[str, Any]] = {
    "notification_id": "n-2",
    "kind": "renewal-reminder",
    "title": "AutoCAD renews after 31 December 2026",
    "text": "The term of AutoCAD ends on 31 December 2026.\n\nAuto-renew can be turned off until 23 December 2026.",
    "happened_at": "2026-11-01T08:00:00Z",
    "told_at": "2026-11-01T08:00:01Z",
    "read": False,
    "contract_id": "c",
    "subscription_id": "s",
    "rollout_id": None,
    "page": "/subscriptions/s/auto-renew",
}
DECLINED: Final[dict[str, Any]] = {
    **REMINDER,
    "notification_id": "n-1",
    "kind": "role-answered",
    "title": "Your request for a role was declined",
    "text": "Your request was declined.\n\n> not yet <b>\n> ask in May\n\nYou may ask again.",
    "read": True,
    "page": None,
}
PREFERENCES: Final[dict[str, Any]] = {
    "kinds": [
        {"kind": "renewal-reminder", "label": "A renewal", "email": True, "inbox": True, "required": True},
        {"kind": "credits", "label": "Credits", "email": False, "inbox": True, "required": False},
    ],
    "email_verified": True,
}
SAMPLES: Final = {
    "/inbox": Sample(
        "/inbox",
        {"GET /me/notifications": httpx.Response(200, json={"items": [REMINDER, DECLINED], "next": "later"})},
    ),
    "/profile/notifications": Sample(
        "/profile/notifications", {"GET /me/notification-preferences": httpx.Response(200, json=PREFERENCES)}
    ),
}
