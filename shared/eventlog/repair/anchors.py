"""Anchors: records of a log's head outside of its store, to detect a cut or rewritten log.

The relay writes an anchor every thousand events, and every minute in which it published something: to the service's own
topic of anchors, which no other service may write to, and to a file. Neither is ever rewritten. An anchor is valid for
every faithful copy of the log, because the chain does not depend on how events were batched.
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
from shared.eventlog.repair.chains import location
from shared.eventlog.repair.topic import TopicReader
from shared.eventlog.write.store import Unavailable
from shared.events.envelope import Unreadable, stamp

logger = structlog.get_logger(__name__)

FORMER: Final = "anchors.v1"
"""The former topic, shared by all services: it is read if it exists, and never written."""
EVERY_EVENTS: Final = 1_000
EVERY_S: Final = 60.0

ChainAt = Callable[[int], Awaitable[tuple[int, bytes]]]


def topic_of_anchors(service: str) -> str:
    """Return the name of the topic with only this service's anchors."""
    return f"{FORMER}.{service}"


class Anchor(NamedTuple):
    """The chain of a service's log at a position."""

    service: str
    position: int
    chain: bytes
    time: str = ""

    def line(self) -> bytes:
        fields = {"service": self.service, "position": self.position, "chain": self.chain.hex(), "time": self.time}
        return json.dumps(fields).encode()

    @classmethod
    def read(cls, line: bytes) -> Self:
        """Parse an anchor. Raises Unreadable if the line is not one."""
        try:
            fields = json.loads(line)
            chain = bytes.fromhex(fields["chain"])
            return cls(str(fields["service"]), int(fields["position"]), chain, str(fields["time"]))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise Unreadable(f"not an anchor: {line[:80]!r} ({type(error).__name__})") from None


class Anchors:
    """Writer of one service's anchors.

    Publishing never waits for an anchor. One that can't be written is skipped: the next one covers its events too.
    """

    def __init__(self, service: str, chain_at: ChainAt, folder: Path | None = None) -> None:
        self._service, self._chain_at = service, chain_at
        self._file = None if folder is None else file_of(folder, service)
        self._position = self._at = 0.0
        self._warned = False
        self._writing: asyncio.Task[None] | None = None

    def note(self, relayed: int, producer: Any) -> None:
        """Start to write an anchor if one is due, once everything up to `relayed` is published."""
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
        """Write an anchor of the last batch up to `relayed`, unless it is written already."""
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
            if not self._warned:
                logger.warning("could not write an anchor", service=self._service, fault=repr(fault))
            self._warned = True
        else:
            self._warned = False
        self._position, self._at = relayed, now


def file_of(folder: Path, service: str) -> Path:
    return folder / f"{service}.jsonl"


def _append(file: Path, line: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as out:
        out.write(line + b"\n")


def from_file(folder: Path | None, service: str) -> tuple[list[Anchor], list[str]]:
    """Read the anchors in the service's file, and a message for each line that is not an anchor."""
    file = None if folder is None else file_of(folder, service)
    if file is None or not file.exists():
        return [], []
    lines = [(f"{file}, line {n}", line) for n, line in enumerate(file.read_bytes().splitlines(), start=1) if line]
    return _read(service, lines)


async def from_topic(access: KafkaAccess, service: str) -> tuple[list[Anchor], list[str]]:
    """Read the service's anchors from its topic and the former topic.

    Returns the anchors, and a message for each record that is not an anchor. Raises KafkaError.
    """
    async with TopicReader(topic_of_anchors(service), access) as reader:
        lines = await _lines(reader, service)
        has_former = FORMER in await reader.topics()
    if has_former:
        async with TopicReader(FORMER, access) as reader:
            lines = await _lines(reader, service) + lines
    return _read(service, lines)


async def _lines(reader: TopicReader, service: str) -> list[tuple[str, bytes]]:
    """Read each record under the service's name, with its location."""
    lines: list[tuple[str, bytes]] = []
    at = dict(reader.starts)
    while raws := await reader.read(at, at):
        mine = (raw for batch in raws.values() for raw in batch if raw.key == service.encode())
        lines += [(location(raw), raw.value or b"") for raw in mine]
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
