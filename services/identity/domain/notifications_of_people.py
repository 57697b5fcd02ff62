"""The notifications of roles, people, sessions and webhooks."""

from collections.abc import Callable
from typing import Final

from services.identity.domain.notification_rows import Facts, Notification, tell
from shared.events import (
    IdentityLinked,
    InvitationAccepted,
    InvitationExpired,
    PeopleAdministratorNamed,
    PeopleAdministratorRemoved,
    RoleAssigned,
    RoleRequestDeclined,
    RoleRequested,
    RoleRevoked,
    SessionEnded,
    SessionsEnded,
    WebhookParked,
)


def _webhook_parked(
    reason: str, text: str, facts: Callable[[WebhookParked], Facts] = lambda e: {"webhook": e.webhook_id}
) -> Notification:
    """Return the row of a webhook that is parked for this reason."""
    return tell(
        WebhookParked,
        "webhook-parked",
        "registrant",
        title="Your webhook {webhook} is parked",
        text=text,
        facts=facts,
        variant=reason,
        applies=lambda e: e.reason == reason,
    )


ROWS: Final[tuple[Notification, ...]] = (
    # Roles, people and sessions
    tell(
        RoleRequested,
        "role-requested",
        "manager",
        title="{who:person} asks for a role",
        text="{who:person} asks for the role {role:role} on contract {contract}.\n\n{message:quoted}\n\nYou approve or "
        "decline it.",
        facts=lambda e: {"who": e.account_id, "role": e.role, "contract": e.contract_id, "message": e.message},
    ),
    tell(
        RoleAssigned,
        "role-answered",
        "person",
        title="You are {role:role} now",
        text="You have the role {role:role} on contract {contract} now.",
        facts=lambda e: {"role": e.role, "contract": e.contract_id},
    ),
    tell(
        RoleRequestDeclined,
        "role-answered",
        "person",
        title="Your request for a role was declined",
        text="Your request for the role {role:role} on contract {contract} was declined by {who:person}.\n\n"
        "{reason:quoted}\n\nYou may ask again.",
        facts=lambda e: {"who": e.declined_by, "role": e.role, "contract": e.contract_id, "reason": e.reason},
    ),
    tell(
        RoleRevoked,
        "role-ended",
        "person",
        title="You are no longer {role:role}",
        text="You no longer have the role {role:role} on contract {contract}.",
        facts=lambda e: {"role": e.role, "contract": e.contract_id},
    ),
    tell(
        PeopleAdministratorNamed,
        "people-right",
        "person",
        title="You may manage people now",
        text="{who:person} gave you the right to invite, list and remove people of your organisation.",
        facts=lambda e: {"who": e.named_by},
    ),
    tell(
        PeopleAdministratorRemoved,
        "people-right",
        "person",
        title="You no longer manage people",
        text="{who:person} took the right to manage your organisation's people from you.",
        facts=lambda e: {"who": e.removed_by},
    ),
    tell(
        InvitationAccepted,
        "invitation-answered",
        "inviter",
        title="{who:person} has joined",
        text="{who:person} has accepted your invitation.",
        facts=lambda e: {"who": e.account_id},
    ),
    tell(
        InvitationExpired,
        "invitation-answered",
        "inviter",
        title="An invitation has expired",
        text="An invitation of yours has expired before anybody accepted it. You can invite the person again.",
    ),
    tell(
        SessionsEnded,
        "security",
        "person",
        title="Your password was changed",
        text="The password of your account was changed, and all sessions have ended. If it was not you, set a new "
        "password now and tell the operator.",
        variant="password",
        applies=lambda e: e.reason in ("password-changed", "password-reset"),
        own=True,
    ),
    tell(
        SessionsEnded,
        "security",
        "person",
        title="The operator has ended your sessions",
        text="The operator has ended all sessions of your account. Sign in again.",
        variant="operator",
        applies=lambda e: e.reason == "ended-by-operator",
    ),
    tell(
        IdentityLinked,
        "security",
        "person",
        title="An account elsewhere signs you in",
        text="Your account at {issuer} is linked and signs you in from now on. If it was not you, unlink it in your "
        "profile and set a new password: a new password alone does not unlink it.",
        facts=lambda e: {"issuer": e.issuer},
        own=True,
    ),
    tell(
        SessionEnded,
        "security",
        "person",
        title="A session was ended as a precaution",
        text="A session of your account was used from two places, so it was ended. If you do not know why, set a new "
        "password.",
        applies=lambda e: e.reason == "refresh-token-reused",
        own=True,
    ),
    _webhook_parked(
        "not-accepted",
        "The address of your webhook {webhook} has not accepted an event for too long. Its last answer was:\n\n"
        "{answer:quoted}\n\nNothing is sent until you resume the webhook. It then goes on with that event; none is "
        "lost.",
        facts=lambda e: {"webhook": e.webhook_id, "answer": e.last_answer},
    ),
    _webhook_parked(
        "events-not-kept",
        "The topic of your webhook {webhook} does not have its next event any more. Nothing is sent until you say from "
        "which position it goes on.",
    ),
    _webhook_parked(
        "secret-missing",
        "The secret of your webhook {webhook} is missing, so nothing can be signed. Nothing is sent until you make a "
        "new secret, give it to the receiver, and resume the webhook.",
    ),
)
