"""`python -m cli`, or `tenure`."""

from cli.app import main
from cli.verbs import (
    checkpoint,
    erase,
    keys,
    mail,
    parked,
    projection_debug,
    rebuild,
    replay,
    restore,
    status,
    streams,
    timers,
    topics,
    transfer,
    verify,
    why,
)

VERBS = (
    status,
    topics,
    streams,
    projection_debug,
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
    erase,
    why,
)
"""Importing a family declares its verbs."""

if __name__ == "__main__":
    main()
