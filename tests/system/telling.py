"""The story, and a note of what its clients were answered: `python -m tests.system.telling FILE`, as `deploy.story`.

A line of JSON for each accepted command: its service, its id, its stream, the ids of its events.
"""

import contextvars
import json
import runpy
import sys
from pathlib import Path
from secrets import token_hex
from typing import Any
from unittest.mock import patch

from deploy.story import doors
from deploy.story.doors import Doors, Person, Reply
from tests.oracle.evidence import Asked

_key: contextvars.ContextVar[str] = contextvars.ContextVar("key")


def heard(file: Path) -> list[Asked]:
    """What was noted there, by whichever story."""
    lines = file.read_text().splitlines() if file.exists() else []
    notes = [json.loads(line) for line in lines]
    return [Asked(n["id"], n["service"], n["stream"], "ok", tuple(n["events"])) for n in notes]


def _noted(file: Path) -> Any:
    """`Doors.call`, with a note of each command that was accepted and led to events."""
    call = Doors.call

    def keyed(size: int) -> str:
        _key.set(token_hex(size))
        return _key.get()

    async def noting(
        self: Doors, service: str, method: str, path: str, who: Person | None = None, body: Any = None
    ) -> Reply:
        reply = await call(self, service, method, path, who, body)
        said = reply.json() if method != "GET" and reply.status_code == 200 else {}
        if isinstance(said, dict) and said.get("events") and not said["dry_run"]:
            asker = who.account_id if who is not None else ""
            note = {
                "service": service,
                "id": f"{asker or 'anybody'}:{_key.get()}",
                "stream": said["stream"],
                "events": [event["id"] for event in said["events"]],
            }
            with file.open("a") as out:
                out.write(json.dumps(note) + "\n")
        return reply

    return patch.object(doors, "token_hex", keyed), patch.object(Doors, "call", noting)


if __name__ == "__main__":
    key, call = _noted(Path(sys.argv.pop(1)))
    with key, call:
        runpy.run_module("deploy.story", run_name="__main__", alter_sys=True)
