"""The texts of mails, composed from the log and with a signed link when they are sent.

Templates are plain text, in `templates/<language>/`: the first line is the subject. A notification's text is composed
as in the inbox.
"""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Final, NamedTuple

from services.identity.domain import account, invitation
from services.identity.domain.account import ACCOUNT, address_digest
from services.identity.domain.invitation import INVITATION, OPERATOR
from services.identity.mail.outbox import Row
from services.identity.notifications import store
from services.identity.notifications.texts import composed, words_of
from services.identity.notifications.words import LANGUAGES, Words, printable, words_for
from services.identity.signin import credentials
from services.identity.signin.keys import Keys
from shared.eventlog.write.log import Log
from shared.runtime.database import Pool

_FOLDER: Final = Path(__file__).parent / "templates"
_TEMPLATES: Final = {
    language: {file.stem: file.read_text() for file in (_FOLDER / language).glob("*.txt")} for language in LANGUAGES
}
_COLUMNS: Final = 78


class NotWanted(Exception):
    """A mail is not sent, because its occasion no longer exists or its person does not want it."""


_ENGLISH: Final = words_for("en", "UTC")
"""The words of mails to those of whom nothing is known."""
OPERATOR_NAME: Final = "the operator of this system"
SANDBOX_LINE: Final = "SANDBOX: this is about an organisation for trying things out; nothing in it is real."
"""The first line of every mail that concerns a sandbox."""
_CHANGED: Final = "its account or invitation has changed since"


class Letter(NamedTuple):
    """A mail's contents."""

    to: str
    subject: str
    body: str


class Letters:
    """The composer of identity's mails."""

    def __init__(self, db: Pool, event_log: Log, keys: Keys, public_url: str) -> None:
        self._db, self._log, self._keys, self._url = db, event_log, keys, public_url.rstrip("/")

    async def compose(self, row: Row) -> Letter:
        """Return the mail of this row.

        Raises:
            NotWanted: Its account or invitation has changed since, or its person does not want it.
        """
        match row.kind:
            case "verify-address":
                return await self._verify(row)
            case "invitation":
                return await self._invite(row)
            case "prove-address":
                return self._prove(row)
            case "reset-password":
                return await self._reset(row)
            case "notification":
                return await self._notify(row)

    async def _verify(self, row: Row) -> Letter:
        state = await self._log.state(ACCOUNT, row.about)
        if (
            not isinstance(state, account.OpenedAccount)
            or state.verified
            or address_digest(state.profile.email) != row.digest
        ):
            raise NotWanted(_CHANGED)
        token = self._keys.verification(row.about, row.digest, f"{row.event_id}:{row.tries}")
        fields = {"name": state.profile.name, "organisation": state.opened.organisation_name}
        fields["link"] = self._link("verify-address", token)
        words = words_of(state)
        return marked(_letter(row.kind, state.profile.email, fields, words), words, sandbox=state.opened.sandbox)

    async def _invite(self, row: Row) -> Letter:
        state = await self._log.state(INVITATION, row.about)
        if not isinstance(state, invitation.Pending) or address_digest(state.issued.email) != row.digest:
            raise NotWanted(_CHANGED)
        issued = state.issued
        inviter = await self._log.state(ACCOUNT, issued.issued_by)
        words, by = _ENGLISH, OPERATOR_NAME
        if isinstance(inviter, account.OpenedAccount):
            words, by = words_of(inviter), inviter.profile.name
        elif issued.issued_by != OPERATOR:
            raise NotWanted(_CHANGED)
        fields = {
            "organisation": issued.organisation_name,
            "inviter": by,
            "email": issued.email,
            "expires": words.instant(issued.expires_at),
            "link": self._link("join", self._keys.invite(row.about, f"{row.event_id}:{row.tries}", mailed=True)),
        }
        return marked(_letter(row.kind, issued.email, fields, words), words, sandbox=issued.sandbox)

    def _prove(self, row: Row) -> Letter:
        if row.address is None:
            raise NotWanted(_CHANGED)
        token = self._keys.address_proof(row.digest, f"{row.event_id}:{row.tries}")
        return _letter(row.kind, row.address, {"link": self._link("sign-up", token)}, _ENGLISH)

    async def _reset(self, row: Row) -> Letter:
        state = await self._log.state(ACCOUNT, row.about)
        if (
            not isinstance(state, account.OpenedAccount)
            or not state.verified
            or address_digest(state.profile.email) != row.digest
        ):
            raise NotWanted(_CHANGED)
        replaces = credentials.digest(await credentials.verifier_of(self._db, row.about))
        token = self._keys.reset(row.about, replaces, f"{row.event_id}:{row.tries}")
        fields = {"name": state.profile.name, "link": self._link("reset-password", token)}
        words = words_of(state)
        return marked(_letter(row.kind, state.profile.email, fields, words), words, sandbox=state.opened.sandbox)

    async def _notify(self, row: Row) -> Letter:
        """Return the mail of a notification, as the inbox has it."""
        person = await self._log.state(ACCOUNT, row.about)
        stored = await store.one(self._db, row.event_id)
        if not isinstance(person, account.OpenedAccount) or stored is None:
            raise NotWanted("its account was closed")
        email, words = person.profile.email, words_of(person)
        if not email or not person.verified:
            raise NotWanted("the address is not verified")
        refused = await store.bounced(self._db, row.about, address_digest(email), row.id)
        if refused is not None:
            raise NotWanted(f"an earlier mail to the address was refused: {refused}")
        ((title, text, _, page),) = await composed(self._db, self._log, person, [stored])
        happened = words.text("This happened on {at:instant}.", {"at": stored.happened_at.isoformat()})
        see = words.text("Go to the page: {page}", {"page": f"{self._url}{page}"}) if page else ""
        links = {"inbox": f"{self._url}/inbox", "profile": f"{self._url}/profile/notifications"}
        footer = words.text("Your inbox: {inbox}\nHow you are notified: {profile}", links)
        parts = (_wrapped(text), see, _wrapped(happened), f"-- \n{footer}")
        body = "\n\n".join(part for part in parts if part)
        return marked(Letter(email, printable(title), f"{body}\n"), words, sandbox=person.opened.sandbox)

    def _link(self, page: str, token: str) -> str:
        """Return a link with the token after `#`, which browsers don't send to servers."""
        return f"{self._url}/{page}#{token}"


def _letter(kind: str, to: str, fields: Mapping[str, str], words: Words) -> Letter:
    """Return the mail of a template, in the person's language."""
    subject, _, body = _TEMPLATES[words.locale.language][kind].partition("\n")
    return Letter(to, subject, Template(body).substitute({name: printable(text) for name, text in fields.items()}))


def _wrapped(text: str) -> str:
    """Return a text whose lines are short enough to be read as plain text."""
    return "\n".join(
        textwrap.fill(line, _COLUMNS, subsequent_indent="> " if line.startswith("> ") else "")
        for line in text.splitlines()
    )


def marked(letter: Letter, words: Words, *, sandbox: bool) -> Letter:
    """Return the mail, with a first line that says so if it concerns a sandbox."""
    return letter._replace(body=f"{words.gettext(SANDBOX_LINE)}\n\n{letter.body}") if sandbox else letter
