"""Topics made anew: what a lost Kafka leaves behind."""

import asyncio

from aiokafka.admin import AIOKafkaAdminClient

from deploy import topics
from shared.eventlog.deliver.kafka import KafkaAccess


async def deleted(access: KafkaAccess, *names: str) -> None:
    """Delete these topics with what they hold, and wait until they are gone."""
    admin = AIOKafkaAdminClient(**access.client())
    await admin.start()
    try:
        await admin.delete_topics(list(names))
        async with asyncio.timeout(30):
            while {*names} & set(await admin.list_topics()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def remade(access: KafkaAccess, *names: str) -> None:
    """Delete the declared topics of these names, or all of them, with what they hold; then create them again."""
    declared = [topic for topic in topics.declared() if topic.name in names or not names]
    await topics.ensure(access, declared)
    await deleted(access, *(topic.name for topic in declared))
    await topics.ensure(access, declared)
