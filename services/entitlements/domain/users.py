"""The users of a customer: who may be given a seat or credits."""

from typing import TypeAlias

from services.entitlements.domain import rules
from shared.eventlog.decision import Rejected
from shared.events import AccountClosed, AccountOpened

Account: TypeAlias = AccountOpened | AccountClosed
"""The latest event of identity about an account that is known here."""


def not_a_user(account: Account | None, account_id: str, customer: str) -> Rejected | None:
    """Return why the account is not a user of the customer; None when it is.

    A user is an open account of the customer's organisation. The refusal does not tell whether another organisation's
    account exists.
    """
    if account is None or account.organisation_id != customer:
        return Rejected(
            rules.USER_UNKNOWN,
            f"No account {account_id[:60]!r} of the customer's organisation is known here.",
            "Check the id. An account that was opened a moment ago is known in a few seconds: send a new request then.",
        )
    if isinstance(account, AccountClosed):
        return Rejected(rules.USER_UNKNOWN, "The account is closed.", "Name an open account.", (account,))
    return None
