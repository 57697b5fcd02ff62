"""The check at the year's end: every invariant over every event of the stores, and the topics against the stores."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import asyncpg

from services.distribution.__main__ import SERVICE as DISTRIBUTION
from services.distribution.domain import rollout
from services.entitlements.__main__ import SERVICE as ENTITLEMENTS
from services.entitlements.domain import seat_pool
from services.identity.__main__ import SERVICE as IDENTITY
from services.identity.domain import contract
from services.marketplace.__main__ import SERVICE as MARKETPLACE
from services.marketplace.domain.terms import term_ends
from shared.eventlog.postgres import PostgresStore
from shared.eventlog.verify import verify
from shared.events import (
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    Event,
    RoleAssigned,
    SubscriptionConfirmed,
    SubscriptionEnded,
    SubscriptionRenewed,
)
from shared.events.envelope import Envelope
from shared.events.upcasts import decode

SERVICES: Final = (IDENTITY, MARKETPLACE, ENTITLEMENTS, DISTRIBUTION)
INVARIANTS: Final = (
    "every stream's hashes and the store's chain verify, positions and versions have no gap",
    "every stored event is in its topic with the same bytes, in its stream's order; nothing else is",
    "instalments add up to each term's total",
    "each term renews once, keeps the anniversary, and nothing follows the end",
    "a contract has exactly one Contract Manager",
    "never more seats held than bought, and nobody holds two of a pool",
    "credit balances are never negative and equal to their ledger",
    "a rollout targets nobody without seat, active term and update right",
)


History: TypeAlias = list[tuple[Envelope, Event]]


@dataclass(slots=True)
class Findings:
    events: int = 0
    streams: int = 0
    records: int = 0
    types: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


async def check(dsns: dict[str, str], bootstrap: str) -> Findings:
    """Reads all four stores and topics whole. The system should be at rest."""
    findings = Findings()
    histories: dict[str, History] = {}
    for service in SERVICES:
        report = await verify(service.name, dsns[service.name], bootstrap)
        findings.violations += [str(finding) for finding in report.findings.first]
        findings.events += report.events
        findings.records += report.records
        await _read(service.name, dsns[service.name], histories)
    findings.streams = len(histories)
    findings.types = Counter(event.type() for history in histories.values() for _, event in history)
    streams = {stream.category: stream for service in SERVICES for stream in service.streams}
    checks = {"subscription": _subscription, "contract": _contract, "pool": _pool, "credits": _credits}
    for stream_id, history in histories.items():
        category = stream_id.split("-", 1)[0]
        if category in checks:
            findings.violations += [f"{stream_id}: {what}" for what in checks[category](streams[category], history)]
    findings.violations += _targets(streams, histories)
    return findings


async def _read(service: str, dsn: str, histories: dict[str, History]) -> None:
    db = await asyncpg.connect(dsn)
    try:
        async with db.transaction(isolation="repeatable_read", readonly=True):
            async for events in PostgresStore("", service).all_events(db, 5_000):
                for of, data in events:
                    histories.setdefault(of.stream, []).append((of, decode(of, data)))
    finally:
        await db.close()


# ── The business ───────────────────────────────────────────────────────────────────────────────────────


def _states(stream: Any, history: History) -> Iterator[tuple[Event, Any]]:
    state = stream.initial
    for _, event in history:
        state = stream.evolve(state, event)
        yield event, state


def _subscription(_stream: Any, history: History) -> Iterator[str]:
    starts, term = None, 0
    for number, (_, event) in enumerate(history):
        if isinstance(event, SubscriptionConfirmed | SubscriptionRenewed):
            if sum(part.amount.amount for part in event.instalments) != event.total.amount:
                yield f"the instalments of {event.starts} don't add up to {event.total.amount}"
            starts, term = starts or event.starts, term + 1
            if isinstance(event, SubscriptionRenewed) and event.term != term:
                yield f"term {event.term} follows {term - 1}"
            if event.ends != term_ends(starts, term):
                yield f"term {term} ends on {event.ends}"
        if isinstance(event, SubscriptionEnded) and number != len(history) - 1:
            yield "something follows its end"


def _contract(stream: Any, history: History) -> Iterator[str]:
    decisions = [of.causation_id for of, _ in history]
    following = [*decisions[1:], ""]
    manager = None
    for (event, state), decision, then in zip(_states(stream, history), decisions, following, strict=True):
        if isinstance(event, RoleAssigned) and event.role == "contract_manager" and manager is not None:
            yield "a second Contract Manager is named beside the first"
        manager = state.manager if isinstance(state, contract.Open) else None
        if manager is None and decision != then:
            yield f"{event.type()} leaves it without a Contract Manager"


def _pool(stream: Any, history: History) -> Iterator[str]:
    for event, state in _states(stream, history):
        if isinstance(state, seat_pool.Open):
            holders = [held.account_id for held in state.held.values()]
            if len(holders) > state.seats or len(holders) != len(set(holders)):
                yield f"{len(holders)} of {state.seats} seats after {event.type()}"


def _credits(_stream: Any, history: History) -> Iterator[str]:
    left: Counter[str] = Counter()
    for _, event in history:
        match event:
            case CreditsGranted():
                left[event.grant_id] += event.amount
            case CreditsConsumed():
                for draw in event.drawn:
                    left[draw.grant_id] -= draw.amount
            case CreditsExpired():
                left[event.grant_id] -= event.amount
            case _:
                pass
        if min(left.values(), default=0) < 0:
            yield f"a grant is overdrawn after {event.type()}"


def _targets(streams: dict[str, Any], histories: dict[str, History]) -> Iterator[str]:
    """Of each rollout that still offers something: whoever it targets holds a seat in an active term with the right."""
    usable: set[tuple[str, str]] = set()
    for stream_id, history in histories.items():
        if stream_id.startswith("pool-"):
            *_, (_, state) = _states(streams["pool"], history)
            if isinstance(state, seat_pool.Open) and state.over is None and state.right is not None:
                usable |= {(state.opened.contract_id, held.account_id) for held in state.held.values()}
    for stream_id, history in histories.items():
        if stream_id.startswith("rollout-"):
            *_, (_, state) = _states(streams["rollout"], history)
            if not isinstance(state, rollout.Running):
                continue
            for account_id in state.targets.keys() - state.gone.keys():
                if (state.started.contract_id, account_id) not in usable:
                    yield f"{stream_id} targets {account_id}, who may not have it"
