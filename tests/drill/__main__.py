"""`make drill`: a system loses a random part and is restored as the runbook says.

    make drill ARGS="--seed 7"            one round by a seed, which chooses the part and the moment
    make drill ARGS="--times 10"          ten rounds, one after the other, on one system
    make drill ARGS="--loss postgresql"   this part

Every round prints its seed. The folder of the system is removed at the end, unless a round failed.
"""

import argparse
import secrets
import shutil
import sys
import time
from pathlib import Path

from deploy import ROOT, stack
from services import definition_of
from tests.drill.backup import PRIVATE, Backup, archiving
from tests.drill.course import drill
from tests.drill.losses import LOSSES
from tests.system.running import system

FOLDER = ROOT / ".local" / "drill"


def main() -> int:
    """Run the drill, and return 1 if something was not as it was."""
    parser = argparse.ArgumentParser(prog="make drill", description="Lose a part of a system and restore it.")
    parser.add_argument("--seed", type=int, help="of the first round; the next have the next ones")
    parser.add_argument("--times", type=int, default=1, help="how many rounds")
    parser.add_argument("--loss", choices=sorted(LOSSES), default="", help="what is lost; without it, a random part")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the system; it must be empty or not exist")
    parser.add_argument("--private", action="store_true", help="only list the private tables, as options of pg_dump")
    given = parser.parse_args()
    if given.private:
        print(" ".join(f"--table={table}" for table in definition_of(PRIVATE).private_tables))
        return 0
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    if given.folder == FOLDER:
        shutil.rmtree(FOLDER, ignore_errors=True)  # of a drill that failed
    begun = time.monotonic()
    with system(given.folder, in_files=True) as whole:
        assert isinstance(whole.postgres, stack.Postgres), "the drill needs the data folders: unset CONTAINERS"
        backup = Backup(given.folder / "backup")
        archiving(whole.postgres, backup)
        print(f"a system with the example data runs, {time.monotonic() - begun:.0f} s", flush=True)
        for n in range(given.times):
            print(f"round {n + 1} of {given.times}, seed {seed + n}", flush=True)
            try:
                drill(whole, backup, seed + n, lambda line: print(f"   {line}", flush=True), given.loss)
            except AssertionError as wrong:
                print(f"NOT RESTORED, seed {seed + n}: {wrong}\nThe system's files: {given.folder}", file=sys.stderr)
                return 1
    shutil.rmtree(given.folder, ignore_errors=True)
    print(f"{given.times} of {given.times} restored, {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
