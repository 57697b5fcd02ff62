"""identity's mails in tests: a carrier that keeps them, and a real SMTP server that can be told to fail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd import smtp
from aiosmtpd.smtp import Envelope, Session

from services.identity.mail.letters import Letters
from services.identity.mail.sender import MailNotAccepted, MailServerUnavailable, Sender, Transport
from tests.services.identity_bench import Bench

FROM = "tenure@tenure.example"
URL = "https://tenure.example"


class Kept:
    """Keeps what is sent. `fault` is raised instead, while it is set."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.fault: Exception | None = None

    async def send(self, message: EmailMessage) -> None:
        if self.fault is not None:
            raise self.fault
        self.messages.append(message)

    async def close(self) -> None:
        return

    def to(self, address: str) -> list[EmailMessage]:
        return [message for message in self.messages if message["To"] == address]


def sender(bench: Bench, carrier: Transport | None) -> Sender:
    return Sender(bench.pool, bench.log, Letters(bench.pool, bench.log, bench.app.state.keys, URL), carrier, FROM)


async def mailed(bench: Bench, carrier: Kept) -> None:
    """Let events have their effects, and send what is due."""
    await bench.settle()
    made = sender(bench, carrier)
    while await made.send_due():
        pass


def token_in(message: EmailMessage) -> str:
    """What stands behind the # of the link."""
    (line,) = [line for line in message.get_content().splitlines() if line.startswith(URL)]
    token: str = line.partition("#")[2]
    return token


async def token_for(bench: Bench, name: str, subject: str = "") -> str:
    """The token of the last mail to somebody whose subject has this word, as they read it."""
    kept = Kept()
    await mailed(bench, kept)
    return token_in([m for m in kept.to(f"{name}@x.example") if subject in m["Subject"]][-1])


class FakeServer:
    """An SMTP server's answers: 250, unless told otherwise by recipient."""

    def __init__(self) -> None:
        self.received: list[EmailMessage] = []
        self.refused: dict[str, str] = {}
        self.data_answer = "250 OK"
        self.hang_up = False

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, _server: smtp.SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: smtp.SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.hang_up:
            if server.transport is not None:
                server.transport.close()
            return "421 away"
        if self.data_answer.startswith("250"):
            content = envelope.content
            raw = content if isinstance(content, bytes) else (content or "").encode()
            self.received.append(message_from_bytes(raw, policy=policy.default))
        return self.data_answer


@asynccontextmanager
async def smtp_server(fake: FakeServer, port: int = 0) -> AsyncIterator[int]:
    """A server on a loopback port, in this very loop."""
    loop = asyncio.get_running_loop()

    def protocol() -> Any:
        return smtp.SMTP(fake, enable_SMTPUTF8=True, loop=loop, hostname="localhost")

    server = await loop.create_server(protocol, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


__all__ = [
    "FROM",
    "URL",
    "FakeServer",
    "Kept",
    "MailNotAccepted",
    "MailServerUnavailable",
    "mailed",
    "sender",
    "smtp_server",
    "token_for",
    "token_in",
]
