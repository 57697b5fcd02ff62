"""Ahead-of-time cache of Kafka's classes (JEP 483, JEP 514): `python -m deploy.aot`.

Starts Kafka once and stops it; its JVM then writes the cache. A later start takes half the processor time and a third
of the wall time. Without the file, or if it is damaged or of other jars, the JVM loads the classes itself.
"""

import shutil
import sys
from pathlib import Path
from typing import Final

from deploy import AOT_CACHE, LOCAL, OperatorError
from deploy.broker import Protection
from deploy.processes import ChildProcess
from deploy.stack import Kafka

_FOLDER: Final = LOCAL / "aot"  # always the same, so that the processes of an interrupted run are found and ended


class _Learning(Kafka):
    stop_within_s = 90.0  # the JVM writes the file at its end

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, protection=Protection(folder / "secrets"))
        self.cache = folder / AOT_CACHE.name

    def _process(self) -> ChildProcess:
        self.ahead_of_time = f"-XX:AOTCacheOutput={self.cache}"
        return super()._process()


def make() -> None:
    """Create the file again.

    Raises:
        OperatorError: Kafka did not start, or wrote no file.
    """
    AOT_CACHE.unlink(missing_ok=True)
    kafka = _Learning(_FOLDER)
    kafka.end_leftovers()
    shutil.rmtree(_FOLDER, ignore_errors=True)
    try:
        kafka.start()
        kafka.stop()
        if not kafka.cache.exists():
            raise OperatorError(f"Kafka wrote no class cache: {kafka.log.read_text(errors='replace').strip()[-300:]}")
        kafka.cache.replace(AOT_CACHE)
    finally:
        kafka.kill()  # if interrupted
        shutil.rmtree(_FOLDER, ignore_errors=True)


if __name__ == "__main__":
    try:
        make()
    except OperatorError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted")
