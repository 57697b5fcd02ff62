"""Python's garbage collector during a repair: it runs where it is called, and afterwards as before."""

import gc
import weakref
from collections.abc import AsyncIterator

import pytest

from shared.eventlog.repair.ahead import ahead
from shared.eventlog.repair.collecting import EVERY, rare_collections


class Knot:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


def test_blocks_in_blocks_end_with_the_outermost() -> None:
    with rare_collections():
        with rare_collections():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_runs_again_after_an_error() -> None:
    def fail() -> None:
        with rare_collections():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert gc.isenabled()


def test_who_has_disabled_it_enables_it_again() -> None:
    gc.disable()
    try:
        with rare_collections():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


async def _batches(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def test_garbage_is_collected_after_some_batches() -> None:
    with rare_collections():
        knot = weakref.ref(Knot())
        assert knot() is not None
        async for _ in ahead(_batches(EVERY)):
            pass
        assert knot() is None
