"""The supervisor, which starts, restarts and stops the parts of a system."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from deploy import OperatorError
from deploy.stack import NotReady, Part

T = TypeVar("T")
_LONGEST_PAUSE_S: Final = 30.0
_HEALTHY_AFTER_S: Final = 60.0
_TICK_S: Final = 0.15
_STARTING_TICK_S: Final = 0.05
"""While somebody waits for parts that start."""
_PROBE_EVERY_S: Final = 0.1
_DEATHS_WHILE_STARTING: Final = 3


class Stopped(Exception):
    """A signal such as SIGTERM or SIGINT asked the supervisor to stop."""


@dataclass(kw_only=True, slots=True)
class _Watched:
    part: Part
    started_at: float
    ready_at: float | None = None
    starts_at: float | None = None  # the time of the next start, if it is down
    probed_at: float = 0.0
    why: str = ""  # the reason why it is not ready
    deaths: int = 0
    restarts: int = 0

    @property
    def pause_s(self) -> float:
        return float(min(2 ** (self.deaths - 1), _LONGEST_PAUSE_S))


@dataclass(kw_only=True)
class Supervisor:
    """Starts parts and watches them.

    `state_file` has the current state as JSON; messages go to standard output.
    """

    state_file: Path
    _groups: list[list[_Watched]] = field(default_factory=list)
    _phase: str = "starting"
    _stopping: bool = False
    _written: str = ""

    def __post_init__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)

    def _ask_to_stop(self, *_: object) -> None:
        self._stopping = True

    def bring_up(self, *groups: Sequence[Part]) -> None:
        """Start all of these parts in parallel, and return when all are ready.

        The groups are stopped one after another, the last first.

        Raises:
            OperatorError: A part died three times, or was not ready in time.
            Stopped: A signal asked to stop.
        """
        self.begin(*groups)
        new = [watched for group in self._groups[-len(groups) :] for watched in group] if groups else []
        while not all(watched.ready_at for watched in new):
            self.tick(_STARTING_TICK_S)
            for watched in new:
                late = time.monotonic() - watched.started_at > watched.part.ready_within_s
                if not watched.ready_at and (late or watched.deaths >= _DEATHS_WHILE_STARTING):
                    name, log = watched.part.name, watched.part.log
                    raise OperatorError(f"{name} did not become ready ({watched.why}): see the end of {log}.")

    def begin(self, *groups: Sequence[Part]) -> None:
        """Start all of these parts in parallel, without waiting until they are ready."""
        parts = [part for group in groups for part in group]
        if not parts:
            return
        for part in parts:
            self.say(f"{part.name} is starting on port {part.port}")
        started_at = time.monotonic()
        self._groups += [[_Watched(part=part, started_at=started_at) for part in group] for group in groups]
        with ThreadPoolExecutor(len(parts)) as pool:  # prepares the folders in parallel
            list(pool.map(lambda part: part.spawn(), parts))

    def meanwhile(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work while watching the parts, and return its result.

        Raises:
            Stopped: A signal asked to stop; the work was cancelled.
        """

        async def both() -> T:
            task = asyncio.ensure_future(work)
            try:
                while not task.done():
                    self._check()
                    await asyncio.wait([task], timeout=_TICK_S)
            finally:
                task.cancel()
            return await task

        return asyncio.run(both())

    def watch(self) -> None:
        """Watch the running system until Stopped is raised."""
        self._phase = "ready"
        while True:
            self.tick()

    def tick(self, pause_s: float = _TICK_S) -> None:
        self._check()
        time.sleep(pause_s)

    def _check(self) -> None:
        """Check every part once.

        Raises:
            Stopped: A signal asked to stop.
        """
        if self._stopping:
            raise Stopped
        for group in self._groups:
            for watched in group:
                self._check_part(watched)
        self._write_state()

    def stop(self, why: str) -> None:
        """Stop all groups, the last first, the parts of each in parallel."""
        self._phase = "stopping"
        self.say(why)
        for group in reversed(self._groups):
            self._write_state()
            with ThreadPoolExecutor(len(group)) as pool:
                in_order = list(pool.map(lambda watched: watched.part.stop(), group))
            for watched, by_itself in zip(group, in_order, strict=True):
                name, patience_s = watched.part.name, watched.part.stop_within_s
                self.say(
                    f"{name} has stopped" if by_itself else f"{name} was killed: it did not stop in {patience_s:.0f} s"
                )
        self._groups.clear()

    def say(self, text: str) -> None:
        with contextlib.suppress(OSError):
            print(f"{datetime.now().astimezone():%H:%M:%S} {text}", flush=True)

    def _check_part(self, watched: _Watched) -> None:
        part, now = watched.part, time.monotonic()
        if watched.starts_at is not None:
            if now >= watched.starts_at:
                self._start_again(watched)
        elif not part.alive:
            self._has_died(watched, _how_it_ended(part.exit_code))
        elif watched.ready_at is None:
            if now - watched.probed_at >= _PROBE_EVERY_S:
                self._probe(watched)
        elif watched.deaths and now - watched.ready_at >= _HEALTHY_AFTER_S:
            watched.deaths = 0

    def _probe(self, watched: _Watched) -> None:
        try:
            watched.part.probe()
        except NotReady as why:
            watched.why = str(why)
        else:
            watched.ready_at = time.monotonic()
            self.say(f"{watched.part.name} is ready ({watched.ready_at - watched.started_at:.1f} s)")
        watched.probed_at = time.monotonic()

    def _has_died(self, watched: _Watched, how: str) -> None:
        watched.deaths += 1
        watched.why = f"it {how}"
        watched.ready_at = None
        watched.starts_at = time.monotonic() + watched.pause_s
        self.say(f"{watched.part.name} {how} and is restarted in {watched.pause_s:.0f} s. Its last lines:")
        for line in watched.part.last_lines():
            self.say(f"    {line[:400]}")

    def _start_again(self, watched: _Watched) -> None:
        watched.starts_at, watched.started_at = None, time.monotonic()
        watched.restarts += 1
        try:
            watched.part.spawn()
        except OperatorError as error:
            self._has_died(watched, f"could not be started: {error}")

    def _write_state(self) -> None:
        parts = [_state_of(watched) for group in self._groups for watched in group]
        state = json.dumps({"pid": os.getpid(), "phase": self._phase, "parts": parts})
        if state != self._written:
            with contextlib.suppress(OSError):  # a full disk must not stop the supervisor
                fresh = self.state_file.with_suffix(".new")
                fresh.write_text(state)
                fresh.replace(self.state_file)
                self._written = state


def _state_of(watched: _Watched) -> dict[str, Any]:
    state = "down" if watched.starts_at is not None else "starting" if watched.ready_at is None else "ready"
    part = watched.part
    return {"name": part.name, "state": state, "port": part.port, "pid": part.pid, "restarts": watched.restarts}


def _how_it_ended(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code}"
