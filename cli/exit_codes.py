"""Exit codes, and the error that determines one."""

from typing import Final

DONE: Final = 0
FAULTS: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
NOT_FOUND: Final = 4
REFUSED: Final = 5
OWN_FAULT: Final = 70
INTERRUPTED: Final = 130

MEANING: Final = {
    DONE: "done, or a dry run that changed nothing",
    FAULTS: "the command ran and found something wrong: not ready, parked, incomplete",
    USAGE: "invalid command line",
    UNREACHABLE: "PostgreSQL, Kafka or a service can't be reached",
    NOT_FOUND: "what was named does not exist",
    REFUSED: "refused by a rule or a check",
    OWN_FAULT: "a bug in tenure itself; it says nothing about the system",
    INTERRUPTED: "interrupted",
}


class OperatorError(Exception):
    """An error for the operator: one sentence, and the exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
