"""The delivery of the events of one webhook.

Wanted events are queued from the topic, in the transaction that moves the webhook's position. The first event of each
stream is sent once it is due; the next one of the stream follows when it was accepted. What concerns one event alone
holds back its stream, what concerns the address holds back all.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

import structlog

from services.identity.domain.account import OpenedAccount, publisher_of
from services.identity.domain.machine import Registered
from services.identity.domain.webhook import (
    SENDER,
    WEBHOOK,
    Command,
    EndWebhook,
    ParkWebhook,
    Reader,
    Running,
)
from services.identity.webhooks import store
from services.identity.webhooks.addresses import Lookup, Network, look_up
from services.identity.webhooks.attempts import AT_ONCE, ATTEMPT_S, Answer, Message, Receiver
from services.identity.webhooks.routes import reader_of
from services.identity.webhooks.signature import headers_of
from services.identity.webhooks.store import Progress, Waiting
from shared.eventlog.deliver.ordered import Lost
from shared.eventlog.write.log import Log, Meta, utc_now
from shared.eventlog.write.postgres import TRANSIENT
from shared.eventlog.write.store import Conflict, Unavailable
from shared.events import WebhookParked
from shared.events.envelope import derived_id
from shared.events.identity import WebhookParkedReason
from shared.runtime.auth import Actor
from shared.runtime.database import Pool
from shared.runtime.live.topic import LiveTopic
from shared.runtime.live.wanted import Wanted, visible_to

logger = structlog.get_logger("webhooks")

QUEUED: Final = 1_000
"""How many events of a webhook wait before no more are queued: then a stream that is held back holds back others."""
ALL_AT_ONCE: Final = 64
"""How many events are sent at a time, of all webhooks."""
_FOR_NOW: Final = (*TRANSIENT, Unavailable, Conflict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a webhook is tried, in seconds."""

    first_pause_s: float = 5.0
    longest_pause_s: float = 900.0
    park_after_s: float = 72 * 3600.0
    idle_s: float = 1.0
    """How long a webhook with nothing to send waits before it looks again, and how old its right may be."""
    attempt_s: float = ATTEMPT_S

    def pause_after(self, failures: int) -> timedelta:
        """Return the pause after this many earlier failures, give or take a quarter."""
        pause_s = min(self.first_pause_s * 2 ** min(failures, 30), self.longest_pause_s)
        return timedelta(seconds=pause_s * random.uniform(0.75, 1.25))  # noqa: S311  # spreads attempts, hides nothing


@dataclass(kw_only=True)
class Parts:
    """What all deliveries of a process share."""

    db: Pool
    log: Log
    topics: Mapping[str, LiveTopic]
    allowed: Sequence[Network] = ()
    lookup: Lookup = look_up
    pace: Pace = field(default_factory=Pace)
    count: Callable[[str], None] = lambda _outcome: None
    """Called with the outcome of each attempt."""
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ALL_AT_ONCE))


