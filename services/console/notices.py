"""What a page says first about what was done just before: its `?notice=`."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from services.console.texts import marked


class Notice(NamedTuple):
    """A sentence, and whether it is good news."""

    text: str
    good: bool = True


NOTICES: Final[Mapping[str, Notice]] = {
    "nothing-changed": Notice(marked("Nothing has changed: it was so already.")),
    # Sessions and the person's own account
    "ended": Notice(
        marked(
            "Your session has ended: you signed out elsewhere, your password or a role was changed, "
            "or it was too old. Sign in again."
        ),
        good=False,
    ),
    "needed": Notice(marked("Sign in to see this page."), good=False),
    "signed-out": Notice(marked("You are signed out.")),
    "everywhere": Notice(marked("You are signed out here and everywhere else.")),
    "password": Notice(marked("Your new password is set, and all sessions have ended. Sign in with it.")),
    "closed-for-good": Notice(marked("Your account is closed, and what was personal in it is erased.")),
    "opened": Notice(marked("Your account is open. Sign in.")),
    "oidc-linked": Notice(marked("The account is linked. It signs you in from now on.")),
    "oidc-unlinked": Notice(marked("The account is unlinked. It does not sign you in any more.")),
    "saved": Notice(marked("Your profile is saved.")),
    "notifications-saved": Notice(marked("It is saved how you are notified.")),
    "verified": Notice(marked("Your e-mail address is confirmed.")),
    # A sandbox's clock
    "clock-moved": Notice(marked("The clock is moved. What was due by then happens within moments.")),
    "sent": Notice(marked("The mail is on its way. It is sent at most once in five minutes.")),
    # The account portal
    "role-asked": Notice(marked("The Contract Manager is asked. The answer is on this page, with its reason.")),
    "role-answered": Notice(marked("Your answer is given.")),
    "coordinator-named": Notice(marked("The Software Coordinator is named.")),
    "role-withdrawn": Notice(marked("The role is withdrawn.")),
    "handed-over": Notice(marked("The contract is handed over.")),
    "invited": Notice(marked("The invitation is on its way.")),
    "invitation-withdrawn": Notice(marked("The invitation is withdrawn.")),
    "removed": Notice(marked("The person is removed. Their roles and seats go with them.")),
    "right-given": Notice(marked("They may manage people now.")),
    "right-taken": Notice(marked("They may not manage people any more.")),
    "session-over": Notice(marked("The session has ended.")),
    "auto-renew-asked": Notice(marked("It is asked for. The seats decide in a moment; this page says the answer.")),
    "seats-asked": Notice(marked("Your partner is asked for the seats.")),
    "seat-assigned": Notice(marked("The seat is assigned.")),
    "seat-taken": Notice(marked("The seat is taken away, and free.")),
    "seat-moved": Notice(marked("The seat has moved.")),
    "credits-spent": Notice(marked("The credits are spent.")),
    "partner-engaged": Notice(marked("The partner may order for you now.")),
    "partner-released": Notice(marked("The partner is released.")),
    # The marketplace
    "in-cart": Notice(marked("It is in the cart.")),
    "discarded": Notice(marked("The cart is discarded.")),
    "out-of-cart": Notice(marked("The line is removed.")),
    "ordered": Notice(marked("The order is sent to the publisher. This page shows the answer as it arrives.")),
    "given-up": Notice(marked("The order is given up.")),
    "seats-changed": Notice(marked("The number of seats is changed.")),
    "request-confirmed": Notice(marked("The request is confirmed, and the seats are added.")),
    "request-declined": Notice(marked("The request is declined. The customer sees your reason.")),
    "wizard-over": Notice(marked("The catalogue has no such plan any more. Start again."), good=False),
    # A publisher's
    "plan-listed": Notice(marked("The plan is on sale.")),
    "plan-off": Notice(marked("The plan is off sale.")),
    "price-announced": Notice(marked("The price is announced.")),
    "csn-issued": Notice(marked("The number is issued.")),
    "csn-revoked": Notice(marked("The number is revoked.")),
    "credits-granted": Notice(marked("The credits are granted.")),
    "answer-yes": Notice(marked("The order is confirmed.")),
    "answer-no": Notice(marked("The order is declined.")),
    "update-published": Notice(marked("The update is published.")),
    "update-off": Notice(marked("The update is withdrawn.")),
    # The operator's
    "machine-revoked-now": Notice(marked("The machine is revoked.")),
    "webhook-paused": Notice(marked("The webhook is paused.")),
    "webhook-resumed": Notice(marked("The webhook goes on.")),
    "webhook-replays": Notice(marked("The webhook sends the events from that position on.")),
    "webhook-removed": Notice(marked("The webhook is removed.")),
    "sessions-of-over": Notice(marked("All their sessions have ended.")),
    # Updates
    "update-approved": Notice(marked("The update is approved. Its rollout begins in a moment.")),
    "update-scheduled": Notice(marked("The update is scheduled.")),
    "update-held": Notice(marked("The update is held.")),
    "group-created": Notice(marked("The group is created; it appears in a moment. Open it to put people into it.")),
    "member-put": Notice(marked("The person is in the group.")),
    "member-removed": Notice(marked("The person is not in the group any more.")),
    "policy-set": Notice(marked("The policy is set.")),
    "did-paused": Notice(marked("The rollout is paused.")),
    "did-resumed": Notice(marked("The rollout goes on.")),
    "did-stopped": Notice(marked("The rollout is stopped.")),
    "did-retried": Notice(marked("The failed machines try again.")),
    "did-moved-on": Notice(marked("The phase is ended, and the rollout goes on.")),
    "did-excluded": Notice(marked("The exclusion is done.")),
}
