"""`python -m cli`, or `tenure`."""

from cli import (
    checkpoint,
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
    status,
    topics,
    streams,
    folding,
    verify,
    parked,
    checkpoint,
    timers,
    keys,
    mail,
    rebuild,
    restore,
    transfer,
    replay,
    subjects,
    why,
)
"""Importing a family declares its verbs."""

if __name__ == "__main__":
    main()
