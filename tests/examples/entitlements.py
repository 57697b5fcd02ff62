"""Who uses what, in the specs of entitlements."""

from shared.events import AccountOpened
from tests.contracts.golden import sample


def account(account_id: str, organisation_id: str = "org") -> AccountOpened:
    """The account, as the log knows it."""
    opened: AccountOpened = sample(AccountOpened)
    who = {"account_id": account_id, "organisation_id": organisation_id}
    return opened.model_copy(update=who).recorded(f"opened-{account_id}")
