"""Which lines a process executes, and a process that dies at one of them."""

import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

from deploy import ROOT

FILES: Final = tuple(
    f"shared/eventlog/{room}/{name}.py"
    for room, names in {
        "write": ("log", "batching", "postgres"),
        "deliver": ("relay", "plan", "applying", "together", "consumer", "tables", "reader", "feed", "lane", "host"),
        "repair": ("guard", "anchors"),
    }.items()
    for name in names
)
_NAMES: Final = {str(ROOT / file): file for file in FILES}


class Point(NamedTuple):
    """Die when this line is to be executed for the `time`-th time, or so long after that."""

    file: str
    line: int
    time: int = 1
    after_s: float = 0.0

    def __str__(self) -> str:
        later = f" + {self.after_s * 1_000:.1f} ms" if self.after_s else ""
        return f"{self.file}:{self.line} #{self.time}{later}"

    @property
    def source(self) -> str:
        return Path(ROOT / self.file).read_text().splitlines()[self.line - 1].strip()


def watch(point: Point | None) -> Counter[tuple[str, int]]:
    """From here on counts every execution of every line of FILES, and dies at the point."""
    counts: Counter[tuple[str, int]] = Counter()
    dies_at = None if point is None else (point.file, point.line)

    def on_line(frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            at = (_NAMES[frame.f_code.co_filename], frame.f_lineno)
            counts[at] += 1
            if at == dies_at and point is not None and counts[at] == point.time:
                _die(point.after_s)
        return on_line

    def on_call(frame: FrameType, _event: str, _argument: Any) -> Any:
        return on_line if frame.f_code.co_filename in _NAMES else None

    sys.settrace(on_call)
    return counts


def _die(after_s: float) -> None:
    """SIGKILL now; or SIGALRM's default, which ends a process as abruptly, in a while."""
    if not after_s:
        os.kill(os.getpid(), signal.SIGKILL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, after_s)
