"""The delivery of the mails in the outbox, by SMTP or as files in a folder.

One process at a time sends, by a lease. A mail is marked as sent after the server accepted it, so that a crash in
between sends it again: SMTP has no delivery exactly once. Both copies have the same Message-ID, which is derived from
the event's id.
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

from services.identity.domain.account import address_digest
from services.identity.mail import outbox
from services.identity.mail.letters import Letter, Letters, NotWanted
from services.identity.mail.outbox import Figures, Row
from services.identity.notifications import store
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import TRANSIENT
from shared.eventlog.write.store import Conflict, Lease, Unavailable
from shared.runtime.settings import Settings
from shared.sql import Queryable

logger = structlog.get_logger("mail")

Mail: TypeAlias = "EmailMessage[str, str]"

AT_ONCE: Final = 50
POLL_EVERY_S: Final = 1.0
LEASE_S: Final = 30.0
PRUNE_EVERY_S: Final = 3600.0
TRIES: Final = 10
"""The number of failed attempts after which a mail is parked."""
FIRST_PAUSE: Final = timedelta(seconds=15)
LONGEST_PAUSE: Final = timedelta(hours=1)
AWAY_AT_MOST_S: Final = 60.0
STALE_AFTER: Final = timedelta(days=3)
"""The longest time that a mail waits; one that was not sent in this time is dropped."""
TIMEOUT_S: Final = 15.0
_PERMANENT: Final = 500


class MailServerUnavailable(Exception):
    """The server is unavailable, so that no mail can be sent now."""


class MailNotAccepted(Exception):
    """The server did not accept this mail.

    `permanent` if a retry would not succeed; `bounced` if that is because of the address.
    """

    def __init__(self, reason: str, *, permanent: bool, bounced: bool = False) -> None:
        super().__init__(reason)
        self.permanent, self.bounced = permanent, bounced


class Transport(Protocol):
    """The interface of a mail transport."""

    async def send(self, message: Mail) -> None:
        """Deliver one mail. Raises MailServerUnavailable or MailNotAccepted."""
        ...

    async def close(self) -> None: ...


class Folder:
    """The transport that writes each mail to a file, named after its Message-ID.

    Only the files' owner can read them.
    """

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
            raise MailServerUnavailable(f"{self._folder}: {error.strerror}") from error
        except ValueError as impossible:
            raise MailNotAccepted(str(impossible), permanent=True) from impossible

    async def close(self) -> None:
        return


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpAddress:
    """The parts of TENURE_SMTP_URL."""

    host: str
    port: int
    username: str | None
    password: str | None
    use_tls: bool
    start_tls: bool | None
    """None: if the server offers it."""

    @staticmethod
    def parsed(url: str) -> "SmtpAddress":
        """Read `smtp://user:password@host:587` (STARTTLS) or `smtps://…:465` (TLS from the start).

        TLS is optional on a loopback address, and off with `?tls=none`, which excludes a password.

        Raises:
            ValueError: The URL is invalid.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.path.strip("/"):
            raise ValueError(
                "TENURE_SMTP_URL must be smtp://user:password@host:port or smtps://user:password@host:port"
            )
        options = parse_qs(parts.query, strict_parsing=bool(parts.query))
        bare = options.pop("tls", None)
        if options or bare not in (None, ["none"]):
            raise ValueError("TENURE_SMTP_URL has no option but tls=none")
        if bare and (parts.username or parts.scheme == "smtps"):
            raise ValueError("TENURE_SMTP_URL excludes tls=none with a user or smtps")
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
    """The SMTP transport, over one connection that stays open while there are mails to send."""

    def __init__(self, address: SmtpAddress) -> None:
        self._address = address
        self._client: aiosmtplib.SMTP | None = None

    async def send(self, message: Mail) -> None:
        client = await self._connected()
        try:
            await client.send_message(message)
        except aiosmtplib.SMTPRecipientsRefused as refused:
            first = refused.recipients[0]
            permanent = first.code >= _PERMANENT
            raise MailNotAccepted(f"{first.code} {first.message}", permanent=permanent, bounced=permanent) from refused
        except aiosmtplib.SMTPDataError as refused:
            raise MailNotAccepted(
                f"{refused.code} {refused.message}", permanent=refused.code >= _PERMANENT
            ) from refused
        except (aiosmtplib.SMTPNotSupported, ValueError) as impossible:
            raise MailNotAccepted(str(impossible), permanent=True) from impossible
        except (aiosmtplib.SMTPServerDisconnected, TimeoutError, OSError) as gone:
            # The connection broke while this mail was sent, perhaps because of it: other mails must not wait for it.
            await self.close()
            raise MailNotAccepted(f"the connection broke: {gone}", permanent=False) from gone
        except aiosmtplib.SMTPException as fault:
            await self.close()
            raise MailServerUnavailable(str(fault)) from fault

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
            raise MailServerUnavailable(f"{to.host}:{to.port}: {fault}") from fault
        self._client = client
        return client

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None and client.is_connected:
            with suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
                await client.quit(timeout=2)
            client.close()


