"""The receiver of webhooks in the Python client's README, as it stands there, with messages that identity signs."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from deploy import ROOT
from deploy.processes import free_port
from services.identity.webhooks.signature import headers_of, new_secret
from shared.documents.examples import example_data, example_envelope
from shared.eventlog.deliver.ordered import Placed
from shared.eventlog.deliver.received import Raw
from shared.events.entitlements import SeatAssigned
from shared.events.envelope import to_headers
from shared.events.registry import ENTITLEMENTS
from shared.runtime.live.frames import frame_of

SECRET, NEXT, ANOTHERS = new_secret(), new_secret(), new_secret()
STARTS_WITHIN_S: Final = 30.0


def example() -> str:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "clients" / "python" / "README.md").read_text(), re.DOTALL)
    (found,) = (text for text in blocks if "TENURE_WEBHOOK_SECRET" in text)
    return str(found)


class Receiver:
    """The example as a process."""

    def __init__(self, folder: Path) -> None:
        self.port, self.said = free_port(), folder / "said"
        env = {**os.environ, "TENURE_WEBHOOK_SECRET": SECRET, "PORT": str(self.port)}
        command = [sys.executable, "-c", example()]
        with self.said.open("w") as said:
            self.process = subprocess.Popen(command, env=env, stdout=said, stderr=subprocess.DEVNULL, cwd=ROOT)

    def sent(self, body: bytes, headers: dict[str, str]) -> int:
        """The status of the answer to a message. Waits until the process has started."""
        until = time.monotonic() + STARTS_WITHIN_S
        while True:
            try:
                return httpx.post(f"http://127.0.0.1:{self.port}/", content=body, headers=headers).status_code
            except httpx.ConnectError:
                assert self.process.poll() is None and time.monotonic() < until
                time.sleep(0.05)

    def ended(self) -> list[str]:
        """End the process, and return the lines that it has printed."""
        self.process.kill()
        self.process.wait()
        return self.said.read_text().splitlines()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    made = Receiver(tmp_path)
    try:
        yield made
    finally:
        made.ended()


def message(*secrets: str, age_s: float = 0) -> tuple[bytes, dict[str, str]]:
    """An event as the sender of webhooks sends it, signed with these secrets."""
    envelope, data = example_envelope(SeatAssigned), example_data(SeatAssigned)
    raw = Raw(ENTITLEMENTS, 0, 0, envelope.stream.encode(), to_headers(envelope), data)
    frame = frame_of(Placed(raw, envelope))
    return frame.body, headers_of(frame.id, int(time.time() - age_s), frame.body, secrets)


def test_a_message_is_taken_once(receiver: Receiver) -> None:
    body, headers = message(SECRET)
    assert [receiver.sent(body, headers) for _ in range(3)] == [204, 204, 204]
    event: dict[str, Any] = json.loads(body)
    assert receiver.ended() == [f"{event['position']} {event['type']} {event['subject']}"]


@pytest.mark.parametrize("secrets", [(SECRET, NEXT), (NEXT, SECRET)])
def test_a_message_is_taken_while_its_secret_is_replaced(receiver: Receiver, secrets: tuple[str, str]) -> None:
    assert receiver.sent(*message(*secrets)) == 204
    assert len(receiver.ended()) == 1


def test_what_somebody_else_has_sent_is_refused(receiver: Receiver) -> None:
    body, headers = message(SECRET)
    others = [
        message(ANOTHERS),
        message(SECRET, age_s=600),
        message(SECRET, age_s=-600),
        (body, {**headers, "webhook-id": "another"}),
        (body, {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 30)}),
        (body, {**headers, "webhook-timestamp": "now"}),
        (body, {**headers, "webhook-signature": "v1,"}),
        (body.replace(b"SeatAssigned", b"SeatUnassigned"), headers),
        (body, {name: value for name, value in headers.items() if name != "webhook-signature"}),
        (b"{}", {}),
    ]
    assert [receiver.sent(*each) for each in others] == [401] * len(others)
    assert receiver.ended() == []
