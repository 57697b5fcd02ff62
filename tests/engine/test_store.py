"""What every store promises: one suite, in memory and in PostgreSQL."""

import asyncio
from typing import Any

import pytest

from shared.eventlog.write.store import Head, Lease, LeaseLost, Moved, Repeated, Store, Taken, Written
from shared.events.envelope import GENESIS
from tests.examples.engine import head_of, new_id, write


async def test_positions_and_versions_are_dense(store: Store) -> None:
    a, b = write("a", number=3), write("b", number=2)
    assert await store.append(a) == Written(3)
    assert await store.append(b) == Written(5)
    events = await store.read(0, 100)
    assert [e.envelope.position for e in events] == [1, 2, 3, 4, 5]
    assert [(e.envelope.stream, e.envelope.version) for e in events] == [
        ("a", 1),
        ("a", 2),
        ("a", 3),
        ("b", 1),
        ("b", 2),
    ]
    assert await store.position() == 5


async def test_what_is_read_is_what_was_written(store: Store) -> None:
    first = write("a", number=2)
    await store.append(first)
    read = await store.read_stream("a")
    assert [(e.envelope._replace(position=None), e.data) for e in read] == [(e.envelope, e.data) for e in first.events]
    assert [e.envelope.version for e in await store.read_stream("a", after=1)] == [2]
    assert await store.read_stream("unknown") == []
    assert [e.envelope.position for e in await store.read(1, 1)] == [2]


async def test_a_history_is_read_both_ways(store: Store) -> None:
    await store.append(write("a", number=4))
    await store.append(write("b", number=1))
    for version, newest_first, expected in ((0, False, [1, 2]), (2, False, [3, 4]), (9, True, [4, 3]), (2, True, [1])):
        read = await store.history("a", version, 2, newest_first=newest_first)
        assert [each.envelope.version for each in read] == expected
    assert await store.history("unknown", 0, 2, newest_first=False) == []


@pytest.mark.parametrize("wrong", [Head(0, GENESIS), Head(1, GENESIS), Head(2, GENESIS), Head(3, b"x" * 32)])
async def test_a_write_on_another_head_than_the_streams_is_moved(store: Store, wrong: Head) -> None:
    await store.append(write("a", number=2))
    assert await store.append(write("a", wrong)) == Moved()
    assert await store.position() == 2


async def test_a_stale_write_harms_no_neighbour(store: Store) -> None:
    await store.append(write("a"))
    outcomes = await asyncio.gather(*(store.append(w) for w in (write("b"), write("a"), write("c", number=2))))
    assert [type(outcome) for outcome in outcomes] == [Written, Moved, Written]
    assert await store.position() == 4


async def test_writes_on_one_stream_may_each_continue_the_one_before(store: Store) -> None:
    a = write("a", number=2)
    nothing = write("a", head_of(a.events), number=0)
    c, other = write("a", head_of(a.events)), write("b")
    outcomes = await asyncio.gather(*map(store.append, (a, nothing, other, c)))
    assert outcomes == [Written(2), Written(2), Written(3), Written(4)]
    assert [e.envelope.version for e in await store.read_stream("a")] == [1, 2, 3]


async def test_what_continues_a_write_that_is_not_committed_is_not_committed_either(store: Store) -> None:
    known = write("k", take=("email:x",))
    await store.append(known)
    await store.append(write("m"))
    moved, repeated = write("m"), write("r", command_id=known.command_id)
    taken = write("t", take=("email:x",))
    following = [
        write(each.stream, head_of(each.events), number=number)
        for each in (moved, repeated, taken)
        for number in (1, 0)
    ]
    last = [write(each.stream, each.after) for each in following]
    outcomes = await asyncio.gather(*map(store.append, (moved, repeated, taken, *following, *last)))
    assert [type(each).__name__ for each in outcomes[:3]] == ["Moved", "Repeated", "Taken"]
    assert outcomes[3:] == [Moved()] * 12
    assert await store.position() == 2


async def test_a_repeated_command_gets_its_first_answer(store: Store) -> None:
    first = write("a", number=2)
    await store.append(first)
    again = write("a", head_of(first.events), command_id=first.command_id)
    assert await store.append(again) == Repeated(b"", "a", 0, 2, None)
    assert await store.position() == 2


async def test_a_repeated_refusal_is_kept(store: Store) -> None:
    refused = write("a", number=0, refusal='{"rule": "r"}', fingerprint=b"print")
    assert await store.append(refused) == Written(0)
    await store.append(write("a"))
    again = write("a", command_id=refused.command_id)
    assert await store.append(again) == Repeated(b"print", "a", 0, 0, '{"rule": "r"}')


async def test_a_name_is_held_by_one_stream_at_a_time(store: Store) -> None:
    a = write("a", take=("email:x",))
    assert isinstance(await store.append(a), Written)
    assert await store.append(write("b", take=("email:x",))) == Taken("email:x")
    assert await store.holder("email:x") == "a"
    await store.append(write("a", head_of(a.events), take=("email:y",), release=("email:x",)))
    assert await store.holder("email:x") is None
    assert isinstance(await store.append(write("b", take=("email:x",))), Written)
    assert await store.position() == 3


async def test_a_write_that_loses_leaves_none_of_its_parts(store: Store) -> None:
    await store.append(write("a", take=("email:x",)))
    lost = write("b", number=3, take=("email:y", "email:x"))
    assert await store.append(lost) == Taken("email:x")
    assert (await store.read_stream("b"), await store.holder("email:y"), await store.position()) == ([], None, 1)
    kept = write("b", number=3, command_id=lost.command_id)
    assert await store.append(kept) == Written(4), "a command that was not written has no answer yet"


