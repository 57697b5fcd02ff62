"""The kinds of notifications, and how a person chooses to get each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from services.identity.domain import rules
from shared.eventlog.decision import Rejected
from shared.events import NotificationChoice

NotificationKind: TypeAlias = Literal[
    "auto-renew",
    "credits",
    "csn",
    "invitation-answered",
    "order-confirmed",
    "order-declined",
    "partner-engagement",
    "people-right",
    "renewal-reminder",
    "renewed",
    "role-answered",
    "role-ended",
    "role-requested",
    "rollout-paused",
    "rollout-progress",
    "seat",
    "seats-changed",
    "seats-requested",
    "security",
    "subscription-over",
    "update-available",
    "update-right",
    "webhook-parked",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a person can choose about."""

    label: str
    """Names it in the list of preferences, in English; `locale/` has the translations."""
    email: bool = True
    """Whether it is mailed, unless the person chooses otherwise."""
    required: bool = False
    """Whether it reaches the person by one way at least, because a deadline, an order or an access depends on it."""


KINDS: Final[Mapping[NotificationKind, Kind]] = {
    "renewal-reminder": Kind(label="A subscription is about to renew", required=True),
    "renewed": Kind(label="A subscription was renewed"),
    "auto-renew": Kind(label="The answer to turning auto-renew off", required=True),
    "subscription-over": Kind(label="A subscription ended, and until when its seats can be used", required=True),
    "order-confirmed": Kind(label="An order was confirmed"),
    "order-declined": Kind(label="An order was declined or given up", required=True),
    "seats-requested": Kind(label="A customer asks for seats"),
    "seats-changed": Kind(label="A subscription has more or fewer seats"),
    "partner-engagement": Kind(label="A customer engages or releases a partner"),
    "csn": Kind(label="A CSN was issued or revoked"),
    "update-right": Kind(label="The right to updates was lost"),
    "role-requested": Kind(label="Somebody asks for a role", required=True),
    "role-answered": Kind(label="A role is given to you, or declined", required=True),
    "role-ended": Kind(label="A role is taken from you", required=True),
    "people-right": Kind(label="The right to manage people is given to you or taken"),
    "invitation-answered": Kind(label="Your invitation was accepted, or has expired", email=False),
    "security": Kind(label="Your password was changed, or sessions were ended", required=True),
    "seat": Kind(label="A seat is assigned to you or taken"),
    "credits": Kind(label="Cloud credits were granted, or have expired", email=False),
    "update-available": Kind(label="An update is available, or was withdrawn", email=False),
    "rollout-paused": Kind(label="A rollout was paused", required=True),
    "webhook-parked": Kind(label="A webhook of yours was parked"),
    "rollout-progress": Kind(label="A rollout began, was completed or stopped", email=False),
}
"""Every kind, in the order in which preferences are listed."""


def choice_of(kind: NotificationKind, choices: Mapping[str, NotificationChoice]) -> NotificationChoice:
    """Return how a person with these choices gets this kind."""
    return choices.get(kind) or NotificationChoice(kind=kind, email=KINDS[kind].email, inbox=True)


def chosen(
    choices: Iterable[NotificationChoice], before: Mapping[str, NotificationChoice]
) -> tuple[NotificationChoice, ...] | Rejected | None:
    """Return all choices after these, None if they change nothing, or the refusal."""
    after = dict(before)
    for choice in choices:
        kind = _known(choice.kind)
        if kind is None:
            return Rejected(
                rules.NOTIFICATION_KIND_UNKNOWN,
                f"There are no notifications of the kind {choice.kind}.",
                "Choose from the kinds that GET /me/notification-preferences lists.",
            )
        if KINDS[kind].required and not (choice.email or choice.inbox):
            return Rejected(
                rules.NOTIFICATION_REQUIRED,
                f"Notifications of the kind {kind} can't be switched off: deadlines, orders or access depend on them.",
                "Keep them in the inbox, or by e-mail.",
            )
        after[kind] = choice
    if all(choice_of(kind, after) == choice_of(kind, before) for kind in KINDS):
        return None
    return tuple(after.values())


def _known(name: str) -> NotificationKind | None:
    return next((kind for kind in KINDS if kind == name), None)
