"""What verifications leave behind: how far each has come, and up to where a log was sound.

Both are in a file beside the anchors (`<service>.verified.json`), outside of the store that they speak about: whoever
can alter the store, or its schema `engine`, does not reach it. It is written as a whole and then renamed. Nothing in it
is believed that the store contradicts: a position counts only if the store still has a batch that ends there, with the
chain that was computed from the events. Without a folder nothing is kept.
"""

import fcntl
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from shared.eventlog.repair.findings import Finding, Findings
from shared.eventlog.repair.store_check import BEGIN, Point
from shared.eventlog.repair.topic_check import Presence

_FORM: Final = 1
"""The form of the file. What has another one is ignored."""


class Reached(NamedTuple):
    """How far a partition was read.

    Attributes:
        offset: the next offset.
        digest: of the record before it, b"" if there is none.
        last: the highest position among the partition's events.
    """

    offset: int
    digest: bytes
    last: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Sound:
    """Up to where a log was sound, and when that was checked.

    Attributes:
        store: the position and the chain there.
        time: when the last check began.
        whole: the position up to which the last check of the whole store came.
        whole_time: when that began.
        partitions: how far the topic was read; empty if it was not.
        published: the position up to which the topic had everything.
    """

    store: Point
    time: str
    whole: int
    whole_time: str
    partitions: Mapping[int, Reached] = field(default_factory=dict)
    published: int = 0


@dataclass(kw_only=True, slots=True)
class Run:
    """A verification: where it began, and how far it has come.

    Attributes:
        since: the position after which it began.
        store: how far the store was checked.
        partitions: how far the topic was read.
        present: the positions that the topic has.
    """

    began: str
    findings: Findings
    since: int = 0
    store: Point = BEGIN
    partitions: dict[int, Reached] = field(default_factory=dict)
    present: Presence = field(default_factory=Presence)
    events: int = 0
    batches: int = 0
    records: int = 0


class Kept:
    """The file of one service. Of two verifications at a time, the second keeps nothing."""

    def __init__(self, file: Path | None, service: str) -> None:
        self._file, self._service = file, service
        self._content: dict[str, Any] = _read(file)

    @property
    def keeps(self) -> bool:
        """Whether anything is kept."""
        return self._file is not None

    def sound(self) -> Sound | None:
        """Return up to where the log was sound; None if nothing is known."""
        try:
            kept = self._content["sound"]
            return Sound(
                store=_point(kept["store"]),
                time=str(kept["time"]),
                whole=int(kept["whole"]),
                whole_time=str(kept["whole_time"]),
                partitions=_partitions(kept["partitions"]),
                published=int(kept["published"]),
            )
        except (KeyError, TypeError, ValueError):
            return None

    def run(self, kind: str) -> Run | None:
        """Return a verification of this kind that was stopped; None if there is none."""
        try:
            kept = self._content["runs"][kind]
            findings = Findings(self._service, [Finding(*each) for each in kept["findings"]], int(kept["number"]))
            return Run(
                began=str(kept["began"]),
                findings=findings,
                since=int(kept["since"]),
                store=_point(kept["store"]),
                partitions=_partitions(kept["partitions"]),
                present=Presence(int(kept["base"]), zlib.decompress(bytes.fromhex(kept["present"]))),
                events=int(kept["events"]),
                batches=int(kept["batches"]),
                records=int(kept["records"]),
            )
        except (KeyError, TypeError, ValueError, zlib.error):
            return None

    def keep(self, kind: str, run: Run) -> None:
        """Keep how far a verification has come."""
        runs = self._content.setdefault("runs", {})
        runs[kind] = {
            "began": run.began,
            "since": run.since,
            "store": _plain(run.store),
            "partitions": _plain_partitions(run.partitions),
            "base": run.present.base,
            "present": zlib.compress(bytes(run.present.bits), 1).hex(),
            "events": run.events,
            "batches": run.batches,
            "records": run.records,
            "findings": run.findings.first,
            "number": run.findings.number,
        }
        self._write()

    def end(self, kind: str, sound: Sound | None) -> None:
        """Forget a verification, and note up to where the log is sound. None: it is not."""
        self._content.setdefault("runs", {}).pop(kind, None)
        self._content["sound"] = (
            None
            if sound is None
            else {
                "store": _plain(sound.store),
                "time": sound.time,
                "whole": sound.whole,
                "whole_time": sound.whole_time,
                "partitions": _plain_partitions(sound.partitions),
                "published": sound.published,
            }
        )
        self._write()

    def _write(self) -> None:
        if self._file is None:
            return
        draft = self._file.with_suffix(".draft")
        with open(draft, "w", opener=_private) as out:
            json.dump({**self._content, "form": _FORM}, out)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(self._file)


@contextmanager
def kept(folder: Path | None, service: str) -> Iterator[Kept]:
    """Open the service's file, which nobody else writes meanwhile.

    Nothing is kept without a folder, in one that is not there or can't be written, and while another verification does.
    """
    try:
        if folder is None:
            raise FileNotFoundError
        lock = open(folder / f"{service}.verified.lock", "a", opener=_private)  # noqa: SIM115  # closed below
    except OSError:
        yield Kept(None, service)
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield Kept(None, service)
            return
        yield Kept(folder / f"{service}.verified.json", service)


def _read(file: Path | None) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes()) if file is not None else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) and content.get("form") == _FORM else {}


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _point(kept: Any) -> Point:
    position, chain = kept
    return Point(int(position), bytes.fromhex(chain))


def _plain(point: Point) -> list[object]:
    return [point.position, point.chain.hex()]


def _partitions(kept: Any) -> dict[int, Reached]:
    return {int(n): Reached(int(each[0]), bytes.fromhex(each[1]), int(each[2])) for n, each in kept.items()}


def _plain_partitions(partitions: Mapping[int, Reached]) -> dict[str, list[object]]:
    return {str(n): [each.offset, each.digest.hex(), each.last] for n, each in partitions.items()}
