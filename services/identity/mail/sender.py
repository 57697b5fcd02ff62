"""Sends what is in the outbox: as files into a folder, or by SMTP.

One process at a time sends. A mail is marked as sent after the server took it, so that a crash in between sends it
again: by SMTP nothing can be exactly once. Both copies have the same Message-ID, which follows from the event's id, so
that whoever receives them can tell.
"""

import asyncio
import ipaddress
import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as MAIL_POLICY
from email.utils import format_datetime
from pathlib import Path
from typing import Final, Protocol, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib
import structlog
import uuid_utils

from services.identity.mail import outbox
from services.identity.mail.letters import Letter, Letters
from services.identity.mail.outbox import Figures, Row
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import TRANSIENT
from shared.eventlog.write.store import Conflict, Lease, Unavailable
from shared.runtime.settings import Settings
from shared.sql import Queryable

logger = structlog.get_logger("mail")

Mail: TypeAlias = "EmailMessage[str, str]"

AT_ONCE: Final = 50
LOOK_EVERY_S: Final = 1.0
LEASE_S: Final = 30.0
PRUNE_EVERY_S: Final = 3600.0
TRIES: Final = 10
"""After so many a mail is parked."""
FIRST_PAUSE: Final = timedelta(seconds=15)
LONGEST_PAUSE: Final = timedelta(hours=1)
AWAY_AT_MOST_S: Final = 60.0
STALE_AFTER: Final = timedelta(days=3)
"""As long as a link works: a mail that could not be sent until then is dropped."""
TIMEOUT_S: Final = 15.0
_PERMANENT: Final = 500


class ServerAway(Exception):
    """No mail can be sent now, whatever it is."""


class NotTaken(Exception):
    """This mail was not taken. `permanent` where trying again is of no use."""

    def __init__(self, reason: str, *, permanent: bool) -> None:
        super().__init__(reason)
        self.permanent = permanent


class Transport(Protocol):
    """Where mails go."""

    async def send(self, message: Mail) -> None:
        """Deliver one mail. Raises ServerAway or NotTaken."""
        ...

    async def close(self) -> None: ...


