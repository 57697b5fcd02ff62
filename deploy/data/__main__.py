"""Loads the example catalogue: `python -m deploy.data`.

Writes it to the publisher's topic and ends once marketplace's catalogue shows all of it. Repeating it changes nothing.
"""

import asyncio
import logging
import sys

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from deploy import OperatorError
from deploy.data import CATALOGUE, TOPIC, as_publisher, catalogue
from deploy.data.folded import until_folded
from deploy.reaching import remedy
from shared.eventlog.deliver.kafka import InvalidKafkaSettings, KafkaAccess
from shared.runtime.settings import settings

ANSWER_S = 60.0


async def emit(access: KafkaAccess) -> dict[int, int]:
    """Send the catalogue to the publisher's topic.

    Returns:
        The offset of the last acknowledged record, by partition.

    Raises:
        OperatorError: Kafka did not acknowledge a record.
    """
    events = list(catalogue())
    producer = AIOKafkaProducer(**access.client(), acks="all", enable_idempotence=True)
    try:
        async with asyncio.timeout(ANSWER_S):
            await producer.start()
            sent = [await producer.send(TOPIC, e.value, key=e.key, headers=e.headers) for e in events]
            acknowledged = await asyncio.gather(*sent)
    except (KafkaError, TimeoutError) as error:
        raise OperatorError(
            f"Kafka at {access.bootstrap} did not accept the catalogue: {error!r}. {remedy('KAFKA_BOOTSTRAP')}"
        ) from error
    finally:
        await producer.stop()
    return {each.partition: each.offset for each in sorted(acknowledged, key=lambda each: int(each.offset))}


async def load() -> None:
    """Send the catalogue and wait until its plans can be ordered."""
    sent = await emit(as_publisher())
    await until_folded(settings().dsn("marketplace"), sent)


def main() -> int:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        asyncio.run(load())
    except (OperatorError, InvalidKafkaSettings) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"The plans of {CATALOGUE.name} were sent to {TOPIC} and are in the catalogue.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
