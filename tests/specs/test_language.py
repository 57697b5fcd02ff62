"""The language of the specs says no where it should: each `then` fails on what it does not say."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from services.identity.domain.clock import CLOCK, MoveClock
from shared.eventlog.deliver.projection import Dispatch, ReactionContext, Reactions
from shared.events import ClockMoved
from shared.events.envelope import Envelope
from tests.spec import Reaction, given, given_service, sends

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MOVED = ClockMoved(organisation_id="org", ahead_s=24 * 3600, moved_by="mina")


def move(days: int) -> MoveClock:
    to = NOON + timedelta(days=days)
    return MoveClock(to=to, organisation_id="org", sandbox=True, now=NOON, moved_by="mina")


ACCEPTED = given(CLOCK).when(move(1))
NOTHING = given(CLOCK, MOVED).when(move(1))
REFUSED = given(CLOCK, MOVED).when(move(-1))


def test_an_outcome_is_what_it_is() -> None:
    ACCEPTED.then(MOVED)
    NOTHING.then_nothing()
    REFUSED.then_refused("clock-backwards", because=[MOVED])
    REFUSED.then_refused("clock-backwards", because=[ClockMoved])
    given(CLOCK).after(move(1)).when(move(1)).then_nothing()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ACCEPTED.then(),
        lambda: ACCEPTED.then(MOVED, MOVED),
        lambda: ACCEPTED.then_nothing(),
        lambda: ACCEPTED.then_refused("clock-backwards"),
        lambda: NOTHING.then(MOVED),
        lambda: NOTHING.then_accepted(),
        lambda: REFUSED.then(),
        lambda: REFUSED.then_nothing(),
        lambda: REFUSED.then_accepted(),
        lambda: REFUSED.then_refused("clock-too-far", because=[MOVED]),
        lambda: REFUSED.then_refused("clock-backwards"),
        lambda: REFUSED.then_refused("clock-backwards", because=[MOVED.model_copy(update={"ahead_s": 1})]),
        lambda: REFUSED.then_refused("clock-backwards", because=[MOVED.model_copy().recorded("another")]),
        lambda: REFUSED.then_refused("clock-backwards", because=[MOVED, MOVED]),
        lambda: given(CLOCK, MOVED).after(move(-1)),
    ],
)
def test_it_is_nothing_else(wrong: Callable[[], object]) -> None:
    with pytest.raises(AssertionError):
        wrong()


@sends
async def problem(because: str, status: int = 409) -> httpx.Response:
    refusal = {"type": "/problems/cart-empty", "rule": "cart-empty", "detail": "It is.", "remedy": "Add a line."}
    return httpx.Response(status, json=refusal | {"because": [because]})


async def test_a_problem_is_what_it_is() -> None:
    await problem("opened").then_refused("cart-empty", because=["opened"])
    assert (await problem("opened")).status_code == 409


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: problem("opened").then_ok(),
        lambda: problem("opened").then_nothing(),
        lambda: problem("opened").then(ClockMoved),
        lambda: problem("opened").then_refused("cart-full"),
        lambda: problem("opened", 403).then_refused("cart-empty"),
        lambda: problem("opened").then_refused("cart-empty", because=[]),
    ],
)
async def test_a_problem_is_nothing_else(wrong: Callable[[], Coroutine[Any, Any, object]]) -> None:
    with pytest.raises(AssertionError):
        await wrong()


async def reaction(days: int) -> Reaction:
    """What an event that moves the clock to a day brings, after it was moved to tomorrow."""
    moves = Reactions("moves", topics=())

    @moves.on(ClockMoved)
    async def move_on(_event: ClockMoved, _envelope: Envelope, _context: ReactionContext) -> list[Dispatch]:
        return [Dispatch(CLOCK, "org", move(days))]

    service = given_service("identity", NOON)
    await service.given(CLOCK, "org", move(1))
    return service.when(moves, MOVED)


async def test_a_reaction_is_what_it_is() -> None:
    await (await reaction(1)).then_nothing()
    await (await reaction(2)).then(ClockMoved)
    await (await reaction(2)).then_dispatched(Dispatch(CLOCK, "org", move(2)))
    await (await reaction(-1)).then_refused("clock-backwards")


@pytest.mark.parametrize(
    ("days", "wrong"),
    [
        (1, lambda found: found.then(ClockMoved)),
        (1, lambda found: found.then_dispatched()),
        (2, lambda found: found.then_nothing()),
        (2, lambda found: found.then(MOVED)),
        (2, lambda found: found.then_refused("clock-backwards")),
        (-1, lambda found: found.then_nothing()),
        (-1, lambda found: found.then_refused("clock-too-far")),
    ],
)
async def test_a_reaction_is_nothing_else(days: int, wrong: Callable[[Reaction], Coroutine[Any, Any, object]]) -> None:
    found = await reaction(days)
    with pytest.raises(AssertionError):
        await wrong(found)
