"""What an append takes of the interpreter, in counts: `python -m tests.benchmarks.counting`.

No machine's speed changes them. One client appends through `execute()`, as in `append.py`. Counted are the calls of
functions, in Python and in C, the blocks of memory that are still allocated afterwards, once all streams are in the
cache, and the most bytes that one append has allocated at a time. DATABASE_URL is the server. Prints the result as
JSON.
"""

import gc
import os
import sys
import tracemalloc
from statistics import median
from types import FrameType
from typing import Final

import uvloop

from shared.eventlog.write.log import Accepted, Log
from shared.eventlog.write.postgres import PostgresStore
from tests.benchmarks.measure import SEATS, SERVICE, Assign, Result, as_service, fresh, meta, say

STREAMS: Final = 100
ROUNDS: Final = 20


class Counter:
    """Counts calls of this thread, as a profiler does."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, _frame: FrameType, event: str, _argument: object) -> None:
        if event in ("call", "c_call"):
            self.calls += 1


async def append(log: Log, rounds: int) -> int:
    """Append to every stream so often; return the number of events."""
    for _ in range(rounds):
        for stream in range(STREAMS):
            answer = await log.execute(SEATS, str(stream), Assign(stream), meta())
            assert isinstance(answer, Accepted)
    return rounds * STREAMS


async def peaks(log: Log) -> list[int]:
    """Return the most bytes that each append to a stream has allocated at a time."""
    found = []
    tracemalloc.start()
    for stream in range(STREAMS):
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        await log.execute(SEATS, str(stream), Assign(stream), meta())
        found.append(tracemalloc.get_traced_memory()[1] - before)
    tracemalloc.stop()
    return found


async def run() -> Result:
    dsn = await as_service(await fresh(os.environ["DATABASE_URL"], "bench_counted"), SERVICE)
    store = await PostgresStore(dsn, SERVICE).open()
    log = Log(store, SERVICE)
    await append(log, 2)
    gc.collect()
    before = sys.getallocatedblocks()
    events = await append(log, ROUNDS)
    gc.collect()
    kept = sys.getallocatedblocks() - before
    counter = Counter()
    sys.setprofile(counter)
    counted = await append(log, 1)
    sys.setprofile(None)
    result = {
        "calls": round(counter.calls / counted, 1),
        "blocks_kept": round(kept / events, 2),
        "peak_bytes": round(median(await peaks(log))),
    }
    await store.close()
    return result


if __name__ == "__main__":
    say(uvloop.run(run()))
