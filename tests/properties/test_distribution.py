"""Whatever comes, in whatever order and however often: a rollout targets nobody without seat, term and right, and keeps
to its thresholds; fleets and rollouts converge."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.distribution.domain import decisions, fleet, groups, rollout
from services.distribution.domain.decision_state import key_of
from services.distribution.domain.fleet import State, groups_of, next_due, standing
from services.distribution.domain.policy import DEFAULT
from services.distribution.domain.update import UPDATE as UPDATE_STREAM
from services.distribution.domain.update import RecordUpdate, WithdrawUpdate
from services.distribution.reactions import PROCESS
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.projection import ReactionContext
from shared.eventlog.write.log import Log, Meta
from shared.eventlog.write.memory import MemoryStore
from shared.events import (
    Event,
    PhasePassed,
    RolloutPhase,
    SeatAssigned,
    SeatPoolExpired,
    SeatPoolOpened,
    SeatPoolRenewed,
    SeatUnassigned,
    UpdateRightGranted,
    UpdateRightLost,
    UpdateWithdrawn,
)
from shared.events.envelope import Envelope
from shared.events.upcasts import decode
from tests.examples.distribution import DAY, MONDAY, NOON, SERVED, UPDATE, approve, note, recall
from tests.properties.states import live

_who = st.sampled_from(["ana", "ben", "chiyo"])
_group = st.sampled_from(["default", "g"])
_groups = st.sampled_from([("default",), ("g",), ("default", "g")])
NEWER = UPDATE.model_copy(update={"update_id": "v", "version": "2027.2"})
OLDER = UPDATE.model_copy(update={"update_id": "w", "version": "2026.2"})
EXTENSION = UPDATE.model_copy(update={"kind": "extension"})
_days = st.integers(-3, 60).map(lambda n: NOON + n * DAY)
_phases = st.sampled_from(
    [
        (),
        (RolloutPhase(share=100, success_percent=50, error_percent=50),),
        (
            RolloutPhase(share=50, success_percent=100, error_percent=1),
            RolloutPhase(share=50, success_percent=1, error_percent=100),
        ),
    ]
)

# ── Fleets ─────────────────────────────────────────────────────────────────────────────────────────────

_facts = st.one_of(
    st.builds(
        note,
        st.sampled_from(["pool_opened", "term_renewed", "term_over", "right_granted", "right_lost", "pool_ended"]),
        sub=st.sampled_from("st"),
        now=st.just(NOON),
    ),
    st.builds(note, st.sampled_from(["seat_assigned", "seat_unassigned"]), _who, sub=st.sampled_from("st")),
)
_decisions = st.one_of(
    st.builds(
        groups.CreateGroup,
        name=st.just("pilots"),
        contract_id=st.just("c"),
        group_id=st.just("g"),
        customer=st.just("org"),
        by=st.just("m"),
    ),
    st.builds(groups.PutUserInGroup, _who, st.just("c"), _group, st.just("m")),
    st.builds(groups.RemoveUserFromGroup, st.just("c"), _group, _who, st.just("m")),
    st.builds(
        groups.SetGroupPolicy,
        contract_id=st.just("c"),
        group_id=_group,
        cadence=st.sampled_from(["weekly", "monthly", "quarterly", "off"]),
        customer=st.just("org"),
        by=st.just("m"),
        now=_days,
        policy=st.just(DEFAULT),
    ),
    st.builds(
        decisions.ApproveUpdate,
        contract_id=st.just("c"),
        publisher=st.just("autodesk"),
        update_id=st.sampled_from("uvw"),
        groups=_groups,
        by=st.just("m"),
        policy=st.just(DEFAULT),
        phases=_phases,
    ),
    st.builds(
        decisions.HoldUpdate,
        contract_id=st.just("c"),
        publisher=st.just("autodesk"),
        update_id=st.just("u"),
        groups=_groups,
        reason=st.just("r"),
        by=st.just("m"),
    ),
    st.builds(
        decisions.ScheduleUpdate,
        contract_id=st.just("c"),
        publisher=st.just("autodesk"),
        update_id=st.just("u"),
        groups=_groups,
        starts_at=_days,
        by=st.just("m"),
        now=st.just(NOON),
        policy=st.just(DEFAULT),
        phases=_phases,
    ),
    st.builds(decisions.OfferUpdate, st.just("c"), st.sampled_from([UPDATE, EXTENSION, NEWER, OLDER]), _days),
    st.builds(recall, st.sampled_from("uv"), _days),
    st.builds(decisions.LapseApproval, st.just("c"), st.sampled_from(["c-1", "c-2"]), st.just("r")),
    st.builds(fleet.ActOnWhatIsDue, st.just("c"), _days),
)


def entitled(state: State, who: str) -> bool:
    return any(who in pool.holders and pool.in_term and pool.right for pool in state.entitlements.pools.values())


@settings(max_examples=200)
@given(st.booleans(), st.lists(st.one_of(*[_facts] * 4, _decisions), max_size=40))
def test_a_fleet_lets_nobody_without_seat_term_and_right_be_a_target(served: bool, commands: list[Any]) -> None:
    numbers = 0
    for state in live(fleet.FLEET, [*SERVED, approve("default", "g"), *commands] if served else commands):
        assert state.wake == next_due(state), "the timer is set to what is due next, and to nothing else"
        new = [number for number in state.decisions.rollouts if number > numbers]
        updates = (state.decisions.offered[key_of(state.decisions.rollouts[number])] for number in new)
        assert all(state.entitlements.shows(update) for update in updates), "approved for whoever sees it"
        numbers = state.decisions.numbers
        for number in state.decisions.rollouts:
            targets = standing(state, number).targets
            assert all(entitled(state, who) for who in targets)
            assert set(targets.values()) <= set(groups_of(state, number))
        approved = state.decisions.rollouts
        running = [(group, key_of(approved[n])) for n in approved for group in groups_of(state, n)]
        assert len(set(running)) == len(running), "one rollout of the update a group"


# ── Rollouts ───────────────────────────────────────────────────────────────────────────────────────────

_targets = st.dictionaries(_who, _group)
_percent = st.sampled_from([1, 33, 34, 50, 51, 100])
"""Around what one, two or three users make."""
_rollout = st.one_of(
    st.builds(
        rollout.FollowFleet,
        targets=_targets,
        reasons=st.just({}),
        now=_days,
        over=st.sampled_from(["", "", "", "", "", "", "withdrawn"]),
    ),
    st.builds(rollout.CheckReports, _days),
    st.builds(
        rollout.ExcludeTarget,
        account_id=_who,
        machine=st.sampled_from(["", "pc", "laptop"]),
        reason=st.just("r"),
        by=st.just("m"),
        now=_days,
    ),
    st.builds(rollout.RetryFailed, st.just("m"), _days),
    st.builds(rollout.MoveOn, phase=st.integers(1, 3), reason=st.just("r"), by=st.just("m"), now=_days),
    st.builds(rollout.PauseRollout, st.just("r"), st.just("m")),
    st.builds(rollout.ResumeRollout, st.just("m"), _days),
    st.builds(
        rollout.ReportInstall,
        rollout_id=st.just("r"),
        version=st.sampled_from(["1", "1", "2"]),
        machine=st.sampled_from(["pc", "laptop"]),
        succeeded=st.booleans(),
        account_id=_who,
        now=_days,
    ),
    st.builds(
        rollout.ReportInstall,
        rollout_id=st.just("r"),
        version=st.just("1"),
        machine=st.just("pc"),
        succeeded=st.booleans(),
        account_id=_who,
        now=_days,
    ),
)
_start = st.builds(
    rollout.StartRollout,
    rollout_id=st.just("r"),
    contract_id=st.just("c"),
    customer=st.just("org"),
    publisher=st.just("p"),
    update_id=st.just("u"),
    version=st.just("1"),
    groups=st.just(("default", "g")),
    phases=st.lists(
        st.builds(RolloutPhase, share=st.just(50), success_percent=_percent, error_percent=_percent),
        min_size=2,
        max_size=2,
    ).map(tuple),
    targets=_targets,
    by=st.just("m"),
    silent_days=st.sampled_from([0, 14]),
    now=st.just(NOON),
)


@given(_start, st.lists(_rollout, max_size=40))
def test_a_rollout_targets_whom_its_fleet_said_last_and_keeps_to_its_thresholds(
    start: Any, commands: list[Any]
) -> None:
    state: rollout.State = rollout.INITIAL
    said = start.targets
    for command in (start, *commands):
        for after in live_from(state, command):
            state = after
        said = command.targets if isinstance(command, rollout.FollowFleet) else said
        if not isinstance(state, rollout.Running):
            continue
        assert state.targets.keys() == said.keys(), "exactly those"
        if state.paused is None and not state.completed:
            for number in range(state.phase + 1):
                stands, phase = rollout.count(state, number), state.started.phases[number]
                assert not stands.counting or 100 * stands.counting < phase.error_percent * stands.targets
            stands, phase = rollout.count(state, state.phase), state.started.phases[state.phase]
            assert not state.counted or 100 * stands.succeeded < phase.success_percent * stands.targets
            assert stands.targets or not state.counted, "nobody waits behind a phase that nobody can complete"
            watched = state.started.silent_days > 0 and stands.targets > 0
            assert not watched or state.due is not None, "somebody hears of a silence"
        else:
            assert state.due is None


def live_from(state: rollout.State, command: Any) -> list[rollout.State]:
    """The state after the command, which is nothing new a second time."""
    decision = rollout.decide(command, state)
    if not isinstance(decision, tuple):
        return []
    for event in decision:
        if isinstance(event, PhasePassed):
            assert isinstance(state, rollout.Running)
            assert event.succeeded > 0, "nothing is passed that nobody completed"
            assert 100 * event.succeeded >= state.started.phases[event.phase].success_percent * event.targets
        state = rollout.evolve(state, event)
    assert rollout.decide(command, state) == () or not isinstance(rollout.decide(command, state), tuple)
    return [state]


# ── Both, with their reactions ─────────────────────────────────────────────────────────────────────────

_ids: dict[str, Any] = {"subscription_id": "s", "contract_id": "c"}
_pool: dict[str, Any] = {"customer": "org", "product": "autocad"}


def _seat(kind: type[Any], who: str, by: str) -> Event:
    made: Event = kind(**_ids, seat=1, account_id=who, **{by: "mina"})
    return made


_pool_events = st.lists(
    st.one_of(
        *[_who.map(lambda who: _seat(SeatAssigned, who, "assigned_by"))] * 2,
        *[_who.map(lambda who: _seat(SeatUnassigned, who, "unassigned_by"))] * 2,
        st.just(SeatPoolExpired(**_ids, **_pool, access_until=NOON.date())),
        st.just(SeatPoolRenewed(**_ids, seats=9, ends=NOON.date())),
    ),
    max_size=8,
)
GRANTED = UpdateRightGranted(**_ids, product="autocad", csn="x")
LOST = UpdateRightLost(**_ids, product="autocad", reason="r")
_right_events = st.sampled_from([[GRANTED], [GRANTED, LOST, GRANTED], [LOST, GRANTED], [], [GRANTED, LOST]])
OPENED = SeatPoolOpened(
    **_ids,
    **_pool,
    publisher="autodesk",
    product_name="A",
    seats=9,
    starts=NOON.date(),
    ends=NOON.date() + timedelta(365),
)


class World:
    """distribution's log, and consumers that may take the next event of any stream, or one once more."""

    def __init__(self, streams: dict[str, Sequence[Event]]) -> None:
        self.store = MemoryStore()
        self.log = Log(self.store, "distribution")
        self.foreign = streams
        self.done: dict[str, int] = {}

    async def waiting(self) -> list[str]:
        known = {name: len(events) for name, events in self.foreign.items()}
        for stored in self.store.events:
            known[stored.envelope.stream] = stored.envelope.version or 0
        return sorted(name for name, last in known.items() if self.done.get(name, 0) < last)

    async def step(self, name: str, *, again: bool) -> None:
        number = self.done.get(name, 0)
        if name in self.foreign:
            event = self.foreign[name][number]
            envelope = Envelope(f"{name}-{number}", "urn:tenure:entitlements", event.type(), name, NOON)
        else:
            stored = (await self.store.read_stream(name))[number]
            event, envelope = decode(stored.envelope, stored.data), stored.envelope
        for _ in range(2 if again else 1):
            if event.type() not in PROCESS.types:
                break
            reach = ReactionContext(lookups=None, log=self.log, now=NOON, clocks=Clocks(lambda: NOON))
            for n, do in enumerate(await PROCESS.react(event, envelope, reach)):
                await self.log.execute(do.stream, do.key, do.command, Meta(f"{envelope.id}:{n}", "", NOON))
        self.done[name] = number + 1


