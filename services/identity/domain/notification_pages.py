"""The page of the console where one can act on a notification.

A path's places are filled with the notification's facts. Of several paths the first one counts whose facts are known:
older notifications have fewer.
"""

import re
from collections.abc import Mapping
from typing import Final, TypeAlias

from services.identity.domain.notification_rows import Notification
from shared.events.identity import OrganisationKind

Paths: TypeAlias = Mapping[OrganisationKind, tuple[str, ...]]
"""The paths for people of each kind of organisation that may be told."""

_PLACE: Final = re.compile(r"\{(\w+)\}")
_KINDS: Final[tuple[OrganisationKind, ...]] = ("customer", "partner", "publisher", "operator")


def _customer(*paths: str) -> Paths:
    return {"customer": paths}


def _sold(path: str) -> Paths:
    """Return the paths about a subscription: the customer's, and the order for the partner."""
    return {"customer": (path,), "partner": ("/orders/{subscription_id}",)}


def _everyone(path: str) -> Paths:
    return dict.fromkeys(_KINDS, (path,))


_SUBSCRIPTION: Final = _sold("/subscriptions/{subscription_id}")
_AUTO_RENEW: Final = _sold("/subscriptions/{subscription_id}/auto-renew")
_SEATS: Final = _sold("/seats/{subscription_id}")
_CUSTOMER_OF_PARTNER: Final[Paths] = {"partner": ("/customers/{customer}",)}
_ROLLOUT: Final = _customer("/updates/{contract_id}/rollouts/{rollout_id}", "/updates/{contract_id}", "/updates")

PAGES: Final[Mapping[str, Paths]] = {
    "auto-renew": _SUBSCRIPTION,
    "AutoRenewDisableRefused": _AUTO_RENEW,
    "credits": _customer("/credits/{contract_id}"),
    "CreditsGranted:person": _customer("/own"),
    "CreditsExpired:person": _customer("/own"),
    "csn": {"partner": ("/catalogue",), "customer": ("/updates",)},
    "InvitationAccepted": _everyone("/people/{who}"),
    "InvitationExpired": _everyone("/people/invite"),
    "order-confirmed": _SUBSCRIPTION,
    "order-declined": _SUBSCRIPTION,
    "partner-engagement": _CUSTOMER_OF_PARTNER,
    "people-right": _everyone("/people"),
    "renewal-reminder": _AUTO_RENEW,
    "renewed": _SUBSCRIPTION,
    "role-answered": _customer("/contracts/{contract}"),
    "role-ended": _customer("/contracts/{contract}"),
    "role-requested": _customer("/contracts/{contract}/requests/{who}"),
    "RoleRequestDeclined": _customer("/contracts/{contract}/ask"),
    "rollout-paused": _ROLLOUT,
    "rollout-progress": _ROLLOUT,
    "seat": _customer("/own"),
    "SeatDecreaseScheduled": _SEATS,
    "seats-changed": _SUBSCRIPTION,
    "seats-requested": _SUBSCRIPTION,
    "security": _everyone("/sessions"),
    "SeatPoolExpired": _SEATS,
    "SeatPoolSuspended": _SEATS,
    "subscription-over": _SUBSCRIPTION,
    "update-available": _customer(
        "/updates/{contract_id}/of/{publisher}/{update_id}", "/updates/{contract_id}", "/updates"
    ),
    "update-right": _SEATS,
    "webhook-parked": _everyone("/webhooks/{webhook}"),
}
"""The pages by the name of a row's template, or else by its kind."""


def paths_of(row: Notification, organisation_kind: OrganisationKind) -> tuple[str, ...]:
    """Return the paths of a row for people of this kind of organisation."""
    return PAGES.get(row.template, PAGES.get(row.kind, {})).get(organisation_kind, ())


def page_of(row: Notification, organisation_kind: OrganisationKind, facts: Mapping[str, str]) -> str:
    """Return the path of the page about a notification with these facts, "" for none.

    Args:
        facts: the texts among the facts, as they are written in a path.
    """
    for path in paths_of(row, organisation_kind):
        if all(facts.get(place) for place in _PLACE.findall(path)):
            return path.format_map(facts)
    return ""
