"""How a command ends: its exit code, and the one sentence when it did not do what was asked."""

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
    DONE: "done; or a dry run, which changed nothing",
    FAULTS: "it ran, and something is wrong: not ready, parked, not finished",
    USAGE: "invalid command line",
    UNREACHABLE: "PostgreSQL, Kafka or a service can't be reached",
    NOT_FOUND: "there is no such thing",
    REFUSED: "a rule or a check refused it",
    OWN_FAULT: "a bug in this command; it says nothing about the system",
    INTERRUPTED: "interrupted",
}


class OperatorError(Exception):
    """What a person has to know when a command can't do its work: one sentence, and the exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
