"""The README's line for kcat: what it prints of a topic is what the store holds, byte for byte."""

import shlex
import shutil
import subprocess

import pytest

from deploy import ROOT
from shared.events.envelope import to_headers
from shared.events.registry import MARKETPLACE, topic_of
from tests.oracle.evidence import Stored
from tests.system.running import System

KCAT = shutil.which("kcat")

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(KCAT is None, reason="kcat is not installed here, and nothing else stands in for it"),
]


def documented() -> list[str]:
    """The command as the README gives it."""
    (line,) = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("kcat ")]
    return shlex.split(line)


def printed(event: Stored) -> bytes:
    """As `%k\\n%h\\n%s\\n\\n` prints it."""
    headers = b",".join(name.encode() + b"=" + value for name, value in to_headers(event.envelope))
    return event.envelope.stream.encode() + b"\n" + headers + b"\n" + event.data + b"\n\n"


def test_kcat_shows_key_headers_and_the_bytes_that_the_store_holds(running: System) -> None:
    command = documented()
    assert command[command.index("-t") + 1] == MARKETPLACE
    settings = running.kafka.access.librdkafka()
    (running.folder / "kcat.conf").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    command[command.index("-F") + 1] = str(running.folder / "kcat.conf")
    for service, found in running.assert_sound().items():
        if found.foreign or any(topic == topic_of(service) for topic, *_ in running.planted):
            continue
        command[command.index("-t") + 1] = topic_of(service)
        said = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
        records = {record for record in said.split(b"\n\n") if record}
        assert records == {printed(event)[:-2] for event in found.events}, service