class Folder:
    """Writes each mail into a file named after its Message-ID, readable by its owner only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def send(self, message: Mail) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = self._folder / f"{message['Message-ID'].strip('<>').partition('@')[0]}.eml"
            fresh = file.with_suffix(".new")
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                out.write(message.as_bytes())
            fresh.replace(file)
        except OSError as error:
            raise ServerAway(f"{self._folder}: {error.strerror}") from error
        except ValueError as impossible:
            raise NotTaken(str(impossible), permanent=True) from impossible

    async def close(self) -> None:
        return


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpAddress:
    """What TENURE_SMTP_URL says."""

    host: str
    port: int
    username: str | None
    password: str | None
    use_tls: bool
    start_tls: bool | None
    """None: where the server offers it."""

    @staticmethod
    def parsed(url: str) -> "SmtpAddress":
        """Read `smtp://user:password@host:587` (STARTTLS) or `smtps://…:465` (TLS from the start).

        TLS may be left out on the loopback address, and elsewhere with `?tls=none`, which takes no password.

        Raises:
            ValueError: It is not such an address.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.path.strip("/"):
            raise ValueError("TENURE_SMTP_URL reads smtp://user:password@host:port or smtps://user:password@host:port")
        options = parse_qs(parts.query, strict_parsing=bool(parts.query))
        bare = options.pop("tls", None)
        if options or bare not in (None, ["none"]):
            raise ValueError("TENURE_SMTP_URL knows no option but tls=none")
        if bare and (parts.username or parts.scheme == "smtps"):
            raise ValueError("TENURE_SMTP_URL sends no password without TLS")
        near = _is_loopback(parts.hostname)
        return SmtpAddress(
            host=parts.hostname,
            port=parts.port or (465 if parts.scheme == "smtps" else 587),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            use_tls=parts.scheme == "smtps",
            start_tls=False if bare or parts.scheme == "smtps" else None if near else True,
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Smtp:
    """Sends by SMTP, over one connection that is kept while there is something to send."""

    def __init__(self, address: SmtpAddress) -> None:
        self._address = address
        self._client: aiosmtplib.SMTP | None = None

    async def send(self, message: Mail) -> None:
        client = await self._connected()
        try:
            await client.send_message(message)
        except aiosmtplib.SMTPRecipientsRefused as refused:
            first = refused.recipients[0]
            raise NotTaken(f"{first.code} {first.message}", permanent=first.code >= _PERMANENT) from refused
        except aiosmtplib.SMTPDataError as refused:
            raise NotTaken(f"{refused.code} {refused.message}", permanent=refused.code >= _PERMANENT) from refused
        except (aiosmtplib.SMTPNotSupported, ValueError) as impossible:
            raise NotTaken(str(impossible), permanent=True) from impossible
        except (aiosmtplib.SMTPServerDisconnected, TimeoutError, OSError) as gone:
            # In the middle of this mail. It may be the mail's fault, which must not keep the others for ever.
            await self.close()
            raise NotTaken(f"the connection broke: {gone}", permanent=False) from gone
        except aiosmtplib.SMTPException as fault:
            await self.close()
            raise ServerAway(str(fault)) from fault

    async def _connected(self) -> aiosmtplib.SMTP:
        if self._client is not None and self._client.is_connected:
            return self._client
        to = self._address
        client = aiosmtplib.SMTP(
            hostname=to.host,
            port=to.port,
            username=to.username,
            password=to.password,
            use_tls=to.use_tls,
            start_tls=to.start_tls,
            timeout=TIMEOUT_S,
            tls_context=ssl.create_default_context(),
        )
        try:
            await client.connect()
        except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as fault:
            client.close()
            raise ServerAway(f"{to.host}:{to.port}: {fault}") from fault
        self._client = client
        return client

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None and client.is_connected:
            with suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
                await client.quit(timeout=2)
            client.close()


def transport(settings: Settings) -> Transport | None:
    """Where the settings say that mails go; None where they don't. Raises ValueError when they say it wrongly."""
    if settings.smtp_url is not None and settings.mail_folder is not None:
        raise ValueError("TENURE_SMTP_URL and TENURE_MAIL_FOLDER exclude each other")
    if settings.smtp_url is not None:
        return Smtp(SmtpAddress.parsed(settings.smtp_url.get_secret_value()))
    return None if settings.mail_folder is None else Folder(settings.mail_folder)


def message_of(letter: Letter, row: Row, sender: str) -> Mail:
    """The mail as it is sent. The headers hold addresses that were checked and texts of ours, nobody's own words.

    Raises NotTaken where the address is none that is taken today, and would not stand in a header as it is.
    """
    if "=?" in letter.to:
        raise NotTaken("the address could be read as an encoded word", permanent=True)
    local, _, domain = sender.rpartition("@")
    to_local, _, to_domain = letter.to.rpartition("@")
    message = EmailMessage(policy=MAIL_POLICY.clone(utf8=not letter.to.isascii()))
    message["From"] = Address("Tenure", local, domain)
    message["To"] = Address("", to_local, to_domain)
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(utc_now())
    message["Message-ID"] = f"<{_id(row)}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.body)
    return message


def _id(row: Row) -> str:
    readable = "".join(c if c.isascii() and (c.isalnum() or c == "-") else "-" for c in row.event_id)
    return f"{readable[:120]}.{row.kind}"


def pause_before(tries: int) -> timedelta:
    """How long a mail waits that was tried so often without success."""
    return min(FIRST_PAUSE * (1 << min(tries, 12)), LONGEST_PAUSE)


class Sender:
    """Sends what is due, in one process of the service at a time."""

    def __init__(
        self,
        db: Queryable,
        event_log: Log,
        letters: Letters,
        carrier: Transport | None,
        sender: str,
        told: Callable[[str, str], None] = lambda _kind, _outcome: None,
    ) -> None:
        """`told` hears of each mail's kind and outcome, for metrics."""
        self._db, self._log, self._letters, self._told = db, event_log, letters, told
        self._carrier, self._sender = carrier, sender
        self._owner = str(uuid_utils.uuid7())
        self._pruned_at = float("-inf")
        self._away = 0
        self.figures = Figures(0, 0, 0.0)

    async def run(self) -> None:
        """Until cancelled. Faults of the database and of the server are waited out."""
        lease: Lease | None = None
        clock = asyncio.get_running_loop().time
        if self._carrier is None:
            logger.warning("no mail is sent: neither TENURE_SMTP_URL nor TENURE_MAIL_FOLDER is set")
        try:
            while True:
                sent = 0
                try:
                    lease = await self._log.store.lease("mail:identity", self._owner, LEASE_S)
                    self.figures = await outbox.figures(self._db)
                    if lease is not None:
                        sent = await self.send_due(until=clock() + LEASE_S / 2)
                        await self._prune(clock())
                except ServerAway as fault:
                    self._away += 1
                    pause = min(float(2**self._away), AWAY_AT_MOST_S)
                    logger.warning("mails wait: the server can't be had", fault=str(fault)[:300], pause_s=pause)
                    await asyncio.sleep(pause)
                except (*TRANSIENT, Unavailable, Conflict) as fault:
                    logger.warning("mails wait: the database is away", fault=repr(fault))
                    await asyncio.sleep(1)
                if sent < AT_ONCE:
                    await asyncio.sleep(LOOK_EVERY_S)
        finally:
            if self._carrier is not None:
                await self._carrier.close()
            if lease is not None:
                await self._log.store.release("mail:identity", lease)

    async def send_due(self, until: float = float("inf")) -> int:
        """Send what is due now, but begin none after `until`. Says how many mails were looked at. Raises ServerAway."""
        rows = await outbox.due(self._db, AT_ONCE, STALE_AFTER)
        for number, row in enumerate(rows):
            if asyncio.get_running_loop().time() > until:
                return number
            await self._send(row)
        if not rows and self._carrier is not None:
            await self._carrier.close()
        return len(rows)

    async def _send(self, row: Row) -> None:
        outcome, reason = await self._try(row)
        if outcome == "postponed":
            await outbox.postpone(self._db, row, pause_before(row.tries), reason)
        elif outcome == "parked":
            await outbox.settle(self._db, row, "parked", reason)
        else:
            await outbox.settle(self._db, row, "sent" if outcome == "sent" else "dropped", reason)
        self._told(row.kind, outcome)
        logger.info("mail", outcome=outcome, kind=row.kind, about=row.about, event_id=row.event_id, reason=reason)

    async def _try(self, row: Row) -> tuple[str, str]:
        """What came of one mail, and why. Raises ServerAway with nothing done."""
        if self._carrier is None:
            return "dropped", "no mail is sent here: neither TENURE_SMTP_URL nor TENURE_MAIL_FOLDER is set"
        if row.stale:
            return "dropped", "it could not be sent in time"
        letter = await self._letters.compose(row)
        if letter is None:
            return "dropped", "what it was about has changed since"
        try:
            await self._carrier.send(message_of(letter, row, self._sender))
        except NotTaken as fault:
            last = fault.permanent or row.tries + 1 >= TRIES
            return "parked" if last else "postponed", str(fault)
        self._away = 0
        return "sent", ""

    async def _prune(self, now: float) -> None:
        if now - self._pruned_at > PRUNE_EVERY_S:
            await outbox.prune(self._db)
            self._pruned_at = now
