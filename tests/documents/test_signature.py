"""What identity signs is verified by the library of Standard Webhooks, which receivers use."""

import json
import subprocess
import time

import pytest

from services.identity.webhooks.signature import headers_of, new_secret
from tests.documents.tools import HERE, python_tool

pytestmark = pytest.mark.long

OLD, NEW = new_secret(), new_secret()
BODY = json.dumps({"id": "event-1", "data": {"name": "Jürgen Weiß"}}, ensure_ascii=False)


def received(secret: str, body: str = BODY, age_s: float = 0) -> subprocess.CompletedProcess[str]:
    """What a receiver with this secret makes of a message that both secrets have signed, as after a rotation."""
    headers = headers_of("event-1", int(time.time() - age_s), BODY.encode(), [NEW, OLD])
    got = json.dumps({"secret": secret, "body": body, "headers": headers})
    command = [python_tool("python"), HERE / "receiver.py"]
    return subprocess.run(command, input=f"{got}\n", capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_the_library_verifies_a_message_with_either_secret(secret: str) -> None:
    done = received(secret)
    assert (done.returncode, done.stdout) == (0, "event-1\n"), done.stderr


@pytest.mark.parametrize(
    ("secret", "body", "age_s", "why"),
    [
        (new_secret(), BODY, 0, "No matching signature"),
        (NEW, BODY.replace("event-1", "event-2"), 0, "No matching signature"),
        (NEW, BODY, 3_600, "too old"),
    ],
)
def test_it_refuses_what_was_not_signed_or_long_ago(secret: str, body: str, age_s: float, why: str) -> None:
    done = received(secret, body, age_s)
    assert done.returncode == 1 and why in done.stderr
