"""Whether every event had the effects that its service's reactions always have, and every effect has its event. Pure.

The ids of commands tell: a reaction's are made of its consumer, the event and the stream.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from shared.eventlog.deliver.readers import names
from shared.events.envelope import Envelope, Unreadable
from tests.oracle.evidence import PUBLISHERS, Evidence, Published
from tests.oracle.expected import EXPECTED


def effects(
    found: Mapping[str, Evidence],
    reactions: Mapping[str, Sequence[str]],
    forgetful: frozenset[str] = frozenset(),
    former: Sequence[Published] = (),
) -> Iterator[str]:
    """What is wrong. `reactions` are the consumers that react, with the names of the evidence that they read;
    `forgetful` the services that were restored from their topics, which tell of no refusal; `former` what the
    publishers' topic held before it was lost, which no store can make again."""
    gone = [
        (_identity(envelope, foreign=True), envelope.type)
        for _, envelope in _events(Evidence(PUBLISHERS, topic=[*former]))
    ]
    for consumer, read in reactions.items():
        service = consumer.partition(".")[0]
        answered = found[service].answered
        ids = sorted(id_ for id_ in answered if id_.startswith(f"{consumer}:"))
        expected = EXPECTED[consumer]
        always, never = names(expected.always), expected.ignored
        could_cause = {identity for identity, event_type in gone if event_type not in never}
        for name in (
            name for name in found if name in read or (PUBLISHERS in read and name.startswith(f"{PUBLISHERS}."))
        ):
            for place, envelope in _events(found[name]):
                identity = _identity(envelope, foreign=found[name].foreign)
                if envelope.type not in never:
                    could_cause.add(identity)
                if (
                    envelope.type in always
                    and service not in forgetful
                    and (consumer, *place) not in found[name].waiting
                    and not _any(ids, f"{consumer}:{identity}:")
                ):
                    yield f"{consumer}: {envelope.type} {envelope.id} had no effect"
        for id_ in ids:
            cause = id_[len(consumer) + 1 :].rpartition(":")[0].removesuffix(f":{answered[id_].stream}")
            if cause not in could_cause:
                yield f"{consumer}: its command {id_} has no event that it could follow from"


def _identity(envelope: Envelope, *, foreign: bool) -> str:
    return f"{envelope.source}#{envelope.id}" if foreign else envelope.id


def _events(evidence: Evidence) -> Iterator[tuple[tuple[int, int], Envelope]]:
    for record in evidence.topic:
        place = (record.partition, record.offset)
        if place in evidence.planted:
            continue
        try:
            yield place, record.envelope(foreign=evidence.foreign)
        except Unreadable:
            continue  # said by the topic's own judgement


def _any(ids: Sequence[str], prefix: str) -> bool:
    at = bisect_left(ids, prefix)
    return at < len(ids) and ids[at].startswith(prefix)
