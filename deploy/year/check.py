"""The check of all invariants at the year's end, over all events and topics."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import asyncpg

from services import definitions
from services.distribution.domain import rollout
from services.entitlements.domain import seat_pool
from services.identity.domain import contract_state
from services.marketplace.domain.terms import term_ends
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.repair.verify import verify
from shared.eventlog.write.operations import OPERATION
from shared.eventlog.write.postgres import PostgresStore
from shared.events import (
    CreditsConsumed,
    Event,
    RoleAssigned,
    SeatsAdded,
    SubscriptionConfirmed,
    SubscriptionEnded,
    SubscriptionRenewed,
    UpdatePublished,
)
from shared.events.envelope import Envelope
from shared.events.upcasts import decode
from shared.sql import statements

SQL: Final = statements(__file__)

INVARIANTS: Final = (
    "every stream's hash chain and the store's chain are correct; positions and versions have no gaps",
    "every stored event is in its topic with the same bytes, in its stream's order, and nothing else is",
    "every stream can be folded, event by event",
    "the instalments of each term add up to its total, including added seats",
    "each term renews once, keeps the anniversary, and nothing follows the end",
    "a contract has exactly one Contract Manager",
    "no more seats are held than bought, nobody holds two of a pool, and a pool has the seats that were bought",
    "credits spent equal the sum drawn from grants; balances are never negative and equal the ledger's",
    "a rollout targets only users with a seat of its product, an active term and the update right",
)


History: TypeAlias = list[tuple[Envelope, Event]]


@dataclass(kw_only=True, slots=True)
class Findings:
    events: int = 0
    streams: int = 0
    records: int = 0
    types: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


async def check(dsns: dict[str, str], access: KafkaAccess) -> Findings:
    """Read all stores and topics and check every invariant; the system must be idle."""
    findings = Findings()
    histories: dict[str, History] = {}
    services = definitions()
    for service in services:
        report = await verify(service.name, dsns[service.name], access, streams=service.streams)
        findings.violations += [str(finding) for finding in report.findings.first]
        findings.events += report.events
        findings.records += report.records
        await _read(service.name, dsns[service.name], histories)
    findings.streams = len(histories)
    findings.types = Counter(event.type() for history in histories.values() for _, event in history)
    streams = {stream.category: stream for service in services for stream in (*service.streams, OPERATION)}
    checks = {"subscription": _subscription, "contract": _contract, "pool": _pool, "credits": _credits}
    states: dict[str, Any] = {}
    for stream_id, history in histories.items():
        category = stream_id.split("-", 1)[0]
        findings.violations += _folds(stream_id, streams[category], history, states)
        if category in checks:
            findings.violations += [f"{stream_id}: {what}" for what in checks[category](streams[category], history)]
    findings.violations += [*_bought(states), *_targets(states, histories), *await _ledger(dsns, states)]
    return findings


async def _read(service: str, dsn: str, histories: dict[str, History]) -> None:
    db = await asyncpg.connect(dsn)
    try:
        async with db.transaction(isolation="repeatable_read", readonly=True):
            async for events in PostgresStore("", service).all_events(db, 5_000):
                for envelope, data in events:
                    histories.setdefault(envelope.stream, []).append((envelope, decode(envelope, data, trusted=True)))
    finally:
        await db.close()


# ── The business ───────────────────────────────────────────────────────────────────────────────────────


def _folds(stream_id: str, stream: Any, history: History, states: dict[str, Any]) -> Iterator[str]:
    """Fold the stream and store its last state; yield an error if that fails."""
    try:
        states[stream_id] = stream.initial
        for _, states[stream_id] in _states(stream, history):
            pass
    except Exception as error:  # noqa: BLE001  # any error is a finding
        yield f"{stream_id} can't be folded: {type(error).__name__}: {error}"


def _states(stream: Any, history: History) -> Iterator[tuple[Event, Any]]:
    state = stream.initial
    for _, event in history:
        state = stream.evolve(state, event)
        yield event, state


def _subscription(stream: Any, history: History) -> Iterator[str]:
    starts, term, booked = None, 0, 0
    for number, (event, state) in enumerate(_states(stream, history)):
        if isinstance(event, SubscriptionConfirmed | SubscriptionRenewed):
            starts, term, booked = starts or event.starts, term + 1, event.total.amount
            if isinstance(event, SubscriptionRenewed) and event.term != term:
                yield f"term {event.term} follows {term - 1}"
            if event.ends != term_ends(starts, term):
                yield f"term {term} ends on {event.ends}"
        if isinstance(event, SeatsAdded):
            booked += event.instalment.amount.amount
        if term and sum(part.amount.amount for part in state.term.instalments) != booked:
            yield f"the instalments of term {term} don't add up to {booked} after {event.type()}"
        if isinstance(event, SubscriptionEnded) and number != len(history) - 1:
            yield "an event follows its end"


def _contract(stream: Any, history: History) -> Iterator[str]:
    decisions = [envelope.causation_id for envelope, _ in history]
    following = [*decisions[1:], ""]
    manager = None
    for (event, state), decision, then in zip(_states(stream, history), decisions, following, strict=True):
        if isinstance(event, RoleAssigned) and event.role == "contract_manager" and manager is not None:
            yield "a second Contract Manager is named beside the first"
        manager = state.manager if isinstance(state, contract_state.OpenedContract) else None
        if manager is None and decision != then:
            yield f"{event.type()} leaves it without a Contract Manager"


def _pool(stream: Any, history: History) -> Iterator[str]:
    for event, state in _states(stream, history):
        if isinstance(state, seat_pool.OpenedSeatPool):
            holders = [held.account_id for held in state.held.values()]
            if len(holders) > state.seats or len(holders) != len(set(holders)):
                yield f"{len(holders)} of {state.seats} seats after {event.type()}"


def _bought(states: dict[str, Any]) -> Iterator[str]:
    """Check that each pool has the seats of its subscription's running term."""
    for stream_id, pool in states.items():
        if stream_id.startswith("pool-") and isinstance(pool, seat_pool.OpenedSeatPool) and pool.usable:
            sold = states[f"subscription-{pool.opened.subscription_id}"].term
            if pool.seats != sold.seats:
                yield f"{stream_id} has {pool.seats} seats, {sold.seats} were bought"


