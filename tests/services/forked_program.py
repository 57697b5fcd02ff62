"""A program that says who it is, and then ends as told: `python -m tests.services.forked_program ENDING`."""

import json
import os
import random
import signal
import sys
import time
from typing import NoReturn

import uuid_utils


def main() -> NoReturn:
    ending = sys.argv[1]
    facts = {
        "name": __name__,
        "argv": sys.argv[1:],
        "told": os.environ.get("TOLD"),
        "home": os.environ.get("HOME"),
        "session": os.getsid(0) == os.getpid(),
        "id": str(uuid_utils.uuid4()),
        "chance": random.random(),
    }
    print(json.dumps(facts), flush=True)
    if ending == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("{}", flush=True)
    if ending in ("stay", "stubborn"):
        time.sleep(60)
    sys.exit(int(ending))


if __name__ == "__main__":
    main()
