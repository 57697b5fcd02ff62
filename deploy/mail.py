"""Mail catcher: `python -m deploy.mail --smtp-port 8109 --page-port 8108 FOLDER`.

Receives mails by SMTP on the loopback address, stores each as a file that only its owner can read, and shows them on a
page. Nothing is delivered. With `--smtp-port 0` it shows the mails that other processes write into the folder.
"""

import argparse
import asyncio
import base64
import hashlib
import html
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP, Envelope, Session

HOST: Final = "127.0.0.1"
KEPT_AT_MOST: Final = 2_000
"""The most mails that are kept; beyond, the oldest are deleted."""
SHOWN_AT_MOST: Final = 200
MAIL_BYTES: Final = 256 * 1024
_NAME: Final = re.compile(r"[0-9A-Za-z.-]{1,200}\.eml")
_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2430; background: #f5f6f8; margin: 0; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; }
p.note { color: #586274; margin: 0 0 1.5rem; }
table { width: 100%; border-collapse: collapse; background: #fff; border: 1px solid #dde1e7; }
th, td { text-align: left; padding: .5rem .75rem; border-bottom: 1px solid #e8ebef; vertical-align: top; }
th { font-weight: 600; color: #586274; white-space: nowrap; width: 1%; }
td { overflow-wrap: anywhere; }
td.time { white-space: nowrap; color: #586274; }
pre { background: #fff; border: 1px solid #dde1e7; padding: 1rem; white-space: pre-wrap; overflow-wrap: anywhere;
      font: 14px/1.5 ui-monospace, monospace; }
a { color: #0b57c2; }
""".strip()
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_CSP: Final = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'; base-uri 'none'"

# ── Storing ────────────────────────────────────────────────────────────────────────────────────────────


class Box:
    """A folder of mails."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def keep(self, content: bytes) -> None:
        """Store a mail atomically, and delete the oldest beyond KEPT_AT_MOST.

        Raises:
            OSError: The file can't be written.
        """
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{secrets.token_hex(4)}.eml"
        fresh = self.folder / f".{name}.new"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        fresh.replace(self.folder / name)
        for old in self._files()[KEPT_AT_MOST:]:
            old.unlink(missing_ok=True)

    def newest(self) -> Iterator[tuple[str, EmailMessage]]:
        for file in self._files()[:SHOWN_AT_MOST]:
            if (message := self.read(file.name)) is not None:
                yield file.name, message

    def read(self, name: str) -> EmailMessage | None:
        """Return the mail of this name, if it exists."""
        if not _NAME.fullmatch(name):
            return None
        try:
            return message_from_bytes((self.folder / name).read_bytes(), policy=policy.default)
        except OSError:
            return None

    def _files(self) -> list[Path]:
        found = [(entry.stat().st_mtime_ns, entry.name) for entry in os.scandir(self.folder) if _is_mail(entry)]
        return [self.folder / name for _, name in sorted(found, reverse=True)]


def _is_mail(entry: "os.DirEntry[str]") -> bool:
    return bool(_NAME.fullmatch(entry.name)) and entry.is_file(follow_symlinks=False)


@dataclass
class Receiver:
    """An SMTP handler that accepts every mail."""

    box: Box

    async def handle_DATA(self, _server: "SMTP", _session: "Session", envelope: "Envelope") -> str:  # noqa: N802
        content = envelope.content or b""
        try:
            await asyncio.to_thread(self.box.keep, content if isinstance(content, bytes) else content.encode())
        except OSError as error:
            return f"452 the mail could not be stored: {error.strerror}"
        return "250 stored"


# ── Showing ────────────────────────────────────────────────────────────────────────────────────────────


def _page(title: str, body: str, status: int = 200) -> Response:
    document = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><main>{body}</main></body></html>"
    )
    headers = {
        "Content-Security-Policy": _CSP,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    return Response(document, status, headers, "text/html; charset=utf-8")


def _text_of(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    if part is None:
        return "This mail has no plain text."
    try:
        return str(part.get_content())
    except (LookupError, UnicodeError, ValueError):
        return "This mail's text can't be read."


def _header(message: EmailMessage, name: str) -> str:
    try:
        return str(message.get(name, ""))
    except (ValueError, IndexError, AttributeError):  # raised by the parser on invalid headers
        return "(unreadable)"


def _row(name: str, mail: EmailMessage) -> str:
    date, to, subject = (html.escape(_header(mail, header)) for header in ("Date", "To", "Subject"))
    link = f'<a href="/mails/{html.escape(name)}">{subject or "(none)"}</a>'
    return f'<tr><td class="time">{date}</td><td>{to}</td><td>{link}</td></tr>'


def application(box: Box) -> Starlette:
    """Return the web application: read-only, without scripts, for browsers on this machine."""

    async def list_mails(_: Request) -> Response:
        found = await asyncio.to_thread(lambda: list(box.newest()))
        rows = "".join(_row(name, mail) for name, mail in found)
        note = f"The newest mails, at most {SHOWN_AT_MOST}. None was delivered."
        table = f"<table><tr><th>Sent</th><th>To</th><th>Subject</th></tr>{rows}</table>"
        empty = "<p>No mail has been received yet.</p>"
        return _page("Mail", f'<h1>Caught mail</h1><p class="note">{note}</p>{table if rows else empty}')

    async def show_mail(request: Request) -> Response:
        mail = await asyncio.to_thread(box.read, request.path_params["name"])
        if mail is None:
            return _page("No such mail", '<h1>There is no such mail.</h1><p><a href="/">All mails</a></p>', 404)
        rows = "".join(
            f"<tr><th>{name}</th><td>{html.escape(_header(mail, name))}</td></tr>"
            for name in ("From", "To", "Subject", "Date", "Message-ID")
        )
        text = html.escape(_text_of(mail))
        subject = _header(mail, "Subject") or "Mail"
        back = '<p><a href="/">All mails</a></p>'
        return _page(subject, f"<h1>{html.escape(subject)}</h1>{back}<table>{rows}</table><pre>{text}</pre>")

    async def ready(_: Request) -> Response:
        return JSONResponse({"ready": True})

    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    routes = [Route("/", list_mails), Route("/mails/{name}", show_mail), Route("/ready", ready)]
    return Starlette(routes=routes, middleware=[hosts])


# ── Running ────────────────────────────────────────────────────────────────────────────────────────────


async def serve(folder: Path, smtp_port: int, page_port: int, host: str = HOST) -> None:
    """Receive and show mails until SIGTERM or SIGINT."""
    box = Box(folder)
    server = None
    if smtp_port:
        from aiosmtpd.smtp import SMTP as Protocol  # noqa: N811  # the image does not have it

        loop, receiver = asyncio.get_running_loop(), Receiver(box)

        def protocol() -> Any:
            return Protocol(receiver, enable_SMTPUTF8=True, data_size_limit=MAIL_BYTES, hostname="localhost", loop=loop)

        server = await loop.create_server(protocol, HOST, smtp_port)
    config = uvicorn.Config(
        application(box), host=host, port=page_port, log_level="warning", lifespan="off", server_header=False
    )
    try:
        await uvicorn.Server(config).serve()
    finally:
        if server is not None:
            server.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.mail", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the folder of mails")
    parser.add_argument(
        "--smtp-port", type=int, default=8109, help="0: receive nothing, show what other processes write"
    )
    parser.add_argument("--page-port", type=int, default=8108)
    parser.add_argument("--host", default=HOST, help="the address of the page; SMTP is always on loopback")
    chosen = parser.parse_args()
    asyncio.run(serve(chosen.folder, chosen.smtp_port, chosen.page_port, chosen.host))


if __name__ == "__main__":
    main()
