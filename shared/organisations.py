"""Organisations: what they are called, their ids (also of sandboxes), their first accounts."""

import re
import uuid
from typing import Final

_PREFIX: Final = "sandbox-"
_SANDBOX: Final = re.compile(rf"{_PREFIX}[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}")


def organisation_of(account_id: str, *, sandbox: bool = False) -> str:
    """Return the id of the organisation that is founded with this account.

    Whoever has a sandbox's id knows by it alone that the organisation is a sandbox.
    """
    return (_PREFIX if sandbox else "") + str(uuid.uuid5(uuid.UUID(account_id), "organisation"))


def is_sandbox(organisation_id: str) -> bool:
    """Return whether the organisation is a sandbox, by its id.

    The id of a sandbox that was opened before ids said so looks like any other.
    """
    return _SANDBOX.fullmatch(organisation_id) is not None


def called(short_name: str) -> str:
    """Return what people call a publisher or programme by its short name (Autodesk)."""
    return " ".join(word[:1].upper() + word[1:] for word in short_name.split(" "))


def is_founder(account_id: str, organisation_id: str) -> bool:
    """Return whether the account is the organisation's first."""
    try:
        return organisation_id == organisation_of(account_id, sandbox=is_sandbox(organisation_id))
    except ValueError:
        return False
