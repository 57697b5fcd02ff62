"""`python -m cli`, or `tenure`."""

from cli import parked, replay, status, streams, subjects, timers, topics, transfer
from cli.app import main

VERBS = (status, topics, streams, parked, timers, transfer, replay, subjects)
"""Importing a family declares its verbs."""

if __name__ == "__main__":
    main()
