"""The texts of mails, composed from the log and with a signed link when they are sent.

Templates are plain text, in `templates/`: the first line is the subject.
"""

from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Final, NamedTuple

from services.identity.domain import account, invitation
from services.identity.domain.account import ACCOUNT, address_digest
from services.identity.domain.invitation import INVITATION, OPERATOR
from services.identity.mail.outbox import Row
from services.identity.signin import credentials
from services.identity.signin.keys import Keys
from shared.eventlog.write.log import Log
from shared.runtime.database import Pool

_TEMPLATES: Final = {file.stem: file.read_text() for file in (Path(__file__).parent / "templates").glob("*.txt")}


SANDBOX_LINES: Final[Mapping[str, str]] = {
    "en": "SANDBOX: this is about an organisation for trying things out; nothing in it is real.",
    "de": "SANDBOX: Hier geht es um eine Organisation zum Ausprobieren; nichts davon ist echt.",
}
"""The first line of every mail that concerns a sandbox, by language."""


class Letter(NamedTuple):
    """A mail's contents."""

    to: str
    subject: str
    body: str


class Letters:
    """The composer of identity's mails."""

    def __init__(self, db: Pool, event_log: Log, keys: Keys, public_url: str) -> None:
        self._db, self._log, self._keys, self._url = db, event_log, keys, public_url.rstrip("/")

    async def compose(self, row: Row) -> Letter | None:
        """Return the mail of this row, or None if its account or invitation has changed since."""
        match row.kind:
            case "verify-address":
                return await self._verify(row)
            case "invitation":
                return await self._invite(row)
            case "prove-address":
                return self._prove(row)
            case "reset-password":
                return await self._reset(row)

    async def _verify(self, row: Row) -> Letter | None:
        state = await self._log.state(ACCOUNT, row.about)
        if (
            not isinstance(state, account.OpenedAccount)
            or state.verified
            or address_digest(state.profile.email) != row.digest
        ):
            return None
        token = self._keys.verification(row.about, row.digest, f"{row.event_id}:{row.tries}")
        fields = {"name": state.profile.name, "organisation": state.opened.organisation_name}
        letter = self._letter(row.kind, state.profile.email, fields | {"link": self._link("verify-address", token)})
        return marked(letter, sandbox=state.opened.sandbox, locale=state.profile.locale)

    async def _invite(self, row: Row) -> Letter | None:
        state = await self._log.state(INVITATION, row.about)
        if not isinstance(state, invitation.Pending) or address_digest(state.issued.email) != row.digest:
            return None
        issued = state.issued
        inviter = await self._log.state(ACCOUNT, issued.issued_by)
        by, locale = "the operator of this system", "en"
        if isinstance(inviter, account.OpenedAccount):
            by, locale = inviter.profile.name, inviter.profile.locale
        elif issued.issued_by != OPERATOR:
            return None
        fields = {
            "organisation": issued.organisation_name,
            "inviter": by,
            "email": issued.email,
            "expires": f"{issued.expires_at:%Y-%m-%d %H:%M} UTC",
            "link": self._link("join", self._keys.invite(row.about, f"{row.event_id}:{row.tries}", mailed=True)),
        }
        return marked(self._letter(row.kind, issued.email, fields), sandbox=issued.sandbox, locale=locale)

    def _prove(self, row: Row) -> Letter | None:
        if row.address is None:
            return None
        token = self._keys.address_proof(row.digest, f"{row.event_id}:{row.tries}")
        return self._letter(row.kind, row.address, {"link": self._link("sign-up", token)})

    async def _reset(self, row: Row) -> Letter | None:
        state = await self._log.state(ACCOUNT, row.about)
        if (
            not isinstance(state, account.OpenedAccount)
            or not state.verified
            or address_digest(state.profile.email) != row.digest
        ):
            return None
        replaces = credentials.digest(await credentials.verifier_of(self._db, row.about))
        token = self._keys.reset(row.about, replaces, f"{row.event_id}:{row.tries}")
        fields = {"name": state.profile.name, "link": self._link("reset-password", token)}
        letter = self._letter(row.kind, state.profile.email, fields)
        return marked(letter, sandbox=state.opened.sandbox, locale=state.profile.locale)

    def _link(self, page: str, token: str) -> str:
        """Return a link with the token after `#`, which browsers don't send to servers."""
        return f"{self._url}/{page}#{token}"

    def _letter(self, kind: str, to: str, fields: Mapping[str, str]) -> Letter:
        subject, _, body = _TEMPLATES[kind].partition("\n")
        return Letter(to, subject, Template(body).substitute({name: one_line(text) for name, text in fields.items()}))


def marked(letter: Letter, *, sandbox: bool, locale: str) -> Letter:
    """Return the mail, with a first line that says so if it concerns a sandbox."""
    if not sandbox:
        return letter
    line = SANDBOX_LINES["de" if locale.partition("-")[0] == "de" else "en"]
    return letter._replace(body=f"{line}\n\n{letter.body}")


def one_line(text: str) -> str:
    """Return a user's text as one line, so that it can't be taken for a part of the template."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
