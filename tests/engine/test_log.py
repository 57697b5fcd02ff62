"""One command's way, on both stores."""

import asyncio

import pytest

from shared.eventlog.log import EVENT_BYTES, Accepted, KeyReused, Log, Refused
from shared.eventlog.store import Store
from shared.events.envelope import GENESIS, chained
from tests.engine.examples import COUNTER, Count, Counted, meta, new_id


async def test_a_command_is_decided_appended_and_answered(store: Store) -> None:
    log = Log(store, "entitlements")
    first = await log.execute(COUNTER, "one", Count(), meta())
    second = await log.execute(COUNTER, "one", Count(), meta())
    assert isinstance(first, Accepted) and isinstance(second, Accepted)
    assert (first.stream, first.version, second.version) == ("counter-one", 1, 2)
    assert [e.position for e in (*first.events, *second.events)] == [1, 2]
    stored = await store.read_stream("counter-one")
    assert [e.of.id for e in stored] == [first.events[0].id, second.events[0].id]
    before = GENESIS
    for event in stored:
        assert event.of.prevhash == before
        assert event.of.hash == chained(event.of, event.data)
        assert (event.of.tenant, event.of.actor, event.of.correlation_id) == ("tenant", "actor", "correlation")
        before = event.of.hash


async def test_what_another_process_appended_is_seen(store: Store) -> None:
    mine, yours = Log(store, "entitlements"), Log(store, "entitlements")
    await mine.execute(COUNTER, "one", Count(), meta())
    await yours.execute(COUNTER, "one", Count(), meta())
    third = await mine.execute(COUNTER, "one", Count(), meta())
    assert isinstance(third, Accepted) and third.version == 3
    await mine.execute(COUNTER, "one", Count(), meta())
    state = await yours.state(COUNTER, "one")
    assert state.number == 4


async def test_a_refusal_on_a_stale_state_is_decided_again(store: Store) -> None:
    mine, yours = Log(store, "entitlements"), Log(store, "entitlements")
    await mine.execute(COUNTER, "one", Count(), meta())
    await yours.execute(COUNTER, "one", Count(), meta())
    refused = await mine.execute(COUNTER, "one", Count(limit=1), meta())
    assert isinstance(refused, Refused) and refused.reason == "2 is the limit."


async def test_a_refusal_keeps_its_reason_and_its_evidence(store: Store) -> None:
    log = Log(store, "entitlements")
    accepted = await log.execute(COUNTER, "one", Count(), meta())
    assert isinstance(accepted, Accepted)
    key = new_id()
    refused = await log.execute(COUNTER, "one", Count(limit=1), meta(key))
    assert refused == Refused("counter-one", "limit", "1 is the limit.", "Stop.", (accepted.events[0].id,))
    later = await Log(store, "entitlements").execute(COUNTER, "one", Count(limit=9), meta(key))
    assert later == refused._replace(repeated=True)


async def test_a_repeated_command_gets_its_first_answer(store: Store) -> None:
    log, key = Log(store, "entitlements"), new_id()
    first = await log.execute(COUNTER, "one", Count(), meta(key))
    await log.execute(COUNTER, "one", Count(), meta())
    assert isinstance(first, Accepted)
    for again in (log, Log(store, "entitlements")):
        assert await again.execute(COUNTER, "one", Count(), meta(key)) == first._replace(repeated=True)
    assert await store.position() == 2


async def test_a_key_of_another_command_is_refused(store: Store) -> None:
    log, key = Log(store, "entitlements"), new_id()
    await log.execute(COUNTER, "one", Count(), meta(key, "this"))
    with pytest.raises(KeyReused):
        await log.execute(COUNTER, "one", Count(), meta(key, "that"))
    with pytest.raises(KeyReused):
        await log.execute(COUNTER, "two", Count(), meta(key, "this"))


async def test_a_dry_run_answers_the_same_and_writes_nothing(store: Store) -> None:
    log = Log(store, "entitlements")
    await log.execute(COUNTER, "one", Count(), meta())
    would = await log.consider(COUNTER, "one", Count())
    assert isinstance(would, Accepted) and (would.version, would.events[0].id) == (2, "")
    refused = await log.consider(COUNTER, "one", Count(limit=1))
    assert isinstance(refused, Refused) and refused.rule == "limit"
    assert await store.position() == 1
    did = await log.execute(COUNTER, "one", Count(), meta())
    assert isinstance(did, Accepted) and did.events[0].event == would.events[0].event


async def test_a_taken_name_is_refused_by_the_streams_own_rule(store: Store) -> None:
    log = Log(store, "entitlements")
    await log.execute(COUNTER, "one", Count(name="x"), meta())
    refused = await log.execute(COUNTER, "two", Count(name="x"), meta())
    assert isinstance(refused, Refused) and refused.rule == "name-taken"
    assert await log.state(COUNTER, "two") == Counted()


async def test_a_decider_that_raises_leaves_nothing_behind(store: Store) -> None:
    log = Log(store, "entitlements")
    with pytest.raises(ZeroDivisionError):
        await log.execute(COUNTER, "one", Count(by="a bug"), meta())
    answer = await log.execute(COUNTER, "one", Count(), meta())
    assert isinstance(answer, Accepted) and answer.version == 1


async def test_an_event_that_is_too_large_is_refused(store: Store) -> None:
    log = Log(store, "entitlements")
    with pytest.raises(ValueError, match="at most"):
        await log.execute(COUNTER, "one", Count(by="x" * EVENT_BYTES), meta())
    assert await store.position() == 0


async def test_cancelled_callers_break_nothing(store: Store) -> None:
    log = Log(store, "entitlements")
    callers = [asyncio.create_task(log.execute(COUNTER, "one", Count(), meta())) for _ in range(30)]
    await asyncio.sleep(0)
    for caller in callers[::3]:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    answer = await log.execute(COUNTER, "one", Count(), meta())
    assert isinstance(answer, Accepted)
    stored = await store.read_stream("counter-one")
    assert [e.of.version for e in stored] == list(range(1, answer.version + 1))
    assert len(stored) >= 21


async def test_forgotten_streams_are_read_again(store: Store) -> None:
    log = Log(store, "entitlements", cached_streams=2)
    for _ in range(3):
        for key in ("a", "b", "c", "d"):
            await log.execute(COUNTER, key, Count(), meta())
    for key in ("a", "b", "c", "d"):
        assert (await log.state(COUNTER, key)).number == 3
