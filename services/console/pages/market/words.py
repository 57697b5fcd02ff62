"""The words of the catalogue's codes, and of an order's and a request's states."""

from collections.abc import Mapping
from typing import Final

from services.console.texts import Texts, marked

WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "step": {
        "product": marked("Product"),
        "publisher": marked("Publisher"),
        "period": marked("Period"),
        "support": marked("Support"),
        "billing": marked("Payment"),
    },
    "period": {"monthly": marked("monthly"), "annual": marked("annual"), "three_year": marked("three years")},
    "support": {"basic": marked("basic"), "advanced": marked("advanced")},
    "billing": {"upfront": marked("in advance"), "instalments": marked("in instalments")},
    "category": {"open": marked("open"), "specialised": marked("specialised")},
    "order": {
        "sent": marked("on its way"),
        "awaiting": marked("waits for the publisher"),
        "confirmed": marked("confirmed"),
        "failed": marked("declined"),
        "abandoned": marked("given up"),
        "ended": marked("ended"),
    },
    "auto-renew": {"on": marked("on"), "asked": marked("being turned off"), "off": marked("off")},
    "customer": {"engaged": marked("engaged"), "released": marked("released")},
    "request": {
        "open": marked("open"),
        "replaced": marked("replaced by a later one"),
        "confirmed": marked("confirmed"),
        "declined": marked("declined"),
        "lapsed": marked("lapsed"),
    },
    "phase": {
        "upcoming": marked("begins later"),
        "active": marked("active"),
        "expired": marked("expired, with access"),
        "suspended": marked("suspended, without access"),
        "ended": marked("ended"),
    },
    "event": {
        "SubscriptionOrdered": marked("Sent to the publisher"),
        "SubscriptionConfirmed": marked("Confirmed by the publisher"),
        "SubscriptionOrderFailed": marked("Declined by the publisher"),
        "SubscriptionOrderAbandoned": marked("Given up"),
        "AutoRenewDisableRequested": marked("Auto-renew: asked to be turned off"),
        "AutoRenewDisabled": marked("Auto-renew turned off"),
        "AutoRenewDisableRefused": marked("Auto-renew stays on: seats are assigned"),
        "SeatsAdded": marked("Seats added"),
        "SeatDecreaseScheduled": marked("Fewer seats from the next term on"),
        "SeatsRequested": marked("Seats asked for"),
        "SeatsRequestConfirmed": marked("Request for seats confirmed"),
        "SeatsRequestDeclined": marked("Request for seats declined"),
        "RenewalReminded": marked("Reminder of the renewal sent"),
        "SubscriptionRenewed": marked("Renewed"),
        "SubscriptionEnded": marked("Ended"),
    },
}
TAGS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("confirmed", "engaged", "active", "on"), "good"),
    **dict.fromkeys(("failed", "released", "declined", "suspended"), "bad"),
    **dict.fromkeys(("sent", "awaiting", "asked", "open", "expired", "upcoming"), "open"),
}
"""The look of a state's tag; "off" for all others."""


def word(texts: Texts, kind: str, code: str) -> str:
    """Return a code in words; the code itself if there are none."""
    return texts.gettext(WORDS[kind][code]) if code in WORDS[kind] else code


def choices(texts: Texts, kind: str) -> list[tuple[str, str]]:
    """Return the codes of a kind with their words, for a filter."""
    return [(code, texts.gettext(text)) for code, text in WORDS[kind].items()]


def tag(code: str) -> str:
    """Return the look of a state's tag."""
    return TAGS.get(code, "off")