def transport(settings: Settings) -> Transport | None:
    """Return the configured transport, if any. Raises ValueError for invalid settings."""
    if settings.smtp_url is not None and settings.mail_folder is not None:
        raise ValueError("TENURE_SMTP_URL and TENURE_MAIL_FOLDER exclude each other")
    if settings.smtp_url is not None:
        return Smtp(SmtpAddress.parsed(settings.smtp_url.get_secret_value()))
    return None if settings.mail_folder is None else Folder(settings.mail_folder)


def message_of(letter: Letter, row: Row, sender: str) -> Mail:
    """Return the mail as it is sent. Its headers have checked addresses and fixed texts only.

    Raises:
        MailNotAccepted: The address would not be accepted today, because it could be read as an encoded word.
    """
    if "=?" in letter.to:
        raise MailNotAccepted("the address could be read as an encoded word", permanent=True)
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
    """Return the pause before the next attempt, after this number of failed ones."""
    return min(FIRST_PAUSE * (1 << min(tries, 12)), LONGEST_PAUSE)


class Sender:
    """The sender of due mails; one process of the service sends at a time."""

    def __init__(
        self,
        db: Queryable,
        event_log: Log,
        letters: Letters,
        carrier: Transport | None,
        sender: str,
        count: Callable[[str, str], None] = lambda _kind, _outcome: None,
    ) -> None:
        """Take the sender's parts; `count` is called with each mail's kind and outcome."""
        self._db, self._log, self._letters, self._count = db, event_log, letters, count
        self._carrier, self._sender = carrier, sender
        self._owner = str(uuid_utils.uuid7())
        self._pruned_at = float("-inf")
        self._away = 0
        self.figures = Figures(0, 0, 0.0)

    async def run(self) -> None:
        """Send due mails until cancelled; retry after errors of the database and the mail server."""
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
                except MailServerUnavailable as fault:
                    self._away += 1
                    pause = min(float(2**self._away), AWAY_AT_MOST_S)
                    logger.warning("mails wait: the mail server is unavailable", fault=str(fault)[:300], pause_s=pause)
                    await asyncio.sleep(pause)
                except (*TRANSIENT, Unavailable, Conflict) as fault:
                    logger.warning("mails wait: the database is unavailable", fault=repr(fault))
                    await asyncio.sleep(1)
                if sent < AT_ONCE:
                    await asyncio.sleep(POLL_EVERY_S)
        finally:
            if self._carrier is not None:
                await self._carrier.close()
            if lease is not None:
                await self._log.store.release("mail:identity", lease)

    async def send_due(self, until: float = float("inf")) -> int:
        """Send the due mails, but begin none after `until`; return how many were handled.

        Raises:
            MailServerUnavailable: The server is unavailable.
        """
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
        self._count(row.kind, outcome)
        logger.info("mail", outcome=outcome, kind=row.kind, about=row.about, event_id=row.event_id, reason=reason)

    async def _try(self, row: Row) -> tuple[str, str]:
        """Send one mail; return the outcome and its reason.

        Raises:
            MailServerUnavailable: The server is unavailable, and the mail was not sent.
        """
        if self._carrier is None:
            return "dropped", "no mail is sent here: neither TENURE_SMTP_URL nor TENURE_MAIL_FOLDER is set"
        if row.stale:
            return "dropped", f"it could not be sent within {STALE_AFTER.days} days"
        try:
            letter = await self._letters.compose(row)
        except NotWanted as fault:
            return "dropped", str(fault)
        digest = address_digest(letter.to)
        try:
            await self._carrier.send(message_of(letter, row, self._sender))
        except MailNotAccepted as fault:
            if fault.bounced and row.about:
                await outbox.note_bounce(self._db, row, digest, str(fault))
            last = fault.permanent or row.tries + 1 >= TRIES
            return "parked" if last else "postponed", str(fault)
        self._away = 0
        await outbox.note_arrival(self._db, row, digest)
        return "sent", ""

    async def _prune(self, now: float) -> None:
        if now - self._pruned_at > PRUNE_EVERY_S:
            await outbox.prune(self._db)
            await store.prune(self._db)
            self._pruned_at = now
