"""One command's way, on both stores."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from shared.eventlog.decision import Decision
from shared.eventlog.write.log import Accepted, KeyReused, Log, Refused
from shared.eventlog.write.store import Outcome, Store, Write
from shared.eventlog.write.storing import EventTooLarge
from shared.events import SeatUnassigned
from shared.events.envelope import GENESIS, chained
from tests.examples.engine import COUNTER, Count, Counted, decide, meta, new_id


async def test_a_command_is_decided_appended_and_answered(store: Store) -> None:
    log = Log(store, "entitlements")
    first = await log.execute(COUNTER, "one", Count(), meta())
    second = await log.execute(COUNTER, "one", Count(), meta())
    assert isinstance(first, Accepted) and isinstance(second, Accepted)
    assert (first.stream, first.version, second.version) == ("counter-one", 1, 2)
    assert [e.position for e in (*first.events, *second.events)] == [1, 2]
    stored = await store.read_stream("counter-one")
    assert [e.envelope.id for e in stored] == [first.events[0].id, second.events[0].id]
    before = GENESIS
    for event in stored:
        assert event.envelope.prevhash == before
        assert event.envelope.hash == chained(event.envelope, event.data)
        assert (event.envelope.tenant, event.envelope.actor, event.envelope.correlation_id) == (
            "tenant",
            "actor",
            "correlation",
        )
        before = event.envelope.hash


async def test_an_event_names_who_decided_it_where_that_was_not_the_sender(store: Store) -> None:
    by_policy = replace(COUNTER, actor=lambda event: "policy:even" if event.seat % 2 == 0 else "")
    log = Log(store, "entitlements")
    await log.execute(by_policy, "one", Count(), meta())
    await log.execute(by_policy, "one", Count(), meta())
    assert [e.envelope.actor for e in await store.read_stream("counter-one")] == ["actor", "policy:even"]


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


async def test_of_two_processes_the_stale_one_decides_again(store: Store) -> None:
    mine, yours = Log(store, "entitlements"), Log(store, "entitlements")
    await mine.execute(COUNTER, "one", Count(), meta())
    await yours.state(COUNTER, "one")
    seen: list[int] = []

    def watched(command: Count, state: Counted) -> Decision[SeatUnassigned]:
        seen.append(state.number)
        return decide(command, state)

    watching = replace(COUNTER, decide=watched)
    await mine.execute(COUNTER, "one", Count(), meta())
    answer = await yours.execute(watching, "one", Count(), meta())
    assert isinstance(answer, Accepted) and answer.version == 3
    assert seen == [1, 2], "first on what it knew, then on what is there"


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
    assert await store.position() == 1
    answer = await log.execute(COUNTER, "one", Count(), meta())
    assert isinstance(answer, Accepted) and answer.version == 2, "what was refused left no trace in the cache"


async def test_a_key_of_a_refused_command_is_used_up_too(store: Store) -> None:
    log, key = Log(store, "entitlements"), new_id()
    await log.execute(COUNTER, "one", Count(limit=0), meta(key, "this"))
    with pytest.raises(KeyReused):
        await log.execute(COUNTER, "one", Count(), meta(key, "that"))


async def test_a_dry_run_answers_the_same_and_writes_nothing(store: Store) -> None:
    log = Log(store, "entitlements")
    await log.execute(COUNTER, "one", Count(), meta())
    would = await log.dry_run(COUNTER, "one", Count())
    assert isinstance(would, Accepted) and (would.version, would.events[0].id) == (2, "")
    assert would.events[0].position == 0
    refused = await log.dry_run(COUNTER, "one", Count(limit=1))
    assert isinstance(refused, Refused) and refused.rule == "limit"
    assert await store.position() == 1
    did = await log.execute(COUNTER, "one", Count(), meta())
    assert isinstance(did, Accepted) and did.events[0].event == would.events[0].event


async def test_a_taken_name_is_refused_by_the_streams_own_rule(store: Store) -> None:
    log = Log(store, "entitlements")
    await log.execute(COUNTER, "one", Count(name="x"), meta())
    would = await log.dry_run(COUNTER, "two", Count(name="x"))
    assert isinstance(would, Refused) and would.rule == "name-taken", "a dry run says so, too"
    refused = await log.execute(COUNTER, "two", Count(name="x"), meta())
    assert isinstance(refused, Refused) and refused.rule == "name-taken"
    assert await log.state(COUNTER, "two") == Counted()
    assert (await store.position(), await store.holder("name:x")) == (1, "counter-one")


async def test_a_decider_that_raises_leaves_nothing_behind(store: Store) -> None:
    log = Log(store, "entitlements")
    with pytest.raises(ZeroDivisionError):
        await log.execute(COUNTER, "one", Count(by="a bug"), meta())
    answer = await log.execute(COUNTER, "one", Count(), meta())
    assert isinstance(answer, Accepted) and answer.version == 1


async def test_an_event_that_is_too_large_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.eventlog.write.storing.EVENT_BYTES", 100)
    log = Log(store, "entitlements")
    with pytest.raises(EventTooLarge, match="the limit for an event is 100"):
        await log.execute(COUNTER, "one", Count(by="x" * 100), meta())
    with pytest.raises(EventTooLarge, match="the limit for an event is 100"):
        await log.dry_run(COUNTER, "one", Count(by="x" * 100))
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
    assert [e.envelope.version for e in stored] == list(range(1, answer.version + 1))
    assert len(stored) >= 21


async def test_commands_on_one_stream_that_come_at_once_share_commits(store: Store) -> None:
    counting = _Counting(store)
    log = Log(counting, "entitlements")
    answers = await asyncio.gather(*(log.execute(COUNTER, "one", Count(limit=20), meta()) for _ in range(30)))
    accepted = [each for each in answers if isinstance(each, Accepted)]
    refused = [each for each in answers if isinstance(each, Refused)]
    assert [each.version for each in accepted] == list(range(1, 21)), "in the order in which they came"
    assert len(refused) == 10
    assert {each.because for each in refused} == {(accepted[-1].events[0].id,)}
    assert counting.asked_before_an_answer > 1
    assert not log._turns._lines, "nothing is kept for a stream that is quiet"


async def test_commands_of_several_processes_on_one_stream_are_decided_on_what_is_committed(store: Store) -> None:
    logs = [Log(store, "entitlements") for _ in range(3)]
    commands = [(log, meta()) for _ in range(20) for log in logs]
    answers = await asyncio.gather(*(log.execute(COUNTER, "one", Count(limit=50), m) for log, m in commands))
    accepted = [each for each in answers if isinstance(each, Accepted)]
    assert sorted(each.version for each in accepted) == list(range(1, 51))
    last = (await store.read_stream("counter-one"))[-1].envelope.id
    assert [each.because for each in answers if isinstance(each, Refused)] == [(last,)] * 10


async def test_what_was_decided_after_a_command_that_was_answered_before_is_decided_again(store: Store) -> None:
    log, other = Log(store, "entitlements"), Log(store, "entitlements")
    await log.execute(COUNTER, "one", Count(), meta())
    known = meta()
    await other.execute(COUNTER, "one", Count(), known)  # which `log` has not seen
    first, again, third = await asyncio.gather(
        *(log.execute(COUNTER, "one", Count(), each) for each in (meta(), known, meta()))
    )
    assert isinstance(first, Accepted) and isinstance(again, Accepted) and isinstance(third, Accepted)
    assert (first.version, again.version, again.repeated, third.version) == (3, 2, True, 4)
    assert [e.envelope.version for e in await store.read_stream("counter-one")] == [1, 2, 3, 4]


async def test_a_query_does_not_see_what_is_not_committed(store: Store) -> None:
    held = _Held(store)
    log = Log(held, "entitlements")
    commands = [asyncio.create_task(log.execute(COUNTER, "one", Count(), meta())) for _ in range(3)]
    await held.asked.wait()
    assert (await log.state(COUNTER, "one")).number == 0
    held.open.set()
    await asyncio.gather(*commands)
    assert (await log.state(COUNTER, "one")).number == 3


async def test_a_caller_that_leaves_while_its_write_is_under_way_may_ask_again(store: Store) -> None:
    log, key = Log(store, "entitlements"), new_id()
    await log.execute(COUNTER, "one", Count(), meta())
    late = _Late(store)
    log.store = late
    caller = asyncio.create_task(log.execute(COUNTER, "one", Count(), meta(key)))
    await late.written.wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    assert caller.cancelled()
    log.store = store
    assert (await log.state(COUNTER, "one")).number == 2
    again = await log.execute(COUNTER, "one", Count(), meta(key))
    assert isinstance(again, Accepted) and (again.version, again.repeated) == (2, True)
    after = await log.execute(COUNTER, "one", Count(), meta())
    assert isinstance(after, Accepted) and after.version == 3


class _Counting:
    """A store that counts how many writes it was given before it answered one."""

    def __init__(self, store: Store) -> None:
        self._store, self._asked, self.asked_before_an_answer = store, 0, 0

    async def append(self, write: Write) -> Outcome:
        self._asked += 1
        outcome = self._store.append(write)
        await asyncio.sleep(0)
        self.asked_before_an_answer = self.asked_before_an_answer or self._asked
        return await outcome

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class _Held:
    """A store that takes no write before it is opened."""

    def __init__(self, store: Store) -> None:
        self._store, self.asked, self.open = store, asyncio.Event(), asyncio.Event()

    async def append(self, write: Write) -> Outcome:
        self.asked.set()
        await self.open.wait()
        return await self._store.append(write)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class _Late:
    """A store whose answers to writes never arrive."""

    def __init__(self, store: Store) -> None:
        self._store, self.written = store, asyncio.Event()

    async def append(self, write: Write) -> Outcome:
        await self._store.append(write)
        self.written.set()
        await asyncio.Event().wait()
        raise AssertionError

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_forgotten_streams_are_read_again(store: Store) -> None:
    log = Log(store, "entitlements", cached_streams=2)
    for _ in range(3):
        for key in ("a", "b", "c", "d"):
            await log.execute(COUNTER, key, Count(), meta())
    for key in ("a", "b", "c", "d"):
        assert (await log.state(COUNTER, key)).number == 3
    assert list(log._cache) == ["counter-c", "counter-d"]


async def test_a_derived_command_that_was_answered_without_a_fingerprint_gets_its_answer(store: Store) -> None:
    """As all of them were before they had one: an event that comes again after an upgrade is a repeat."""
    log = Log(store, "entitlements")
    before = meta("before")
    await log.execute(COUNTER, "k", Count(), before)
    again = await log.execute(COUNTER, "k", Count(), before._replace(fingerprint=b"asked", derived=True))
    assert again.repeated
    with pytest.raises(KeyReused):
        await log.execute(COUNTER, "k", Count(), before._replace(fingerprint=b"asked"))


async def test_a_derived_command_that_was_asked_something_else_is_refused(store: Store) -> None:
    log = Log(store, "entitlements")
    first = meta("first", "one thing")._replace(derived=True)
    await log.execute(COUNTER, "k", Count(), first)
    assert (await log.execute(COUNTER, "k", Count(), first)).repeated
    with pytest.raises(KeyReused):
        await log.execute(COUNTER, "k", Count(), first._replace(fingerprint=b"another"))
