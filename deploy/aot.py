"""Kafka's classes as its start leaves them, kept in a file (JEP 483, JEP 514): a later start takes half the processor's
time and a third of the wait. `python -m deploy.aot` starts Kafka once, stops it, and keeps what its JVM writes then.

Only a shortcut: a JVM that has no such file, or one that is damaged or of other jars, loads its classes itself.
"""

import shutil
import sys
from pathlib import Path
from typing import Final

from deploy import AOT_CACHE, LOCAL, OperatorError
from deploy.broker import Protection
from deploy.processes import ChildProcess
from deploy.stack import Kafka

_FOLDER: Final = LOCAL / "aot"  # always the same: what an interrupted run left is found and ended


class _Learning(Kafka):
    stop_within_s = 90.0  # the file is made when it ends

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, protection=Protection(folder / "secrets"))
        self.cache = folder / AOT_CACHE.name

    def _process(self) -> ChildProcess:
        self.ahead_of_time = f"-XX:AOTCacheOutput={self.cache}"
        return super()._process()


def make() -> None:
    """Makes the file anew. OperatorError when Kafka did not start, or wrote none."""
    AOT_CACHE.unlink(missing_ok=True)
    kafka = _Learning(_FOLDER)
    kafka.end_leftovers()
    shutil.rmtree(_FOLDER, ignore_errors=True)
    try:
        kafka.start()
        kafka.stop()
        if not kafka.cache.exists():
            raise OperatorError(f"Kafka kept no classes: {kafka.log.read_text(errors='replace').strip()[-300:]}")
        kafka.cache.replace(AOT_CACHE)
    finally:
        kafka.kill()  # where it was interrupted
        shutil.rmtree(_FOLDER, ignore_errors=True)


if __name__ == "__main__":
    try:
        make()
    except OperatorError as trouble:
        sys.exit(str(trouble))
    except KeyboardInterrupt:
        sys.exit("interrupted")