class Delivery:
    """The sender of one webhook's events."""

    def __init__(self, webhook_id: str, parts: Parts) -> None:
        self._id, self._parts, self._pace = webhook_id, parts, parts.pace
        self._webhook: Running | None = None
        self._wanted = Wanted()
        self._checked_at = float("-inf")
        self._receiver: Receiver | None = None
        self._filling: asyncio.Task[None] | None = None
        self._sending: dict[str, asyncio.Task[None]] = {}
        self.stopped = self.parked = False

    async def run(self) -> None:
        """Send until the webhook has ended; errors of the database are waited for."""
        try:
            while True:
                try:
                    webhook = await self._current()
                    if webhook is None:
                        return
                    await self._go_on(webhook)
                except _FOR_NOW as fault:
                    logger.warning("a webhook waits: the database is unavailable", webhook=self._id, fault=repr(fault))
                    await asyncio.sleep(self._pace.idle_s)
        finally:
            await self._halt()
            if self._receiver is not None:
                await self._receiver.close()

    async def _current(self) -> Running | None:
        """Return the webhook as it is; None once it has ended, or its right to read has."""
        if time.monotonic() - self._checked_at < self._pace.idle_s:
            return self._webhook
        state = await self._parts.log.state(WEBHOOK, self._id)
        if not isinstance(state, Running):
            return None
        reader = await reader_of(self._parts.log, state.registered)
        if (why := reader.ended(utc_now())) is not None:
            await self._execute(EndWebhook(reason=why), "end")
            return None
        made = state.registered
        self._wanted = replace(visible_to(_actor(reader)), types=frozenset(made.types), streams=frozenset(made.streams))
        self.stopped, self.parked = state.stopped is not None, isinstance(state.stopped, WebhookParked)
        self._webhook, self._checked_at = state, time.monotonic()
        return state

    async def _go_on(self, webhook: Running) -> None:
        """Begin what can be begun, and wait until something changes."""
        if webhook.stopped is not None:
            await self._halt()
            await asyncio.sleep(self._pace.idle_s)
            return
        progress = await store.progress(self._parts.db, self._id)
        if progress is not None and progress.replays != webhook.replays:
            await self._halt()
            await store.replay(self._parts.db, webhook)
        elif progress is not None and progress.resumes != webhook.resumes:
            await self._halt()
            await store.resume(self._parts.db, webhook)
        else:
            if progress is not None and progress.open and progress.queued:
                await self._begin(webhook, progress)
            if self._filling is None:
                self._filling = asyncio.create_task(self._fill(webhook, progress), name=f"webhook {self._id} fills")
        if tasks := {*self._sending.values(), *([self._filling] if self._filling else [])}:
            await asyncio.wait(tasks, timeout=self._pace.idle_s, return_when=asyncio.FIRST_COMPLETED)
            self._reap()

    async def _begin(self, webhook: Running, progress: Progress) -> None:
        """Begin to send what is due."""
        free = AT_ONCE - len(self._sending)
        if free <= 0:
            return
        if self._receiver is None:
            address, parts = webhook.registered.address, self._parts
            self._receiver = Receiver(address, parts.allowed, lookup=parts.lookup, attempt_s=self._pace.attempt_s)
        for event in await store.due(self._parts.db, self._id, self._sending.keys(), free):
            sending = self._send(self._receiver, webhook, event, progress.failures)
            self._sending[event.stream] = asyncio.create_task(sending, name=f"webhook {self._id}")

    def _reap(self) -> None:
        """Forget what is done. Raises what it raised."""
        done = [stream for stream, task in self._sending.items() if task.done()]
        finished = [self._sending.pop(stream) for stream in done]
        if self._filling is not None and self._filling.done():
            finished.append(self._filling)
            self._filling = None
        for task in finished:
            task.result()

    async def _halt(self) -> None:
        """Stop what was begun. An event whose answer is not awaited any more is sent again."""
        tasks = [*self._sending.values(), *([self._filling] if self._filling else [])]
        self._sending, self._filling = {}, None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ── The queue ──────────────────────────────────────────────────────────────────────────────────────

    async def _fill(self, webhook: Running, progress: Progress | None) -> None:
        """Queue the next page of events; without one, wait for news."""
        topic = self._parts.topics[webhook.registered.topic]
        topic.start()
        try:
            await topic.loaded.wait()
            await self._fill_from(topic, webhook, progress)
        except Lost as lost:
            await self._park("events-not-kept", lost.nearest, "")
        except _FOR_NOW:
            raise
        except Exception as fault:  # noqa: BLE001  # Whatever Kafka's client raises; the position stays.
            logger.warning("a webhook's topic can't be read now", webhook=self._id, fault=repr(fault))
            await asyncio.sleep(self._pace.idle_s)

    async def _fill_from(self, topic: LiveTopic, webhook: Running, progress: Progress | None) -> None:
        db, made = self._parts.db, webhook.registered
        if progress is None:
            begin = made.after if made.after is not None else await topic.position_at(made.registered_at)
            await store.begin(db, webhook, begin)
        elif progress.queued >= QUEUED:
            await asyncio.sleep(self._pace.idle_s)
        elif frames := await topic.after(progress.position):
            wanted = [frame for frame in frames if self._wanted.admits(frame)]
            await store.enqueue(db, self._id, wanted, frames[-1].position)
        else:
            await topic.news(self._wanted, self._pace.idle_s)

    # ── An event ───────────────────────────────────────────────────────────────────────────────────────

    async def _send(self, receiver: Receiver, webhook: Running, event: Waiting, failures: int) -> None:
        """Send an event, and note what became of it."""
        db, began = self._parts.db, utc_now()
        secrets = await store.secrets(db, webhook, began)
        if not secrets:
            await self._park("secret-missing", event.position, "")
            return
        headers = headers_of(event.event_id, int(began.timestamp()), event.body, secrets)
        async with self._parts.slots:
            answer = await receiver.send(Message(headers, event.body))
        self._parts.count(answer.outcome)
        if answer.outcome == "accepted":
            await store.accepted(db, self._id, event.position, answer.said)
        elif answer.outcome == "gone":
            await self._execute(EndWebhook(reason="gone"), "end")
            self._checked_at = float("-inf")
        else:
            await self._failed(event, answer, failures)

    async def _failed(self, event: Waiting, answer: Answer, failures: int) -> None:
        away, asked = answer.outcome == "away", timedelta(seconds=answer.retry_after_s)
        pause = max(self._pace.pause_after(failures if away else event.tries), asked)
        failing_s = await store.postpone(
            self._parts.db,
            self._id,
            event,
            pause * 1.01 if away else pause,  # so that another stream's event is the next that is tried
            answer.said,
            began=utc_now(),
            counts=not away,
        )
        if away:
            await store.hold(self._parts.db, self._id, pause)
        logger.info(
            "webhook",
            webhook=self._id,
            outcome=answer.outcome,
            said=answer.said,
            event_id=event.event_id,
            pause_s=pause.total_seconds(),
        )
        if failing_s >= self._pace.park_after_s:
            await self._park("not-accepted", event.position, answer.said)

    async def _park(self, reason: WebhookParkedReason, position: int, said: str) -> None:
        webhook = self._webhook
        turn = "" if webhook is None else f"{webhook.resumes}.{webhook.replays}"
        await self._execute(ParkWebhook(reason=reason, position=position, last_answer=said), f"park.{turn}")
        self._checked_at = float("-inf")

    async def _execute(self, command: Command, step: str) -> None:
        meta = Meta(derived_id(SENDER, self._id, step), SENDER, utc_now(), derived=True)
        await self._parts.log.execute(WEBHOOK, self._id, command, meta)
        logger.warning("webhook", webhook=self._id, command=type(command).__name__, why=str(command))


def _actor(reader: Reader) -> Actor:
    """Return the caller that the reader is on the live edge."""
    if isinstance(reader.machine, Registered):
        machine = reader.machine.registered
        return Actor(
            account_id=machine.acts_for or machine.client_id,
            organisation_id=machine.organisation_id,
            organisation_kind=machine.organisation_kind,
            publisher=machine.publisher,
            client_id=machine.client_id,
        )
    if not isinstance(reader.account, OpenedAccount):
        raise TypeError("nobody reads for an account that is not open")
    opened = reader.account.opened
    return Actor(
        account_id=opened.account_id,
        organisation_id=opened.organisation_id,
        organisation_kind=opened.organisation_kind,
        publisher=publisher_of(opened),
    )
