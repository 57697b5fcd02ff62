"""What all processes of Tenure import: the fork server loads it (`forked.py`)."""

import gc

import argon2  # noqa: F401
import babel.dates  # noqa: F401
import holidays  # noqa: F401
import jinja2.ext  # noqa: F401
import uuid_utils  # noqa: F401 - its source of random numbers starts with its first id, after the fork

import shared.events
import shared.runtime.service  # noqa: F401

gc.collect()
gc.freeze()  # so that no collection of a forked process writes to the memory that it shares
