"""`python -m tests.simulation SEED`: plays one seed again. `--seeds N [--from M]`: plays many."""

import argparse
import gc
import multiprocessing
import os
import sys
import time

from tests.simulation.simulate import Run, simulate


def said(result: Run) -> str:
    return (
        f"seed {result.seed}: {result.events} events, {result.records} records, {result.upsets} upsets, "
        f"{result.forged} forged, {result.seconds:.0f} simulated seconds, digest {result.digest[:16]}"
    )


def many(first: int, number: int, jobs: int) -> int:
    """Plays these seeds; the exit code."""
    began, failed, events = time.perf_counter(), [], 0
    gc.freeze()  # what was imported is not looked through again and again
    gc.set_threshold(50_000)
    with multiprocessing.get_context("fork").Pool(jobs) as workers:
        results = workers.imap_unordered(simulate, range(first, first + number), chunksize=10)
        for done, result in enumerate(results, start=1):
            events += result.events
            if result.faults:
                failed.append(result.seed)
                print(f"{said(result)}\n  " + "\n  ".join(result.faults[:10]))
                print(f"  again: python -m tests.simulation {result.seed}", flush=True)
            if done % 1_000 == 0:
                rate = done / (time.perf_counter() - began)
                print(f"{done:,} seeds, {rate:.0f}/s, {len(failed)} failed", flush=True)
    took = time.perf_counter() - began
    print(f"{number:,} seeds from {first} ({events:,} events) in {took:.0f} s, {number / took:.0f}/s; failed: {failed}")
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("seed", type=int, nargs="?", help="play this seed again")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many to play")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time")
    chosen = parser.parse_args()
    if chosen.seed is None:
        return many(chosen.first, chosen.seeds, chosen.jobs)
    result = simulate(chosen.seed)
    print(said(result))
    print("\n".join(result.faults) or "nothing is wrong")
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
