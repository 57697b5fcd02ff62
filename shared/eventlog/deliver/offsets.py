"""The offsets that a process commits to Kafka.

They are for monitoring tools, and for the restore of a lost database.
The group's offset of a partition is that of its slowest consumer. Its metadata has those of all its consumers.
"""

import json
from collections.abc import Mapping
from typing import Final

METADATA_CHARACTERS: Final = 4_000
"""Kafka refuses more than 4096 bytes (`offset.metadata.max.bytes`)."""


def group_of(service: str) -> str:
    """Return the consumer group of a service's processes."""
    return f"{service}.consumers"


def metadata_of(offsets: Mapping[str, int]) -> str:
    """Return the metadata that says each consumer's next offset; "" if it would be too long."""
    text = json.dumps(dict(sorted(offsets.items())), separators=(",", ":"))
    return text if len(text) <= METADATA_CHARACTERS else ""


def offset_of(consumer: str, metadata: str) -> int | None:
    """Return the next offset of a consumer by this metadata, or None if it does not say one."""
    try:
        offset = json.loads(metadata or "{}").get(consumer)
    except (ValueError, AttributeError):
        return None  # It is not by a process of a service.
    return offset if isinstance(offset, int) else None
