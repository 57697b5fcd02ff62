"""The console as a process of its own, over a real Kafka and a stand-in for identity; and its subscribers."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from joserfc.jwk import ECKey

from deploy.service import ServicePart
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.runtime.auth import Actor, TokenSigner, public_keys

KEY: Final = ECKey.generate_key("P-256", {"kid": "test"}, auto_kid=True)


class _Identity(BaseHTTPRequestHandler):
    """Serves the keys, and says of every token that its session runs."""

    def do_GET(self) -> None:
        body = json.dumps(public_keys([KEY]) if self.path.endswith("jwks.json") else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def identity() -> Iterator[str]:
    """A stand-in for identity; its URL, which is the issuer, too."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Identity)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def token(issuer: str, organisation: str, account: str = "a-1", kind: str = "customer", lifetime_s: int = 600) -> str:
    """An access token of a person."""
    actor = Actor(
        account_id=account,
        organisation_id=organisation,
        organisation_kind="operator" if kind == "operator" else "customer",
        session_id=f"s-{account}",
        since=2**40,  # later than whatever other tests' logs have on the topic
    )
    return TokenSigner(KEY, time.time, issuer).sign(actor, f"t-{account}", lifetime_s)


def edge(folder: Path, access: KafkaAccess, issuer: str, **settings: str) -> ServicePart:
    """The console's process, not started yet."""
    env = {"TENURE_IDENTITY_URL": issuer, "TENURE_ISSUER": issuer, "TENURE_LOG": "json", **access.environment()}
    return ServicePart("console", folder / "console", env={**env, **settings})


@asynccontextmanager
async def opened(port: int, path: str, token: str, last_id: int | None = None) -> AsyncIterator[asyncio.StreamReader]:
    """A connection whose request is answered with a stream."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    resume = "" if last_id is None else f"Last-Event-ID: {last_id}\r\n"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {token}\r\n{resume}\r\n".encode())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise ConnectionError(head.decode())
        yield reader
    finally:
        writer.close()


class Client:
    """A subscriber that connects again with the last id that it has."""

    def __init__(self, port: int, path: str, token: str, last_id: int | None = None) -> None:
        self.port, self.path, self.token, self.last_id = port, path, token, last_id
        self.positions: list[int] = []
        self.connections = 0

    async def run(self, until: int) -> None:
        """Read until the event at this position has come."""
        while not self.positions or self.positions[-1] < until:
            try:
                async with opened(self.port, self.path, self.token, self.last_id) as reader:
                    self.connections += 1
                    await self._read(reader, until)
            except (OSError, EOFError, ConnectionError):
                await asyncio.sleep(0.1)

    async def _read(self, reader: asyncio.StreamReader, until: int) -> None:
        while line := await reader.readline():
            if line.startswith(b"id: "):
                self.last_id = int(line[4:])
            elif line.startswith(b"data: "):
                self.positions.append(self.last_id or 0)
                if self.last_id == until:
                    return
