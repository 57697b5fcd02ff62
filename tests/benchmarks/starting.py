"""How long `make up` takes when everything is installed and data exists: `python -m tests.benchmarks.starting ROUNDS`.

A system of its own is started once, with the example data, and then stopped and started again, by the launcher that
`make up DETACH=1` runs: until it says that everything is ready. What make does before, the check of the installation,
takes a few tenths of a second more. Prints a list of results, a round each.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import SystemRandom
from typing import Final

from deploy import LOCAL, ROOT, OperatorError
from deploy.processes import require_free
from tests.benchmarks.measure import Result, say

PORTS: Final = 13
"""How many ports a system has."""
PATIENCE_S: Final = 300


def free_base() -> int:
    """Return the first of as many free ports as a system has."""
    bases: list[int] = [*range(20_000, 30_000, 20)]
    SystemRandom().shuffle(bases)
    return next(base for base in bases if all(map(_is_free, range(base, base + PORTS))))


def _is_free(port: int) -> bool:
    try:
        require_free(port, "the benchmark", "")
    except OperatorError:
        return False
    return True


def launched(verb: str, *options: str, env: dict[str, str]) -> float:
    """Run the launcher; return the seconds that it took."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "deploy.local", verb, *options]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - begin


def run(rounds: int) -> list[Result]:
    (LOCAL / "bench").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=LOCAL / "bench", prefix="start-") as folder:
        env = {**os.environ, "TENURE_STATE": str(Path(folder)), "TENURE_PORT_BASE": str(free_base())}
        results: list[Result] = []
        try:
            first_s = launched("up", "--detach", env=env)
            for _ in range(rounds):
                launched("down", env=env)
                again_s = launched("up", "--detach", env=env)
                results.append({"again_s": round(again_s, 2), "first_s": round(first_s, 2)})
        finally:
            launched("down", env=env)
    return results


if __name__ == "__main__":
    say({"make up": run(int(sys.argv[1]))})
