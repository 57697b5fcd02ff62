"""A topic's records, as a consumer receives them."""

from collections.abc import Mapping, Sequence
from uuid import NAMESPACE_OID, uuid5

from shared.eventlog.deliver.plan import ConsumerCheckpoint, Seen
from shared.eventlog.deliver.received import Raw, Received, receive
from shared.eventlog.write.store import Head
from shared.events import SeatUnassigned
from shared.events.envelope import StoredEvent, chained
from shared.events.registry import ENTITLEMENTS
from tests.examples.engine import head_of, next_events

TYPES = frozenset({"SeatUnassigned"})

BODY = SeatUnassigned(subscription_id="s", contract_id="c", seat=1, account_id="a", unassigned_by="b").data()


def topic(
    *streams: str, bodies: Mapping[int, bytes] | None = None, types: Mapping[int, str] | None = None
) -> list[Raw]:
    """A partition's records: one of each stream named, in this order, offsets from 0. By offset, some have another body
    or type; their hashes fit all the same. A version of a stream is the same event in every topic."""
    heads: dict[str, Head] = {}
    records = []
    for offset, stream in enumerate(streams):
        (event,) = next_events(stream, heads.get(stream, Head()), 1, (bodies or {}).get(offset, BODY))
        id_ = str(uuid5(NAMESPACE_OID, f"{stream}@{event.envelope.version}"))
        envelope = event.envelope._replace(
            id=id_, position=offset + 1, type=(types or {}).get(offset, event.envelope.type)
        )
        placed = StoredEvent(envelope._replace(hash=chained(envelope, event.data)), event.data)
        heads[stream] = head_of([placed])
        records.append(Raw(ENTITLEMENTS, 0, offset, stream.encode(), [*placed.headers()], event.data))
    return records


def without(raw: Raw, name: str) -> Raw:
    return raw._replace(headers=[(n, v) for n, v in raw.headers if n != name])


def received(raws: Sequence[Raw]) -> list[Received]:
    return [receive(raw, TYPES) for raw in raws]


def at(offset: int = -1, **seen: Seen) -> ConsumerCheckpoint:
    return ConsumerCheckpoint(offsets={(ENTITLEMENTS, 0): offset}, seen=dict(seen))
