"""The live edge of a process: its topics, its callers, and the pages of a feed."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from services.console.live import rules as own_rules
from services.console.live.callers import Callers, Subscriber
from shared.eventlog.deliver.inbox import Inbox
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.ordered import Lost, exists
from shared.events.registry import is_outcomes, service_of, topic_of
from shared.runtime.auth import Actor, TokenVerifier, fetcher
from shared.runtime.endings import FollowedEndings
from shared.runtime.limits import Limits
from shared.runtime.live.frames import Frame
from shared.runtime.live.positions import beyond
from shared.runtime.live.topic import CATCH_UPS, LiveTopic
from shared.runtime.live.wanted import Wanted, hears
from shared.runtime.metrics import Metrics
from shared.runtime.problems import Problem, unavailable, unknown
from shared.runtime.settings import Settings
from shared.services import SERVICES

LOADED_S: Final = 5.0
"""How long a request waits for a topic's reader to begin."""
SCANNED: Final = 20_000
"""How many events are looked through for a page at most; then it is returned with what was found."""
CHECK_S: Final = 1.0


OUTCOME: Final = "/events/{source}/{event_id}"
"""Where the outcomes of one event are read, as a URI template."""


SNAPSHOTS: Final = {
    "identity": "/people",
    "marketplace": "/subscriptions",
    "entitlements": "/pools",
    "distribution": "/contracts/{contract_id}/rollouts",
}
"""By service, where its present state is read: the list that most of its events change, as a URI template."""


async def _no_outcomes(_name: str) -> LiveTopic:
    raise _no_topic(())


@dataclass(kw_only=True)
class LiveEdge:
    """Everything that the doors of the live edge need."""

    callers: Callers
    topics: Mapping[str, LiveTopic]
    """The services' topics."""
    snapshots: Mapping[str, str]
    """By topic, the URI template of the address of a list that shows the present state."""
    endings: FollowedEndings
    outcomes: Callable[[str], Awaitable[LiveTopic]] = field(default=_no_outcomes)
    """Makes the reader of a topic of outcomes. Raises Problem 404 if there is none."""
    inbox: Inbox = field(default_factory=lambda: Inbox(KafkaAccess(bootstrap="")))
    """Where publishers' events are kept."""
    limits: Limits = field(default_factory=Limits)
    count: Callable[[str, str], None] = lambda _publisher, _outcome: None
    """Called for each event that a publisher has sent, with what became of it: `kept`, `refused` or `not-kept`."""
    stopping: bool = False
    _following: asyncio.Task[None] | None = field(default=None, init=False)
    _of_outcomes: dict[str, LiveTopic] = field(default_factory=dict, init=False)

    async def topic(self, name: str, actor: Actor) -> LiveTopic:
        """Return a topic whose newest events are in memory. Raises Problem 404 or 503."""
        topic = self.topics.get(name) or self._of_outcomes.get(name)
        if is_outcomes(name) and not hears(actor, name):
            topic = None
        elif is_outcomes(name) and topic is None:
            topic = self._of_outcomes.setdefault(name, await self.outcomes(name))
        if topic is None:
            raise _no_topic(self.topics)
        topic.start()
        try:
            async with asyncio.timeout(LOADED_S):
                await topic.loaded.wait()
        except TimeoutError:
            raise cannot_be_read() from None
        return topic

    def start(self) -> None:
        """Follow the endings of sessions from the first request on."""
        if self._following is None:
            self._following = asyncio.create_task(self.endings.run(), name="endings")

    def drain(self) -> None:
        """Let all streams end within a second; their subscribers go on at another process."""
        self.stopping = True

    async def stop(self) -> None:
        """Stop all readers, and close the inbox."""
        self.stopping = True
        await self.inbox.stop()
        for topic in (*self.topics.values(), *self._of_outcomes.values()):
            await topic.stop()
        if self._following is not None:
            self._following.cancel()
            self._following = None

    async def page(
        self, topic: LiveTopic, subscriber: Subscriber, wanted: Wanted, after: int, limit: int, wait_s: float
    ) -> tuple[list[Frame], int]:
        """Return the next wanted events, and the position up to which all were looked through.

        Args:
            wait_s: How long to wait for the first one, if there is none yet.

        Raises:
            Problem: 410 if the events after the position are not kept, 503 if Kafka can't be read.
        """
        found: list[Frame] = []
        position, scanned, until = after, 0, time.monotonic() + wait_s
        while len(found) < limit and scanned < SCANNED and not self.stopping:
            try:
                frames = await topic.after(position)
            except Lost as lost:
                if found:
                    break
                raise self._not_kept(topic, lost) from None
            except Exception as fault:
                raise cannot_be_read() from fault
            for frame in frames:
                position = frame.position
                if wanted.admits(frame):
                    found.append(frame)
                if len(found) == limit:
                    break
            scanned += len(frames)
            left = until - time.monotonic()
            if not frames:
                if found or left <= 0 or self.callers.ended(subscriber):
                    break
                await topic.news(wanted, min(left, CHECK_S))
        return found, position

    async def require(self, topic: LiveTopic, position: int) -> None:
        """Raise Problem 422 if a topic ends before a position, from which nobody can go on."""
        if not await topic.comes_to(position):
            raise beyond(topic.topic, position, topic.window.head)

    def snapshot(self, topic: str) -> str:
        """Return the URI template of where to read the state that a topic's lost events led to."""
        return self.snapshots.get(topic, OUTCOME)

    def _not_kept(self, topic: LiveTopic, lost: Lost) -> Problem:
        return Problem(
            rule=own_rules.POSITION_NOT_KEPT,
            reason=f"The events after position {lost.after} are not kept; the oldest later one is {lost.nearest}.",
            remedy=f"Read the present state at {self.snapshot(topic.topic)}, then go on after {lost.nearest - 1}.",
        )


