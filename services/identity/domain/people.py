"""Who sees an organisation's people, and who removes one of them.

The organisation's first account manages its people, as do the accounts to which it gave that right.
"""

from typing import Final

from services.identity.domain import rules
from services.identity.domain.account_state import OpenedAccount, State, founded
from shared.eventlog.decision import Rejected
from shared.rules import OPERATOR_ONLY

_BY_OPERATOR_ONLY: Final = ("publisher", "operator")


def manages_people(viewer: State, organisation_id: str) -> bool:
    """Return whether the account manages the people of the organisation."""
    if not isinstance(viewer, OpenedAccount):
        return False
    opened = viewer.opened
    if opened.organisation_kind == "operator":
        return True
    if opened.organisation_id != organisation_id or opened.organisation_kind in _BY_OPERATOR_ONLY:
        return False
    return founded(opened) or viewer.administrator is not None


def people_not_shown(viewer: State, organisation_id: str, *, holds_role: bool) -> Rejected | None:
    """Return why the account may not list the organisation's people; None when it may.

    Args:
        holds_role: whether the account holds a role on one of the organisation's contracts.
    """
    if manages_people(viewer, organisation_id):
        return None
    own = isinstance(viewer, OpenedAccount) and viewer.opened.organisation_id == organisation_id
    if own and holds_role:
        return None
    return Rejected(
        rules.MAY_NOT_SEE_PEOPLE,
        "Only those who manage the organisation's people, and those with a role on one of its contracts, list them.",
        "Ask the organisation's first account for the right to manage people "
        "(PUT /organisation/administrators/{account_id}).",
    )


def not_removable(by: State, person: OpenedAccount) -> Rejected | None:
    """Return why an account may not remove this person; None when it may.

    Those who manage people are removed by the first account only, because only it decides who manages people.
    """
    opened = person.opened
    if isinstance(by, OpenedAccount) and by.opened.account_id == opened.account_id:
        return None
    if not manages_people(by, opened.organisation_id):
        if opened.organisation_kind in _BY_OPERATOR_ONLY:
            return Rejected(
                OPERATOR_ONLY,
                "Only the operator removes people of a publisher or of the operator.",
                "Ask the operator to remove them.",
                (opened,),
            )
        return Rejected(
            rules.MAY_NOT_REMOVE_PEOPLE,
            "Only those who manage the organisation's people remove one of them.",
            "Ask the organisation's first account, or a colleague to whom it gave the right to manage people.",
        )
    by_first = isinstance(by, OpenedAccount) and (by.opened.organisation_kind == "operator" or founded(by.opened))
    if by_first or not (founded(opened) or person.administrator is not None):
        return None
    return Rejected(
        rules.FIRST_ACCOUNT_ONLY,
        "This person manages the organisation's people, so only its first account, or the operator, removes them.",
        "Ask that colleague, or the operator if the colleague has left.",
        (opened,) if person.administrator is None else (person.administrator,),
    )
