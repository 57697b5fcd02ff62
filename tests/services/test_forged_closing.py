"""A closing that identity's own log does not have erases nobody's key."""

import pytest

from services.identity.lookups import PostgresLookups
from services.identity.reactions import REACTIONS, NotInTheLog
from shared.eventlog.deliver.projection import ReactionContext
from shared.eventlog.deliver.received import Raw, receive
from shared.events import AccountClosed
from shared.events.envelope import Envelope, StoredEvent, chained, source_of
from shared.events.registry import IDENTITY
from tests.examples.engine import NOON, new_id
from tests.services.identity_bench import Bench

pytestmark = pytest.mark.system


async def key_of(bench: Bench, account_id: str) -> bytes | None:
    found: bytes | None = await bench.pool.fetchval("select key from person_keys where account_id = $1", account_id)
    return found


async def test_an_invented_closing_erases_no_key(bench: Bench) -> None:
    victim, _ = await bench.join("oskar")
    closed = AccountClosed(account_id=victim, organisation_id="org", closed_by=victim)
    data = closed.data()
    for position in (1, 10_000):
        envelope = Envelope(new_id(), source_of("identity"), closed.type(), "account-new", NOON, 1, 1, position)
        forged = StoredEvent(envelope._replace(hash=chained(envelope, data)), data)
        raw = Raw(IDENTITY, 0, 9_000 + position, b"account-new", forged.headers(), data)
        for consumer in bench.consumers:
            if IDENTITY in consumer.definition.topics:
                await consumer.assigned([(IDENTITY, 0)])
                await consumer.consume([receive(raw, consumer.definition.types)], {(IDENTITY, 0)})
    rows = await bench.pool.fetch("select distinct reason, holds_stream from engine.parked")
    assert [tuple(row.values()) for row in rows] == [("forged", False)]
    assert await key_of(bench, victim) is not None


async def test_the_reaction_itself_believes_the_own_log_only(bench: Bench) -> None:
    victim, _ = await bench.join("oskar")
    envelope = Envelope(new_id(), source_of("identity"), "AccountClosed", f"account-{victim}", NOON, 1, 2, 2)
    consumer = next(each for each in bench.consumers if each.definition is REACTIONS)
    reach = ReactionContext(
        lookups=PostgresLookups(bench.pool), log=bench.log, now=consumer.now(), clocks=consumer._clocks
    )
    with pytest.raises(NotInTheLog, match="keeps their key"):
        await REACTIONS.react(
            AccountClosed(account_id=victim, organisation_id="org", closed_by=victim), envelope, reach
        )
    assert await key_of(bench, victim) is not None
