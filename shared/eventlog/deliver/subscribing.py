"""The settings of FastStream and aiokafka, whose defaults lose data.

The tests in `tests/contracts/` prove each setting.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaMessage

from shared.eventlog.deliver.consumer import BATCH_RECORDS
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.events.registry import INBOUND, topics_pattern

POLL_MS: Final = 1_000

BROKER_SETTINGS: Final[Mapping[str, Any]] = {
    "consumer_only": True,
    "acks": "all",
    "enable_idempotence": True,
    "allow_auto_create_topics": False,
    "metadata_max_age_ms": 5_000,  # A new publisher's topic is found within this time.
    "apply_types": False,
    "graceful_timeout": 15.0,
    "log_level": logging.DEBUG,
}
SUBSCRIBER_SETTINGS: Final[Mapping[str, Any]] = {
    "batch": True,
    "ack_policy": AckPolicy.MANUAL,
    "auto_offset_reset": "earliest",
    "max_records": BATCH_RECORDS,
    "batch_timeout_ms": POLL_MS,
    "fetch_max_wait_ms": 500,
    "session_timeout_ms": 6_000,  # The partitions of a killed process move to another one after this time.
    "heartbeat_interval_ms": 1_500,
    "max_partition_fetch_bytes": 2 * 1024 * 1024,
}


def connection(access: KafkaAccess) -> KafkaBroker:
    """Return a new connection to Kafka, which is not started."""
    return KafkaBroker(
        access.servers,
        security=access.broker_security(),
        logger=logging.getLogger("faststream"),
        client_id="tenure",
        **BROKER_SETTINGS,
    )


def subscriber(broker: KafkaBroker, group: str, topics: Sequence[str], listener: ConsumerRebalanceListener) -> Any:
    """Return a subscription to these topics. The inbound topic stands for all publishers'."""
    inbound = INBOUND in topics
    return broker.subscriber(
        *(() if inbound else topics),
        pattern=topics_pattern(topics) if inbound else None,
        group_id=group,
        listener=listener,
        parser=parse,
        decoder=decode,
        **SUBSCRIBER_SETTINGS,
    )


async def parse(batch: tuple[ConsumerRecord, ...]) -> KafkaMessage:
    """Return the records of a batch unchanged.

    FastStream's own parser decodes headers and raises on a null value or one that is not UTF-8. The whole batch is then
    lost, under every acknowledgement policy.
    """
    return KafkaMessage(raw_message=batch, body=b"", consumer=_NoConsumer())


async def decode(message: KafkaMessage) -> Any:
    """Return the records of a message that `parse` made."""
    return message.raw_message


class _NoConsumer:
    """The consumer of a message, which commits nothing.

    FastStream's `ack()` would commit all that was fetched, including records that failed.
    """

    async def commit(self) -> None: ...

    def seek(self, partition: TopicPartition, offset: int) -> None: ...
