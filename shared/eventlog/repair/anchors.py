"""Anchors: where a store's head stood, noted outside of the store, so that a cut tail or a rewritten store shows.

The relay writes one every thousand events and every minute in which something was published: to the service's own topic
of anchors, which no other service may write, and to a file. Neither is ever rewritten, and an anchor holds for any
faithful copy of the log: its chain does not depend on how events were batched.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import structlog
from aiokafka.errors import KafkaError

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.repair.chains import place
from shared.eventlog.repair.topic import TopicReader
from shared.eventlog.write.store import Unavailable
from shared.events.envelope import Unreadable, stamp

logger = structlog.get_logger(__name__)

FORMER: Final = "anchors.v1"
"""The one topic of all services' anchors that there was before: read where it exists, never written."""
EVERY_EVENTS: Final = 1_000
EVERY_S: Final = 60.0

ChainAt = Callable[[int], Awaitable[tuple[int, bytes]]]


def topic_of_anchors(service: str) -> str:
    """The topic that has this service's anchors, and no other's."""
    return f"{FORMER}.{service}"


class Anchor(NamedTuple):
    """At `position`, `service`'s chain was this."""

    service: str
    position: int
    chain: bytes
    time: str = ""

    def line(self) -> bytes:
        fields = {"service": self.service, "position": self.position, "chain": self.chain.hex(), "time": self.time}
        return json.dumps(fields).encode()

    @classmethod
    def read(cls, line: bytes) -> Self:
        """Raises Unreadable on anything that is not an anchor."""
        try:
            found = json.loads(line)
            return cls(str(found["service"]), int(found["position"]), bytes.fromhex(found["chain"]), str(found["time"]))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise Unreadable(f"it is not an anchor: {line[:80]!r} ({type(error).__name__})") from None


class Anchors:
    """Writes one service's anchors. What can't be written now is made up for by the next one: publishing never waits
    for an anchor."""

    def __init__(self, service: str, chain_at: ChainAt, folder: Path | None = None) -> None:
        self._service, self._chain_at = service, chain_at
        self._file = None if folder is None else file_of(folder, service)
        self._position = self._at = 0.0
        self._said = False
        self._writing: asyncio.Task[None] | None = None

    def note(self, relayed: int, producer: Any) -> None:
        """After everything up to `relayed` was published. Begins to write an anchor when it is time for one."""
        now = asyncio.get_running_loop().time()
        if relayed <= self._position or (relayed - self._position < EVERY_EVENTS and now - self._at < EVERY_S):
            return
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self.write(relayed, producer), name="anchor")

    async def stop(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    async def write(self, relayed: int, producer: Any) -> None:
        """Writes an anchor of the last batch up to `relayed`, unless there is one."""
        now = asyncio.get_running_loop().time()
        try:
            position, chain = await self._chain_at(relayed)
            anchor = Anchor(self._service, position, chain, stamp(datetime.now(UTC)))
            if position <= self._position:
                return
            await producer.send_and_wait(topic_of_anchors(self._service), anchor.line(), key=self._service.encode())
            if self._file is not None:
                await asyncio.to_thread(_append, self._file, anchor.line())
        except (KafkaError, OSError, Unavailable) as fault:
            if not self._said:
                logger.warning("an anchor could not be written", service=self._service, fault=repr(fault))
            self._said = True
        else:
            self._said = False
        self._position, self._at = relayed, now


def file_of(folder: Path, service: str) -> Path:
    return folder / f"{service}.jsonl"


def _append(file: Path, line: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as out:
        out.write(line + b"\n")


def from_file(folder: Path | None, service: str) -> tuple[list[Anchor], list[str]]:
    """The file's anchors, and what in it is none."""
    file = None if folder is None else file_of(folder, service)
    if file is None or not file.exists():
        return [], []
    lines = [(f"{file}, line {n}", line) for n, line in enumerate(file.read_bytes().splitlines(), start=1) if line]
    return _read(service, lines)


async def from_topic(access: KafkaAccess, service: str) -> tuple[list[Anchor], list[str]]:
    """The anchors of the service in its topic and in the former one, and what there is none. Raises KafkaError."""
    async with TopicReader(topic_of_anchors(service), access) as reader:
        lines = await _lines(reader, service)
        has_former = FORMER in await reader.topics()
    if has_former:
        async with TopicReader(FORMER, access) as reader:
            lines = await _lines(reader, service) + lines
    return _read(service, lines)


async def _lines(reader: TopicReader, service: str) -> list[tuple[str, bytes]]:
    """Each record under the service's name, and where it lies."""
    lines: list[tuple[str, bytes]] = []
    at = dict(reader.starts)
    while raws := await reader.read(at, at):
        mine = (raw for batch in raws.values() for raw in batch if raw.key == service.encode())
        lines += [(place(raw), raw.value or b"") for raw in mine]
    return lines


def _read(service: str, lines: list[tuple[str, bytes]]) -> tuple[list[Anchor], list[str]]:
    anchors, strange = [], []
    for where, line in lines:
        try:
            anchor = Anchor.read(line)
        except Unreadable as why:
            strange.append(f"{where}: {why}")
            continue
        if anchor.service == service:
            anchors.append(anchor)
    return anchors, strange
