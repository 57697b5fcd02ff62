"""The portal's words for what services name by codes."""

from collections.abc import Mapping
from typing import Final

from services.console.texts import Texts, marked

ROLES: Final[Mapping[str, str]] = {
    "contract_manager": marked("Contract Manager"),
    "software_coordinator": marked("Software Coordinator"),
}


def role_name(texts: Texts, role: str) -> str:
    """Return a role's name."""
    return texts.gettext(ROLES[role]) if role in ROLES else role