async def test_a_stream_may_take_its_own_name_again_and_frees_no_others(store: Store) -> None:
    a = write("a", take=("email:x",))
    await store.append(a)
    assert isinstance(await store.append(write("a", head_of(a.events), take=("email:x",))), Written)
    await store.append(write("b", release=("email:x",)))
    assert await store.holder("email:x") == "a"


async def test_of_two_that_race_for_a_name_one_gets_it(store: Store) -> None:
    outcomes = await asyncio.gather(*(store.append(write(f"s{n}", take=("email:x",))) for n in range(20)))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Taken"] * 19 + ["Written"]


async def test_heads_say_where_streams_stood(store: Store) -> None:
    a = write("a", number=2)
    await store.append(a)
    await store.append(write("a", head_of(a.events)))
    assert await store.heads(["a", "b"], 2) == {"a": head_of(a.events)}
    assert await store.heads(["a"], 0) == {}


async def test_a_lease_has_one_owner_until_it_ends(store: Store) -> None:
    mine = await store.lease("relay", "me", 0.2)
    assert mine is not None
    assert await store.lease("relay", "you", 0.2) is None
    renewed = await store.lease("relay", "me", 0.2)
    assert renewed is not None and renewed.token == mine.token
    await asyncio.sleep(0.3)
    yours = await store.lease("relay", "you", 5)
    assert yours is not None and yours.token == mine.token + 1


async def test_a_former_owner_moves_nothing(store: Store) -> None:
    mine = await store.lease("relay", "me", 0.05)
    assert mine is not None
    await store.advance("relay", mine, 7)
    await asyncio.sleep(0.1)
    yours = await store.lease("relay", "you", 5)
    assert yours is not None and yours.position == 7
    with pytest.raises(LeaseLost):
        await store.advance("relay", mine, 9)
    await store.advance("relay", yours, 8)
    assert yours.position == 8


async def test_a_checkpoint_moves_from_where_its_owner_knows_it(store: Store) -> None:
    lease = await store.lease("relay", "me", 5)
    assert lease is not None
    await store.advance("relay", lease, 3)
    lease.position = 1
    with pytest.raises(LeaseLost):
        await store.advance("relay", lease, 5)


async def test_a_checkpoint_is_moved_and_what_follows_is_read_from_there_on(store: Store) -> None:
    await store.append(write("a", number=3))
    lease = await store.lease("relay", "me", 5)
    assert lease is not None
    first = await store.advance_and_read("relay", lease, 1, 2)
    assert ([event.envelope.position for event in first], lease.position) == ([1, 2], 1)
    assert list(first) == list(await store.read(0, 2))
    last = await store.advance_and_read("relay", lease, 3, 2)
    assert ([event.envelope.position for event in last], lease.position) == ([3], 3)
    assert (await store.advance_and_read("relay", lease, 4, 2), lease.position) == ([], 4), "which the store lacks"
    renewed = await store.lease("relay", "me", 5)
    assert renewed == lease


async def test_a_former_owner_reads_nothing_where_it_moves_nothing(store: Store) -> None:
    await store.append(write("a", number=3))
    mine = await store.lease("relay", "me", 0.05)
    await asyncio.sleep(0.1)
    yours = await store.lease("relay", "you", 5)
    assert mine is not None and yours is not None
    with pytest.raises(LeaseLost):
        await store.advance_and_read("relay", mine, 2, 2)
    with pytest.raises(LeaseLost):
        await store.advance_and_read("relay", Lease(yours.token, 1), 2, 2)
    assert (mine.position, (await store.lease("relay", "you", 5))) == (0, yours)


async def test_a_released_lease_is_free_at_once(store: Store) -> None:
    mine = await store.lease("relay", "me", 60)
    assert mine is not None
    await store.release("relay", mine)
    assert await store.lease("relay", "you", 60) is not None


async def test_a_former_owner_releases_nothing(store: Store) -> None:
    mine = await store.lease("relay", "me", 0.05)
    await asyncio.sleep(0.1)
    yours = await store.lease("relay", "you", 60)
    assert mine is not None and yours is not None
    await store.release("relay", mine)
    assert await store.lease("relay", "third", 60) is None


async def test_a_tokens_growth_outlives_releases(store: Store) -> None:
    tokens = []
    for owner in ("me", "me", "you"):
        lease = await store.lease("relay", owner, 60)
        assert lease is not None
        tokens.append(lease.token)
        await store.release("relay", lease)
    assert tokens == sorted(set(tokens)), "each ownership fences the ones before it"


async def test_waiting_ends_with_the_next_write(store: Store) -> None:
    await store.wait(0, 0.2)  # a first look, which may return at once
    waiting = asyncio.create_task(store.wait(0, 5))
    await asyncio.sleep(0.05)
    await store.append(write(new_id()))
    async with asyncio.timeout(2):
        await waiting


async def test_who_is_stopped_as_something_comes_stops(store: Any) -> None:
    await store.wait(10**9, 0.2)
    waiting = asyncio.create_task(store.wait(10**9, 5))
    await asyncio.sleep(0.05)
    store._moved.set()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()


async def test_the_fingerprints_of_what_was_answered_are_known(store: Store) -> None:
    made = write("a", fingerprint=b"asked")
    await store.append(made)
    assert await store.fingerprints([made.command_id, "never asked"]) == {made.command_id: b"asked"}
