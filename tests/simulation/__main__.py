"""`python -m tests.simulation SEED`: plays one seed again. `--seeds N [--from M]`: plays many."""

import argparse
import sys
import time

from tests.simulation.simulate import Run, simulate


def said(result: Run) -> str:
    return (
        f"seed {result.seed}: {result.events} events, {result.records} records, {result.upsets} upsets, "
        f"{result.seconds:.0f} simulated seconds, digest {result.digest[:16]}"
    )


def many(first: int, number: int) -> int:
    """Plays these seeds; the exit code."""
    began, failed, events = time.perf_counter(), [], 0
    for done, seed in enumerate(range(first, first + number), start=1):
        result = simulate(seed)
        events += result.events
        if result.faults:
            failed.append(seed)
            print(f"{said(result)}\n  " + "\n  ".join(result.faults[:10]))
            print(f"  again: python -m tests.simulation {seed}", flush=True)
        if done % 1_000 == 0:
            print(f"{done:,} seeds, {done / (time.perf_counter() - began):.0f}/s, {len(failed)} failed", flush=True)
    took = time.perf_counter() - began
    print(
        f"{number:,} seeds ({events:,} events) in {took:.0f} s, {number / took:.0f}/s; {len(failed)} failed: {failed}"
    )
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("seed", type=int, nargs="?", help="play this seed again")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many to play")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them")
    chosen = parser.parse_args()
    if chosen.seed is None:
        return many(chosen.first, chosen.seeds)
    result = simulate(chosen.seed)
    print(said(result))
    print("\n".join(result.faults) or "nothing is wrong")
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