@settings(max_examples=200)
@given(_pool_events, _right_events, st.lists(st.integers(0, 99), max_size=60), st.booleans())
def test_rollouts_converge_whatever_order_events_arrive_in(
    pool: list[Event], rights: list[Event], order: list[int], late: bool
) -> None:
    async def run() -> None:
        world = World({"pool-s": [OPENED, *pool], "right-s": rights})
        await world.log.execute(UPDATE_STREAM, "autodesk-u", RecordUpdate(UPDATE, "autodesk"), Meta("u", "", NOON))
        approved, steps = False, iter(order)
        while waiting := await world.waiting():
            choice = next(steps, 0)
            await world.step(waiting[choice % len(waiting)], again=choice % 7 == 0)
            if not approved and not late:
                approved = await tried(world, approve(), choice)
        if not approved:
            await tried(world, approve(), -1)
            while waiting := await world.waiting():
                await world.step(waiting[0], again=False)
        known = await world.log.state(fleet.FLEET, "c")
        state = await world.log.state(rollout.ROLLOUT, "c-1")
        assert isinstance(state, rollout.Running)
        assert set(state.targets) == {who for who in ("ana", "ben", "chiyo") if entitled(known, who)}
        assert set(state.targets) == expected(pool, rights)

    asyncio.run(run())


