"""Snapshots: a state from one is the state folded from the start, and a bad one is as good as none."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from services import definitions
from services.entitlements.domain.credits import CREDITS, Credits, Lot
from services.entitlements.domain.seat_pool import SEAT_POOL
from shared.eventlog.decision import Stream
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.repair.verify import verify
from shared.eventlog.write.log import Accepted, Log, Meta
from shared.eventlog.write.memory import MemoryStore
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.snapshots import Codec, KeepsSnapshots, NotSnapshotable, same_state
from shared.eventlog.write.store import Head, Store
from shared.events import CreditsGranted, SeatUnassigned
from shared.persistent_map import PersistentMap
from tests.contracts.golden import sample
from tests.examples.engine import COUNTER, NOON, Count, new_id
from tests.properties.pools import OPENING, POOL_COMMANDS


@dataclass(frozen=True, slots=True)
class Held:
    """A state with a bit of everything."""

    by: Mapping[tuple[str, int], SeatUnassigned] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    last: SeatUnassigned | None = None
    order: tuple[int, ...] = ()


def evolve(state: Held, event: SeatUnassigned) -> Held:
    by = {**state.by, (event.account_id, event.seat): event}
    return Held(by, state.names | {event.account_id}, event, (*state.order, event.seat)[-3:])


def decide(command: Count, state: Held) -> tuple[SeatUnassigned, ...]:
    seat = len(state.by) + 1
    return (
        # As events of before the contents of fields were restricted may be.
        SeatUnassigned.model_construct(
            subscription_id="s", contract_id="c", seat=seat, account_id=command.by, unassigned_by="é\n\0"
        ),
    )


HELD = Stream(category="held", initial=Held(), evolve=evolve, decide=decide, tenant=lambda _: "tenant")


def log(store: Store, every: int = 10) -> Log:
    return Log(store, "entitlements", snapshot_every=every)


async def fill(store: Store, number: int, key: str = "k") -> None:
    writer = log(store, every=0)
    for n in range(number):
        await writer.execute(HELD, key, Count(by=f"p-{n % 7}"), Meta(new_id(), "actor", NOON))


async def same(store: Store) -> None:
    """A log that has snapshots and one that has none know the same."""
    with_, without = await log(store).state(HELD, "k"), await log(store, every=0).state(HELD, "k")
    assert same_state(with_, without)


async def test_many_streams_that_are_loaded_at_once_are_each_as_alone(store: Store) -> None:
    """Without events, with few, with a snapshot, and with a snapshot and later events."""
    keys = ("none", "few", "kept", "more")
    for key, number in zip(keys, (0, 3, 12, 12), strict=True):
        await fill(store, number, key)
        await log(store).state(HELD, key)
    await fill(store, 4, "more")
    alone = {key: await log(store, every=0).state(HELD, key) for key in keys}
    fresh = log(store)
    states = await asyncio.gather(*(fresh.state(HELD, key) for key in keys * 20))
    assert all(same_state(state, alone[key]) for state, key in zip(states, keys * 20, strict=True))
    again = await asyncio.gather(*(fresh.state(HELD, key) for key in keys * 20))
    assert again == states


async def test_a_load_that_had_much_to_fold_leaves_a_snapshot_and_the_next_starts_there(store: Store) -> None:
    assert isinstance(store, KeepsSnapshots)
    codec = Codec.of(HELD)
    assert codec is not None
    await fill(store, 9)
    await same(store)
    assert (await store.load("held-k", codec.definition))[0] is None, "too short"
    await fill(store, 16)
    await same(store)
    kept, after = await store.load("held-k", codec.definition)
    assert kept is not None
    assert (kept.head.version, kept.tenant, len(after)) == (25, "tenant", 0)
    await fill(store, 5)
    kept, after = await store.load("held-k", codec.definition)
    assert kept is not None
    assert (kept.head.version, [event.envelope.version for event in after]) == (25, [26, 27, 28, 29, 30])
    await same(store)
    answer = await log(store).execute(HELD, "k", Count(by="x"), Meta(new_id(), "actor", NOON))
    assert isinstance(answer, Accepted) and answer.version == 31
    assert (await store.load("another", codec.definition)) == (None, [])


async def test_stale_unreadable_and_foreign_snapshots_are_as_good_as_none(store: Store) -> None:
    assert isinstance(store, KeepsSnapshots)
    codec = Codec.of(HELD)
    assert codec is not None
    await fill(store, 12)
    expected = await log(store).state(HELD, "k")
    good, _ = await store.load("held-k", codec.definition)
    assert good is not None
    lie = codec.encode(Held(order=(9, 9, 9)))
    for bad in (
        good._replace(definition="held:another", state=lie),
        good._replace(head=Head(12, bytes(32)), state=lie),
        good._replace(head=Head(99, good.head.hash), state=lie),
        good._replace(state=b"\xff"),
        good._replace(state=b'["class","Popen",{}]'),
        good._replace(state=b'["class","Held",{"order":["class"]}]'),
    ):
        await store.keep("held-k", bad._replace(digest=bad.digested("held-k")))
        assert same_state(await log(store).state(HELD, "k"), expected)
        again, _ = await store.load("held-k", codec.definition)
        assert again == good, "a good one took its place"


async def test_a_snapshot_that_was_altered_is_as_good_as_none_and_is_reported(store: Store) -> None:
    assert isinstance(store, KeepsSnapshots)
    codec = Codec.of(HELD)
    assert codec is not None
    await fill(store, 12)
    expected = await log(store).state(HELD, "k")
    good, _ = await store.load("held-k", codec.definition)
    assert good is not None
    for bad in (
        good._replace(state=good.state.replace(b"11,12", b"11,19")),
        good._replace(state=codec.encode(Held(order=(9, 9, 9)))),
        good._replace(tenant="another"),
        good._replace(digest=b""),
        good._replace(digest=bytes(32)),
        good._replace(digest=good.digested("held-another")),
    ):
        assert bad != good
        await store.keep("held-k", bad)
        with capture_logs() as lines:
            assert same_state(await log(store).state(HELD, "k"), expected)
        assert any(line["event"].startswith("a snapshot was altered") for line in lines)
        assert (await store.load("held-k", codec.definition))[0] == good, "a good one took its place"


@pytest.mark.system
async def test_verify_finds_a_snapshot_that_was_altered(database: str) -> None:
    """Also one whose digest was made anew with it: its stream's events make another state."""
    store = await PostgresStore(database, "entitlements").open()
    codec = Codec.of(HELD)
    assert codec is not None
    await fill(store, 12)
    await log(store).state(HELD, "k")
    good, _ = await store.load("held-k", codec.definition)
    assert good is not None

    async def found() -> list[str]:
        access = KafkaAccess(bootstrap="none is asked")
        report = await verify("entitlements", database, access, streams=[HELD], topic=False)
        return [str(finding) for finding in report.findings.first]

    assert await found() == []
    lie = good._replace(state=codec.encode(Held(order=(9, 9, 9))))
    place = "entitlements, snapshot of held-k at version 12: it was altered: "
    for bad, what in (
        (lie, "its digest does not match"),
        (lie._replace(digest=lie.digested("held-k")), "the stream's events fold into another state"),
        (good._replace(tenant="x"), "its digest does not match"),
        (good._replace(definition="held:older"), "its digest does not match"),
    ):
        await store.keep("held-k", bad)
        assert await found() == [place + what]
    stale = good._replace(definition="held:older")
    await store.keep("held-k", stale._replace(digest=stale.digested("held-k")))
    assert await found() == [], "made by other code, it is used by no process of this one"
    await store.close()


