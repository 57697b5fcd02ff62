"""The users of a customer: who may be given a seat or credits."""

from typing import Final, TypeAlias

from services.entitlements.domain import rules
from shared.eventlog.decision import Rejected
from shared.events import AccountClosed, AccountOpened

NOBODY: Final = ""
"""The account id of an e-mail address that no account of the customer's organisation has."""
Account: TypeAlias = AccountOpened | AccountClosed
"""The latest event of identity about an account that is known here."""


def not_a_user(account: Account | None, account_id: str, customer: str) -> Rejected | None:
    """Return why the account is not a user of the customer; None when it is.

    A user is an open account of the customer's organisation. The refusal does not tell whether another organisation's
    account exists.
    """
    if account_id == NOBODY:
        return address_of_nobody()
    if account is None or account.organisation_id != customer:
        return Rejected(
            rules.USER_UNKNOWN,
            f"No account {account_id[:60]!r} of the customer's organisation is known here.",
            "Check the id. An account that was opened a moment ago is known in a few seconds: send a new request then.",
        )
    if isinstance(account, AccountClosed):
        return Rejected(rules.USER_UNKNOWN, "The account is closed.", "Name an open account.", (account,))
    return None


def address_of_nobody() -> Rejected:
    """Return the refusal of an e-mail address.

    It does not repeat the address, because refusals are kept for ever.
    """
    return Rejected(
        rules.USER_UNKNOWN,
        "No account of the customer's organisation has this e-mail address.",
        "Check the address, or invite the person.",
    )