@given(st.lists(st.integers(0, 99), max_size=40), st.integers(0, 30))
def test_a_withdrawal_stops_every_rollout_whenever_it_comes(order: list[int], at: int) -> None:
    async def run() -> None:
        world = World({"pool-s": [OPENED, _seat(SeatAssigned, "ana", "assigned_by")], "right-s": [GRANTED]})
        await world.log.execute(UPDATE_STREAM, "autodesk-u", RecordUpdate(UPDATE, "autodesk"), Meta("u", "", NOON))
        withdrawn = WithdrawUpdate(UpdateWithdrawn(update_id="u", publisher="autodesk", reason="r"), "autodesk")
        steps, number = iter(order), 0
        while (waiting := await world.waiting()) or number <= at:
            if number == at:
                await world.log.execute(UPDATE_STREAM, "autodesk-u", withdrawn, Meta("w", "", NOON))
            choice = next(steps, 0)
            await tried(world, approve(), number)
            if waiting:
                await world.step(waiting[choice % len(waiting)], again=choice % 7 == 0)
            number += 1
        state = await world.log.state(rollout.ROLLOUT, "c-1")
        assert not isinstance(state, rollout.Running)
        known = await world.log.state(fleet.FLEET, "c")
        assert not known.decisions.rollouts and known.decisions.recalled

    asyncio.run(run())


