"""The accounts of people whom the operator names by an id or by an e-mail address."""

from typing import Any, Final

from services.identity.domain.account import ACCOUNT, claims_of, former_claim_of
from shared.sql import statements

SQL: Final = statements(__file__)


async def account_of(db: Any, person: str) -> str | None:
    """Return the account's id; None if no open account has the e-mail address.

    Args:
        db: identity's database.
    """
    if "@" not in person:
        return person.removeprefix(f"{ACCOUNT.category}-")
    holder = await db.fetchval(SQL["holder"], [*claims_of(person), former_claim_of(person)])
    return None if holder is None else str(holder).removeprefix(f"{ACCOUNT.category}-")
