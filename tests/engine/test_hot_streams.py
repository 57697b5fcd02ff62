"""Many commands on few streams, in several processes, while callers leave and connections break."""

import asyncio
import random
from collections import Counter

import asyncpg
import pytest

from shared.eventlog.write.log import Accepted, Answer, Log, Meta, Refused
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.store import Conflict, Unavailable
from shared.events.envelope import GENESIS
from tests.databases import as_operator
from tests.examples.engine import COUNTER, Count, meta

STREAMS, COMMANDS, AT_ONCE, LIMIT = 3, 1_500, 60, 350


@pytest.mark.system
@pytest.mark.parametrize("seed", [1, 2])
async def test_every_command_is_decided_once_on_what_is_committed(database: str, seed: int) -> None:
    chance, answers = random.Random(seed), dict[str, tuple[str, Answer]]()
    stores = [await PostgresStore(database, "entitlements").open() for _ in range(3)]
    logs = [Log(store, "entitlements") for store in stores]
    left = [(f"{number % STREAMS}", meta(), chance.random()) for number in range(COMMANDS)]

    async def execute(log: Log, key: str, command: Meta) -> None:
        for _ in range(50):
            try:
                answer = await log.execute(COUNTER, key, Count(limit=LIMIT), command)
            except (Unavailable, Conflict):
                continue
            before = answers.setdefault(command.command_id, (key, answer))[1]
            assert answer._replace(repeated=False) == before._replace(repeated=False)
            return
        raise AssertionError("no answer")

    async def caller() -> None:
        while left:
            key, command, luck = left.pop()
            asked = asyncio.create_task(execute(chance.choice(logs), key, command))
            if luck < 0.1:  # the caller leaves, and asks again, perhaps in another process
                await asyncio.sleep(chance.random() / 50)
                asked.cancel()
                await asyncio.gather(asked, return_exceptions=True)
                asked = asyncio.create_task(execute(chance.choice(logs), key, command))
            await asked
            if 0.1 < luck < 0.15:  # it has not heard the answer
                await execute(chance.choice(logs), key, command)

    async def break_connections() -> None:
        query = "select pg_terminate_backend(pid) from pg_stat_activity where query like '%log.append%' and pid <> $1"
        while not done.is_set():
            await asyncio.sleep(0.3)
            await operator.fetch(query, operator.get_server_pid())

    operator, done = await asyncpg.connect(as_operator(database)), asyncio.Event()
    breaking = asyncio.create_task(break_connections())
    async with asyncio.timeout(120):
        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    done.set()
    await breaking
    await operator.close()
    assert len(answers) == COMMANDS
    for key in map(str, range(STREAMS)):
        stored = await stores[0].read_stream(f"counter-{key}")
        assert [each.envelope.version for each in stored] == list(range(1, LIMIT + 1))
        heads = [GENESIS, *(each.envelope.hash for each in stored)]
        assert [each.envelope.prevhash for each in stored] == heads[:-1]
        mine = [answer for of, answer in answers.values() if of == key]
        told = Counter(event.id for answer in mine if isinstance(answer, Accepted) for event in answer.events)
        assert told == Counter(each.envelope.id for each in stored), "each event is the answer to one command"
        because = {answer.because for answer in mine if isinstance(answer, Refused)}
        assert because == {(stored[-1].envelope.id,)}
    for store in stores:
        await store.close()