async def tried(world: World, command: decisions.ApproveUpdate, choice: int) -> bool:
    answer = await world.log.execute(
        fleet.FLEET,
        "c",
        command,
        Meta(f"approve-{len(world.store.events)}-{choice}-{sum(world.done.values())}", "", NOON),
    )
    return hasattr(answer, "events")


def expected(pool: list[Event], rights: list[Event]) -> set[str]:
    seated: set[str] = set()
    in_term = True
    for event in pool:
        match event:
            case SeatAssigned(account_id=who):
                seated.add(who)
            case SeatUnassigned(account_id=who):
                seated.discard(who)
            case _:
                in_term = isinstance(event, SeatPoolRenewed)
    return seated if in_term and rights and isinstance(rights[-1], UpdateRightGranted) else set()


# ── Time ───────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.integers(0, 70), min_size=1, max_size=8))
def test_however_clocks_move_a_policy_acts_once_and_never_early(days: list[int]) -> None:
    policy = groups.SetGroupPolicy(
        contract_id="c",
        group_id="default",
        cadence="weekly",
        customer="org",
        by="mina",
        now=datetime(2026, 1, 1, tzinfo=UTC),
        policy=DEFAULT,
    )
    acts = [fleet.ActOnWhatIsDue("c", NOON + day * DAY) for day in days]
    states = live(fleet.FLEET, [*SERVED, policy, *acts])
    assert states[-1].decisions.numbers == (1 if NOON + max(days) * DAY >= MONDAY else 0)
