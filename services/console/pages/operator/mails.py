"""What people were told, and what became of the mails."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from starlette.responses import Response

from services.console.areas import Attention
from services.console.names import names_of
from services.console.shapes.identity import Preferences
from services.console.shapes.operator import Delivered, Told
from services.console.texts import Texts, marked
from services.console.visits import Visit

AT: Final = "/notifications"
FILTERS: Final = ("mail", "kind", "account_id", "email")
SHOWN: Final = "25"
"""The number of notifications on a page, for each of whose readers a name is looked up."""
COUNTED: Final = 200
"""The number of bounced mails that Home counts at most."""
STATES: Final[Mapping[str, str]] = {
    "sent": marked("sent"),
    "bounced": marked("bounced"),
    "waiting": marked("waits to be sent"),
    "suppressed": marked("not sent"),
    "off": marked("not wanted"),
}
TAGS: Final = {"sent": "good", "bounced": "bad", "waiting": "open", "suppressed": "off", "off": "off"}
REASONS: Final[Mapping[str, str]] = {
    "the address is not verified": marked("The address is not confirmed."),
    "the account is closed": marked("The account is closed."),
}
"""Why no mail was sent, in words; what a mail server says stays in its own."""


async def mails(visit: Visit) -> Response:
    """List what people were told and what became of each mail, the newest first."""
    if visit.wants_csv:
        return await visit.export("identity", AT, "mails", *FILTERS)
    found, preferences = await asyncio.gather(
        visit.see("identity", AT, Delivered, limit=SHOWN, **visit.listed(*FILTERS)),
        visit.see("identity", "/me/notification-preferences", Preferences),
    )
    texts, kinds = visit.texts, {each.kind: each.label for each in preferences.kinds}
    return visit.page(
        "operator/mails.html",
        found=found,
        kinds=kinds,
        states={name: texts.gettext(text) for name, text in STATES.items()},
        tags=TAGS,
        reasons=[_reason(each, texts) for each in found.items],
        names=await names_of(visit, [each.account_id for each in found.items]),
    )


def _reason(told: Told, texts: Texts) -> str:
    said = told.reason or ""
    return texts.gettext(REASONS[said]) if said in REASONS else said


async def bounced(visit: Visit) -> Sequence[Attention]:
    """Say how many mails have bounced."""
    found = await visit.see("identity", AT, Delivered, mail="bounced", limit=str(COUNTED))
    number = len(found.items)
    if not number:
        return ()
    text = visit.texts.ngettext("%(num)d mail has bounced.", "%(num)d mails have bounced.", number) % {"num": number}
    return (Attention(text=text, path="/operator/mails?mail=bounced", urgent=True),)
