"""Emits the example catalogue to the inbound topic: `python -m deploy.data`. Repeating it changes nothing."""

import asyncio
import logging
import sys

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from deploy import Trouble
from deploy.data import CATALOGUE, TOPIC, as_publisher, catalogue
from shared.eventlog.kafka import InvalidKafkaSettings, KafkaAccess

ANSWER_S = 60.0


async def emit(access: KafkaAccess) -> int:
    """How many plans were acknowledged by Kafka. Raises Trouble when one can't be."""
    events = list(catalogue())
    producer = AIOKafkaProducer(**access.client(), acks="all", enable_idempotence=True)
    try:
        async with asyncio.timeout(ANSWER_S):
            await producer.start()
            sent = [await producer.send(TOPIC, e.value, key=e.key, headers=e.headers) for e in events]
            await asyncio.gather(*sent)
    except (KafkaError, TimeoutError) as error:
        raise Trouble(f"Kafka at {access.bootstrap} did not take the catalogue: {error!r}.") from error
    finally:
        await producer.stop()
    return len(events)


def main() -> int:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        count = asyncio.run(emit(as_publisher()))
    except (Trouble, InvalidKafkaSettings) as trouble:
        print(trouble, file=sys.stderr)
        return 1
    print(f"{count} service plans of {CATALOGUE.name} are offered on {TOPIC}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
