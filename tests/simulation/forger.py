"""Somebody who may write to a service's topic and is not that service. What is written has to be set aside by all."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

from shared.events.envelope import Envelope, chained, from_headers, to_headers
from shared.events.registry import topic_of
from shared.services import SERVICES
from tests.simulation.kafka import Record
from tests.simulation.system import System


class Forged(NamedTuple):
    """An event as it is written: its hash fits its bytes."""

    envelope: Envelope
    data: bytes


def second(genuine: Envelope, _last: Envelope, data: bytes) -> Forged:
    """A version that was written already, saying something else."""
    data = data[:-1] + b" }"
    return Forged(genuine._replace(hash=chained(genuine, data)), data)


def unchained(_genuine: Envelope, last: Envelope, data: bytes) -> Forged:
    """The next version of a stream, which does not continue it."""
    envelope = last._replace(id=f"forged-{last.id}", version=(last.version or 0) + 1, prevhash=bytes(31) + b"\1")
    return Forged(envelope._replace(hash=chained(envelope, data)), data)


def of_another(_genuine: Envelope, last: Envelope, _data: bytes) -> Forged:
    """The next version of a stream, correctly chained, of a type that only another service publishes."""
    envelope = last._replace(id=f"forged-{last.id}", version=(last.version or 0) + 1, prevhash=last.hash, schema=1)
    envelope = envelope._replace(type="ClockMoved" if last.source.endswith("marketplace") else "SubscriptionEnded")
    return Forged(envelope._replace(hash=chained(envelope, b"{}")), b"{}")


KINDS: Final[tuple[Callable[[Envelope, Envelope, bytes], Forged], ...]] = (second, unchained, of_another)


async def forge(system: System) -> None:
    """Writes such a record now and then, behind what the topic has of its stream by then."""
    for _ in range(system.rates.forgeries):
        await asyncio.sleep(system.chance.random() * 4)
        topic = topic_of(system.chance.choice(SERVICES))
        logs = [log for log in system.broker.logs(topic) if any(_genuine(system, record) for record in log)]
        if logs:
            _write(system, topic, system.chance.choice(logs), system.chance)


def _write(system: System, topic: str, log: list[Record], chance: Random) -> None:
    genuine = [record for record in log if _genuine(system, record)]
    chosen = chance.choice(genuine)
    envelope = from_headers(chosen.headers, chosen.key)
    last = max(
        (from_headers(record.headers, record.key) for record in genuine if record.key == chosen.key),
        key=lambda each: each.version or 0,
    )
    forged = chance.choice(KINDS)(envelope, last, chosen.value or b"")
    system.forged.add((topic, chosen.partition, len(log)))
    system.broker.append(topic, chosen.partition, chosen.key, to_headers(forged.envelope), forged.data)


def _genuine(system: System, record: Record) -> bool:
    return (record.topic, record.partition, record.offset) not in system.forged
