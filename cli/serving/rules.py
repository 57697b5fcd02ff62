"""Ids of the rules by which the operations server refuses requests."""

from typing import Final

OPERATION_REFUSED: Final = "operation-refused"
"""A verb does what the state of the system allows. `detail` says what does not, in the words of the command line."""
OPERATION_PLAN_CHANGED: Final = "operation-plan-changed"
"""A confirmation is of the plan that was shown. The refusal has the present one in `answer`."""
OPERATION_CANCELLED: Final = "operation-cancelled"
"""An operation was cancelled before its end. `remedy` says what its verb leaves behind then."""
OPERATION_ENDED: Final = "operation-ended"
"""Only an operation that runs can be cancelled."""
OPERATION_RUNNING: Final = "operation-running"
"""A verb changes a service once at a time. `Location` leads to the operation that runs."""
