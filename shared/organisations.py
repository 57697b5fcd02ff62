"""Organisations and their first accounts."""

import uuid


def organisation_of(account_id: str) -> str:
    """Return the id of the organisation that is founded with this account."""
    return str(uuid.uuid5(uuid.UUID(account_id), "organisation"))


def is_founder(account_id: str, organisation_id: str) -> bool:
    """Return whether the account is the organisation's first."""
    try:
        return organisation_id == organisation_of(account_id)
    except ValueError:
        return False
