"""Publishers' events, as the inbound topic has them: they are in no store, so `tenure why` looks for them there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from cli.context import Context
from cli.event_search import SKEW, Found
from shared.events.envelope import Envelope, Unreadable, from_headers
from shared.events.registry import INBOUND, is_inbound

MOST: Final = 100_000
"""So many records are looked at, unless told otherwise."""
_FIRST: Final = 1_000
"""So many of each partition are looked at first; then four times as many, and so on."""


class Wanted(NamedTuple):
    """A publisher's event that is looked for. Its id counts within its source; "" is any source."""

    id: str
    source: str = ""

    def fits(self, envelope: Envelope) -> bool:
        return envelope.id == self.id and self.source in ("", envelope.source)


@dataclass(slots=True)
class Search:
    """What a search found and how much it looked at. `problem` says why it could not look."""

    found: list[Found] = field(default_factory=list)
    looked: int = 0
    held: int = 0
    problem: str | None = None

    @property
    def whole(self) -> bool:
        return self.problem is None and self.looked >= self.held

    def told(self) -> str:
        """How much was looked at, in words."""
        if self.problem is not None:
            return f"{INBOUND}* was not looked at: {self.problem}"
        return f"{self.looked:,} of {self.held:,} records of {INBOUND}*"


async def search(context: Context, wanted: Sequence[Wanted], near: datetime | None, most: int = MOST) -> Search:
    """Looks for these events: from shortly after `near` (when something followed from the last of them), or from the
    end, backwards in growing steps; then in what came later. Ends when all are found, or `most` records looked at."""
    done = Search()
    try:
        kafka = await context.kafka()
        there = await context.partitions()
        places = [TopicPartition(t, n) for t, numbers in there.items() if is_inbound(t) for n in numbers]
        if not places:
            done.problem = "there is no such topic"
            return done
        begins, ends = await kafka.beginning_offsets(places), await kafka.end_offsets(places)
        done.held = sum(ends[p] - begins[p] for p in places)
        await _look(kafka, wanted, await _from(kafka, ends, near), (begins, ends), done, most)
    except (KafkaError, OSError) as error:
        done.problem = f"Kafka at {context.settings.kafka.bootstrap} does not answer ({type(error).__name__})"
    return done


Offsets = Mapping[TopicPartition, int]


async def _from(kafka: AIOKafkaConsumer, ends: Offsets, near: datetime | None) -> Offsets:
    """The offsets of the first records after `near`; the ends, where nothing is."""
    if near is None:
        return ends
    at = int((near + SKEW).timestamp() * 1000)
    found = await kafka.offsets_for_times(dict.fromkeys(ends, at))
    return {p: end if found.get(p) is None else found[p].offset for p, end in ends.items()}


async def _look(
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
    """How many records of each partition are looked at next: of those that have any, at most `step` each and `left` of
    all."""
    rooms = {p: room for p, room in rooms.items() if room > 0}
    shares: dict[TopicPartition, int] = {}
    for p, room in rooms.items():
        shares[p] = min(room, step, max(1, left // len(rooms)), left - sum(shares.values()))
    return {p: share for p, share in shares.items() if share > 0}


def _enough(wanted: Sequence[Wanted], done: Search) -> bool:
    return all(any(each.fits(found.envelope) for found in done.found) for each in wanted)


async def _read(
    kafka: AIOKafkaConsumer, wanted: Sequence[Wanted], spans: Mapping[TopicPartition, tuple[int, int]], done: Search
) -> None:
    """Looks at the records between these offsets."""
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


def _take(record: Any, wanted: Sequence[Wanted], done: Search) -> None:
    try:
        envelope = from_headers(record.headers, record.key)
    except Unreadable:
        return
    known = any(
        (each.envelope.id, each.envelope.source) == (envelope.id, envelope.source) for each in done.found
    )  # repeats have one effect
    if not known and any(each.fits(envelope) for each in wanted):
        # Its own sequence and hashes count something of its sender's, if anything.
        where = f"{record.topic}/{record.partition}/{record.offset}"
        done.found.append(Found("", envelope._replace(version=None, position=None), record.value or b"", where))