def every_stream() -> list[Stream[Any, Any, Any]]:
    return [stream for service in definitions() for stream in service.streams]


@pytest.mark.parametrize("stream", every_stream(), ids=lambda s: s.category)
def test_which_streams_have_snapshots(stream: Stream[Any, Any, Any]) -> None:
    codec = Codec.of(stream)
    assert (codec is None) == (stream.category in PERSONAL), "whoever can be forgotten is kept in the log alone"
    if codec is not None:
        assert codec.definition.startswith(f"{stream.category}:")
        assert same_state(codec.decode(codec.encode(stream.initial)), stream.initial)


PERSONAL = {"account", "contract", "invitation", "webhook"}


def test_a_state_with_a_persistent_map_comes_back() -> None:
    codec = Codec.of(CREDITS)
    assert codec is not None
    lot = Lot(sample(CreditsGranted).recorded("id"), 3)
    state = Credits(PersistentMap[str, Lot]().extended({"a": lot, "b": lot}).extended({"a": lot}))
    assert same_state(codec.decode(codec.encode(state)), state)


def test_what_says_nothing_of_its_states_has_none() -> None:
    assert Codec.of(COUNTER) is None
    assert Codec.of(replace(HELD, evolve=lambda state, _: state)) is None


@dataclass(frozen=True)
class Odd:
    value: Any = None


def _odd(state: Odd, event: SeatUnassigned) -> Odd:
    return Odd(object())


odd: Any = _odd  # its states are none of the stream's
none_of_its: Any = Odd()


async def test_a_state_that_does_not_come_back_is_not_kept() -> None:
    codec = Codec.of(replace(HELD, evolve=odd, initial=none_of_its))
    assert codec is not None
    for value in (object(), {1: object()}, float("nan"), NOON.replace(tzinfo=None)):
        with pytest.raises(NotSnapshotable):
            codec.encode(Odd(value))
    for value in (
        NOON,
        NOON.date(),
        {"b": 1, "a": 2},
        [1, (2, 3)],
        b"\0",
        {1, 2},
        frozenset("ab"),
        True,
        1.5,
        NOON - NOON,
    ):
        assert same_state(codec.decode(codec.encode(Odd(value))), Odd(value))
    store = MemoryStore()
    await fill(store, 12)
    strange = Stream(category="held", initial=none_of_its, evolve=odd, decide=decide, tenant=lambda _: "t")
    await log(store).state(strange, "k")
    assert store.snapshots == {}


@settings(deadline=None, max_examples=50)
@given(st.lists(POOL_COMMANDS, max_size=40), st.integers(1, 9))
def test_whatever_happened_to_a_pool_its_state_is_the_same_with_snapshots_and_without(
    commands: list[Any], every: int
) -> None:
    async def check() -> None:
        store = MemoryStore()
        for command in [OPENING, *commands]:
            with_ = log(store, every)  # knows nothing yet: it loads
            await with_.execute(SEAT_POOL, "s", command, Meta(new_id(), "actor", NOON))
            assert same_state(await log(store, every).state(SEAT_POOL, "s"), await log(store, 0).state(SEAT_POOL, "s"))
        if len(store.events) > 2 * every:
            assert store.snapshots

    asyncio.run(check())
