"""Who may be given a seat, or credits of their own: an open account of the customer's organisation."""

from typing import TypeAlias

from services.entitlements.domain import rules
from shared.eventlog.decision import Rejected
from shared.events import AccountClosed, AccountOpened

Account: TypeAlias = AccountOpened | AccountClosed
"""identity's last word about an account, as far as it is known here."""


def not_a_user(account: Account | None, account_id: str, customer: str) -> Rejected | None:
    """Why the account is none of the customer's users; None where it is one. Whether another organisation's
    account exists is not told."""
    if account is None or account.organisation_id != customer:
        return Rejected(
            rules.USER_UNKNOWN,
            f"No account {account_id[:60]!r} of the customer's organisation is known here.",
            "Check the id. One that was opened a moment ago is known in a few seconds: send a new request then.",
        )
    if isinstance(account, AccountClosed):
        return Rejected(rules.USER_UNKNOWN, "The account is closed.", "Name an open one.", (account,))
    return None
