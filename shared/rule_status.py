"""The HTTP status of a rule: one for each rule, wherever a refusal names it.

A rule's status belongs to its constant. A rule without one of its own is refused with 409.
"""

from typing import Final, Self

CONFLICT: Final = 409
"""The status of a rule that has none of its own: the state of what the command is about forbids it."""

_STATUSES: Final[dict[str, int]] = {}
"""The status of each rule that has one of its own."""


class Rule(str):
    """The id of a rule whose refusals have another status than 409.

    `ROLE_MISSING: Final = Rule("role-missing", 403)`. 403 is for rules about who may do something, 404 for what does
    not exist or must not be told, 422 for what is wrong with the request itself.
    """

    __slots__ = ()

    def __new__(cls, rule: str, status: int) -> Self:
        """Declare the rule's status. Raises ValueError if the rule has another one already."""
        if _STATUSES.setdefault(rule, status) != status:
            raise ValueError(f"the rule {rule} has the status {_STATUSES[rule]}, so it can't have {status}, too")
        return super().__new__(cls, rule)


def status_of(rule: str) -> int:
    """Return the HTTP status of the rule's refusals.

    A refusal that was stored by an older version may name a rule that no longer exists; its status is 409.
    """
    return _STATUSES.get(rule, CONFLICT)
