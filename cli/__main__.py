"""`python -m cli`, or `tenure`."""

from cli import (
    folding,
    keys,
    mail,
    parked,
    rebuild,
    replay,
    restore,
    status,
    streams,
    subjects,
    timers,
    topics,
    transfer,
    verify,
    why,
)
from cli.app import main

VERBS = (
    status, topics, streams, folding, verify, parked, mail, timers, keys, rebuild, restore, transfer, replay,
    subjects, why,
)  # fmt: skip
"""Importing a family declares its verbs."""

if __name__ == "__main__":
    main()
