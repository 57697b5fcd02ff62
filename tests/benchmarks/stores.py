"""Event stores of other people, as yardsticks: Emmett (Node) and eventsourcing (Python), installed under .local.

Each is run by its own program in `others/`, in a database of its own, and writes the same event as `append.py`.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from deploy import ROOT, OperatorError, bootstrap
from deploy.stack import Postgres
from tests import node
from tests.benchmarks.measure import Assign, Result, decided, fresh, last_line

OTHERS: Final = Path(__file__).parent / "others"
EMMETT: Final = "Emmett"
EVENTSOURCING: Final = "eventsourcing, with its database functions"
REBUILT: Final = {EMMETT: 10_000, EVENTSOURCING: 5_000}
"""The number of events that each folds, a few seconds of work."""

Stores = Mapping[str, Sequence[str | Path]]
"""The command of each store that is installed, by its name."""


def installed() -> Stores:
    """Install what is missing; say which stores can't be had here, and why."""
    found: dict[str, Sequence[str | Path]] = {}
    try:
        found[EMMETT] = ("node", OTHERS / "emmett.mjs", node.modules(OTHERS))
    except node.NoPackages as why:
        print(f"{EMMETT} is left out: {why}")
    try:
        bootstrap.install_peers()
        found[EVENTSOURCING] = (bootstrap.PEERS_VENV / "bin" / "python", OTHERS / "eventsourcing_store.py")
    except OperatorError as why:
        print(f"{EVENTSOURCING} is left out: {why}")
    return found


def append(command: Sequence[str | Path], postgres: Postgres, clients: int, seconds: float) -> Result:
    """Measure a closed loop of clients."""
    return _run([*command, "append", str(clients), str(seconds)], postgres)


def rebuild(command: Sequence[str | Path], postgres: Postgres, events: int) -> Result:
    """Measure how fast a projection folds events, each into a row of its stream."""
    return _run([*command, "rebuild", str(events)], postgres)


def _run(command: Sequence[str | Path], postgres: Postgres) -> Result:
    url = asyncio.run(fresh(postgres.url, "bench_other"))
    (event,) = decided(Assign(0), 0)
    env = {**os.environ, "DATABASE_URL": url, "EVENT": event.data().decode()}
    return last_line([str(part) for part in command], env, ROOT)
