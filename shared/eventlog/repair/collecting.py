"""Fewer passes of Python's garbage collector while many events are read.

Events form no cycles, but so many of them exist at a time that the collector goes through all objects of the process
again and again: a third of a restore's processor time.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_YOUNG: Final = 1
"""The generations that are collected."""
EVERY: Final = 16
"""After how many batches: a collection goes through the events of the present one."""
_holders = 0
_batches = 0


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect garbage only in `after_batch`, until the block ends."""
    global _holders
    if not _holders and not gc.isenabled():
        yield  # whoever has disabled it enables it again
        return
    _holders += 1
    gc.disable()
    try:
        yield
    finally:
        _holders -= 1
        if not _holders:
            gc.enable()


def after_batch() -> None:
    """Collect what became garbage, in a block of `rare_collections`, every few batches."""
    global _batches
    _batches += 1
    if _holders and _batches % EVERY == 0:
        gc.collect(_YOUNG)