def own_topic(service: str) -> str:
    """Return the topic of a service's own events."""
    return topic_of(service)


def live_edge(settings: Settings, metrics: Metrics, limits: Limits) -> LiveEdge | None:
    """Return the live edge of a process; None without a Kafka."""
    access: KafkaAccess = settings.kafka
    if not access.bootstrap:
        return None
    identity = settings.url_of("identity")
    endings = FollowedEndings(access, identity)
    verifier = TokenVerifier(fetcher(identity), endings, issuer=settings.token_issuer)
    catch_ups = asyncio.Semaphore(CATCH_UPS)
    topics = {topic_of(name): LiveTopic(topic_of(name), access, catch_ups) for name in SERVICES}
    snapshots = {topic: settings.url_of(service_of(topic)) + SNAPSHOTS[service_of(topic)] for topic in topics}

    async def outcomes(name: str) -> LiveTopic:
        try:
            found = await exists(name, access)
        except Exception as fault:
            raise cannot_be_read() from fault
        if not found:
            raise _no_topic(topics)
        return LiveTopic(name, access, catch_ups)

    edge = LiveEdge(
        callers=Callers(verifier, endings),
        topics=topics,
        snapshots=snapshots,
        endings=endings,
        outcomes=outcomes,
        inbox=Inbox(access),
        limits=limits,
        count=metrics.count(
            "tenure_events_received", "Publishers' events by HTTP, by what became of them", ("publisher", "outcome")
        ),
    )
    metrics.watch("tenure_live_streams", "Open streams and waiting feeds", lambda: edge.callers.streams)
    return edge


def _no_topic(topics: Iterable[str]) -> Problem:
    return unknown("topic", f"The topics are {', '.join(topics)}, and a publisher's outcomes.")


def cannot_be_read() -> Problem:
    """Return Problem 503 for a topic of which Kafka says nothing now."""
    return unavailable("The topic can't be read now.")
