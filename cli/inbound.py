"""Searches for publishers' events, which are in no store, in the inbound topics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from cli.context import Context
from cli.event_search import SKEW, FoundEvent
from shared.events.envelope import Envelope, Unreadable, from_headers
from shared.events.registry import INBOUND, is_inbound
from shared.events.structured import in_binary_mode

MOST: Final = 100_000
"""The default limit of the records that a search reads."""
_FIRST: Final = 1_000
"""The size of the first step in each partition; each further step is four times as large."""


class Wanted(NamedTuple):
    """A publisher's event to search for; a `source` of "" matches any source."""

    id: str
    source: str = ""

    def matches(self, envelope: Envelope) -> bool:
        return envelope.id == self.id and self.source in ("", envelope.source)


@dataclass(slots=True)
class Search:
    """The result of a search.

    `looked` of the `held` records were read. `problem` is why the topics could not be read.
    """

    found: list[FoundEvent] = field(default_factory=list)
    looked: int = 0
    held: int = 0
    problem: str | None = None

    @property
    def whole(self) -> bool:
        return self.problem is None and self.looked >= self.held

    def describe(self) -> str:
        """Return how many records were read, as text."""
        if self.problem is not None:
            return f"{INBOUND}* could not be searched: {self.problem}"
        return f"{self.looked:,} of {self.held:,} records of {INBOUND}*"


async def search(context: Context, wanted: Sequence[Wanted], near: datetime | None, most: int = MOST) -> Search:
    """Search the inbound topics for these events.

    Reads backwards in growing steps from shortly after `near`, the time of the latest effect of these events, or from
    the end; then reads the records that came later. Ends when all events are found or `most` records were read.
    """
    done = Search()
    try:
        kafka = await context.kafka()
        there = await context.partitions()
        places = [TopicPartition(t, n) for t, numbers in there.items() if is_inbound(t) for n in numbers]
        if not places:
            done.problem = "the topic does not exist"
            return done
        begins, ends = await kafka.beginning_offsets(places), await kafka.end_offsets(places)
        done.held = sum(ends[p] - begins[p] for p in places)
        await _search_partitions(kafka, wanted, await _from(kafka, ends, near), (begins, ends), done, most)
    except (KafkaError, OSError) as error:
        done.problem = f"Kafka at {context.settings.kafka.bootstrap} does not answer ({type(error).__name__})"
    return done


Offsets = Mapping[TopicPartition, int]


async def _from(kafka: AIOKafkaConsumer, ends: Offsets, near: datetime | None) -> Offsets:
    """Return the offsets of the first records after `near`; a partition's end if there is none."""
    if near is None:
        return ends
    at = int((near + SKEW).timestamp() * 1000)
    found = await kafka.offsets_for_times(dict.fromkeys(ends, at))
    return {p: end if found.get(p) is None else found[p].offset for p, end in ends.items()}


async def _search_partitions(
    kafka: AIOKafkaConsumer,
    wanted: Sequence[Wanted],
    middle: Offsets,
    edges: tuple[Offsets, Offsets],
    done: Search,
    most: int,
) -> None:
    begins, ends = edges
    low, high, step = dict(middle), dict(middle), _FIRST
    while (more := _share({p: low[p] - begins[p] for p in low}, step, most - done.looked)) and not _enough(
        wanted, done
    ):
        spans = {p: (low[p] - number, low[p]) for p, number in more.items()}
        await _read(kafka, wanted, spans, done)
        low |= {p: first for p, (first, _) in spans.items()}
        step *= 4
    while (more := _share({p: ends[p] - high[p] for p in high}, step, most - done.looked)) and not _enough(
        wanted, done
    ):
        spans = {p: (high[p], high[p] + number) for p, number in more.items()}
        await _read(kafka, wanted, spans, done)
        high |= {p: last for p, (_, last) in spans.items()}


def _share(rooms: Offsets, step: int, left: int) -> dict[TopicPartition, int]:
    """Return the number of records to read next from each partition that has any left.

    Args:
        rooms: The number of unread records of each partition.
        step: The limit of each partition.
        left: The limit of all partitions together.
    """
    rooms = {p: room for p, room in rooms.items() if room > 0}
    shares: dict[TopicPartition, int] = {}
    for p, room in rooms.items():
        shares[p] = min(room, step, max(1, left // len(rooms)), left - sum(shares.values()))
    return {p: share for p, share in shares.items() if share > 0}


def _enough(wanted: Sequence[Wanted], done: Search) -> bool:
    return all(any(each.matches(found.envelope) for found in done.found) for each in wanted)


async def _read(
    kafka: AIOKafkaConsumer, wanted: Sequence[Wanted], spans: Mapping[TopicPartition, tuple[int, int]], done: Search
) -> None:
    """Read the records between these offsets."""
    left = {p: last for p, (first, last) in spans.items() if first < last}
    if not left:
        return
    kafka.assign(list(left))
    for partition in left:
        kafka.seek(partition, spans[partition][0])
    while left:
        for partition, records in (await kafka.getmany(*left, timeout_ms=500)).items():
            for record in records:
                if record.offset < spans[partition][1]:
                    done.looked += 1
                    _take(record, wanted, done)
        for partition, position in [(p, await kafka.position(p)) for p in left]:
            if position >= left[partition]:
                del left[partition]


def arrived(record: Any) -> datetime:
    """Return when a record was appended to its topic."""
    return datetime.fromtimestamp(record.timestamp / 1000, UTC)


def _take(record: Any, wanted: Sequence[Wanted], done: Search) -> None:
    try:
        headers, data = in_binary_mode(record.headers, record.value)
        envelope = from_headers(headers, record.key, arrived(record))
    except Unreadable:
        return
    known = any(
        (each.envelope.id, each.envelope.source) == (envelope.id, envelope.source) for each in done.found
    )  # a repeated record is the same event
    if not known and any(each.matches(envelope) for each in wanted):
        # A publisher's own `sequence` is no version of ours.
        where = f"{record.topic}/{record.partition}/{record.offset}"
        done.found.append(FoundEvent("", envelope._replace(version=None, position=None), data, where))
