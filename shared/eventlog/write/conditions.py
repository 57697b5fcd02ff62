"""Conditions of commands on the version of the stream that they are decided on."""

from collections.abc import Callable
from typing import TypeAlias

Condition: TypeAlias = Callable[[str, int], bool]
"""Whether a command may be decided on a stream at a version, which is 0 before the stream's first event."""


class ConditionFailed(Exception):
    """The stream has another version than the command was sent for. Nothing was decided."""

    def __init__(self, stream: str, version: int) -> None:
        super().__init__(f"{stream} is at version {version}")
        self.stream, self.version = stream, version