def _credits(stream: Any, history: History) -> Iterator[str]:
    for event, state in _states(stream, history):
        if isinstance(event, CreditsConsumed) and sum(draw.amount for draw in event.drawn) != event.amount:
            yield f"{event.amount} were spent and {[draw.amount for draw in event.drawn]} drawn"
        if min((lot.remaining for lot in state.lots.values()), default=0) < 0:
            yield f"a grant is overdrawn after {event.type()}"


async def _ledger(dsns: dict[str, str], states: dict[str, Any]) -> list[str]:
    """Compare the balances and the ledger in the read models with the streams."""
    db = await asyncpg.connect(dsns["entitlements"])
    try:
        shown = {row["contract_id"]: (row["left"], row["ledger"]) for row in await db.fetch(SQL["credits"])}
    finally:
        await db.close()
    expected = {
        stream_id.removeprefix("credits-"): sum(lot.remaining for lot in state.lots.values())
        for stream_id, state in states.items()
        if stream_id.startswith("credits-")
    }
    return [
        f"credits of {contract}: {expected.get(contract)} by its stream, {shown.get(contract)} in lots and ledger"
        for contract in sorted(expected.keys() | shown.keys())
        if (expected.get(contract), expected.get(contract)) != shown.get(contract)
    ]


def _targets(states: dict[str, Any], histories: dict[str, History]) -> Iterator[str]:
    """Check that rollouts target only users with a usable seat and the update right."""
    usable = {
        (pool.opened.contract_id, pool.opened.product, held.account_id)
        for stream_id, pool in states.items()
        if stream_id.startswith("pool-") and isinstance(pool, seat_pool.OpenedSeatPool)
        if pool.over is None and pool.right is not None
        for held in pool.held.values()
    }
    products = {
        (event.publisher, event.update_id): event.product
        for history in histories.values()
        for _, event in history
        if isinstance(event, UpdatePublished)
    }
    for stream_id, state in states.items():
        if stream_id.startswith("rollout-") and isinstance(state, rollout.Running):
            product = products[state.started.publisher, state.started.update_id]
            for account_id in state.targets:
                if (state.started.contract_id, product, account_id) not in usable:
                    yield f"{stream_id} targets {account_id}, who may not have it"
