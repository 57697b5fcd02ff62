"""Group commit: who sends what is queued, and that nobody waits in vain."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from shared.eventlog.write.batching import MAX_WRITES, Batcher
from shared.eventlog.write.store import Head, Outcome, Unavailable, Write, Written
from tests.examples import engine

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Sender:
    """A connection to the store that answers when it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.open = asyncio.Event()

    async def send(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        self.batches.append([each.stream for each in writes])
        await self.open.wait()
        return [Written(0) for _ in writes]


def write(stream: str) -> Write:
    return Write(command_id=f"command of {stream}", fingerprint=b"", stream=stream, expected=Head(), time=NOW)


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_writes_of_one_moment_are_one_batch_and_later_ones_the_next_senders() -> None:
    first, second = Sender(), Sender()
    batcher = Batcher([first.send, second.send])
    await settled()
    answers = [batcher.submit(write(name)) for name in ("a", "b")]
    await settled()
    answers.append(batcher.submit(write("c")))
    await settled()
    assert sorted((first.batches, second.batches)) == [[["a", "b"]], [["c"]]]
    first.open.set()
    second.open.set()
    assert await asyncio.gather(*answers) == [Written(0)] * 3
    await batcher.close()


async def test_what_does_not_fit_a_batch_goes_to_a_sender_that_is_idle() -> None:
    first, second = Sender(), Sender()
    batcher = Batcher([first.send, second.send])
    await settled()
    answers = [batcher.submit(write(f"{n}")) for n in range(MAX_WRITES + 1)]
    answers.append(batcher.submit(write("0")))
    await settled()
    assert sorted(len(each) for sender in (first, second) for each in sender.batches) == [1, MAX_WRITES]
    first.open.set()
    second.open.set()
    await asyncio.gather(*answers)
    assert [first.batches[1:], second.batches[1:]].count([["0"]]) == 1, "what follows on a stream comes after it"
    await batcher.close()


async def test_what_is_queued_while_all_send_is_sent_afterwards_also_when_the_log_is_closed() -> None:
    sender = Sender()
    batcher = Batcher([sender.send])
    answers = [batcher.submit(write("a"))]
    await settled()
    answers.append(batcher.submit(write("b")))
    closing = asyncio.create_task(batcher.close())
    await settled()
    assert not closing.done() and sender.batches == [["a"]]
    sender.open.set()
    await closing
    assert await asyncio.gather(*answers) == [Written(0)] * 2
    assert sender.batches == [["a"], ["b"]]
    with pytest.raises(Unavailable):
        await batcher.submit(write("c"))


async def test_of_one_stream_only_what_continues_the_one_before_is_in_its_batch() -> None:
    first, second = Sender(), Sender()
    batcher = Batcher([first.send, second.send])
    a = engine.write("a")
    then = engine.write("a", a.after)
    sent = [a, then, engine.write("a"), engine.write("a", then.after), engine.write("b")]
    answers = list(map(batcher.submit, sent))
    await settled()
    assert sorted((first.batches, second.batches)) == [[], [["a", "a", "b"]]], "what is left waits for this one"
    first.open.set()
    second.open.set()
    await asyncio.gather(*answers)
    assert [each for each in first.batches + second.batches if len(each) == 1] == [["a"], ["a"]]
    await batcher.close()


async def test_a_closed_log_sends_what_had_to_wait() -> None:
    first, second = Sender(), Sender()
    batcher = Batcher([first.send, second.send])
    answers = [batcher.submit(engine.write("a")) for _ in range(3)]
    await settled()
    closing = asyncio.create_task(batcher.close())
    await settled()
    first.open.set()
    second.open.set()
    async with asyncio.timeout(5):
        await closing
    assert await asyncio.gather(*answers) == [Written(0)] * 3


async def test_callers_that_were_answered_join_one_batch() -> None:
    sender = Sender()
    sender.open.set()
    batcher = Batcher([sender.send])

    async def caller(name: str) -> None:
        for _ in range(3):
            await batcher.submit(write(name))

    await asyncio.gather(*map(caller, "abc"))
    assert sender.batches == [["a", "b", "c"]] * 3
    await batcher.close()
