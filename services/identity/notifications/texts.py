"""The texts of stored notifications, composed for the person who reads them.

Names are read from the accounts as they are now, and sealed texts are opened with their owners' keys, so that nothing
of a person who was forgotten is shown.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

from pydantic import JsonValue, TypeAdapter

from services.identity import persons
from services.identity.domain.account import ACCOUNT, OpenedAccount
from services.identity.domain.contract import CONTRACT
from services.identity.domain.contract_state import OpenedContract
from services.identity.domain.notification_pages import page_of
from services.identity.domain.notification_table import TABLE
from services.identity.domain.webhook import WEBHOOK, Running
from services.identity.notifications.store import SQL, Stored
from services.identity.notifications.words import Words, places, words_for
from shared.eventlog.write.log import Log
from shared.events import AccountOpened
from shared.organisations import called
from shared.sql import Queryable

_FACTS: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


class Text(NamedTuple):
    """A notification as its person reads it."""

    title: str
    text: str
    facts: Mapping[str, JsonValue]
    page: str
    """The path of the console's page where the person can act, or ""."""


def words_of(person: OpenedAccount) -> Words:
    """Return the words for a person's profile."""
    return words_for(person.profile.locale, person.profile.time_zone)


async def composed(db: Queryable, log: Log, person: OpenedAccount, rows: Sequence[Stored]) -> list[Text]:
    """Return the texts of a person's notifications."""
    names = _Names(db, log)
    words = words_of(person)
    return [await _composed(row, words, names, person.opened) for row in rows]


async def _composed(row: Stored, words: Words, names: "_Names", reader: AccountOpened) -> Text:
    facts = _FACTS.validate_json(row.facts)
    found = TABLE.get(row.template)
    if found is None:  # of another version of the service
        return Text(row.kind, "", facts, "")
    shown = await names.filled(facts, dict(places(found.title) | places(found.text)))
    title = words.text(found.title, shown)
    page = page_of(found, reader.organisation_kind, in_path(facts))
    title = f"[{words.gettext('Sandbox')}] {title}" if reader.sandbox else title
    return Text(title, words.text(found.text, shown), facts, page)


def in_path(facts: Mapping[str, JsonValue]) -> dict[str, str]:
    """Return the texts among the facts, as they are written in a path."""
    return {name: quote(value, safe="") for name, value in facts.items() if isinstance(value, str)}


class _Names:
    """Names of people and organisations, each read once."""

    def __init__(self, db: Queryable, log: Log) -> None:
        self._db, self._log = db, log
        self._known: dict[tuple[str, str], str] = {}

    async def filled(self, facts: Mapping[str, JsonValue], forms: Mapping[str, str]) -> dict[str, JsonValue]:
        """Return the facts with names in place of ids, and with what is sealed opened."""
        values = await asyncio.gather(*(self._value(name, value, forms.get(name, "")) for name, value in facts.items()))
        return dict(zip(facts, values, strict=True))

    async def _value(self, name: str, value: JsonValue, form: str) -> JsonValue:
        if name in ("contract", "webhook") and isinstance(value, str):
            return await self._name(name, value)
        match value:
            case {"sealed": str(sealed), "of": str(owner)}:
                (opened,) = await persons.opened(self._db, [(owner, sealed)])
                return opened
            case str() if form in ("person", "organisation"):
                return await self._name(form, value)
            case _:
                return value

    async def _name(self, form: str, named: str) -> str:
        if (form, named) not in self._known:
            of = {
                "person": self._person,
                "organisation": self._organisation,
                "contract": self._contract,
                "webhook": self._webhook,
            }[form]
            self._known[form, named] = await of(named)
        return self._known[form, named]

    async def _contract(self, contract_id: str) -> str:
        """Return what people call a contract: its publisher and programme."""
        contract = await self._log.state(CONTRACT, contract_id)
        if not isinstance(contract, OpenedContract):
            return contract_id
        return f"{called(contract.opened.publisher)} {called(contract.opened.programme)}"

    async def _webhook(self, webhook_id: str) -> str:
        webhook = await self._log.state(WEBHOOK, webhook_id)
        return webhook.registered.name if isinstance(webhook, Running) else webhook_id

    async def _person(self, account_id: str) -> str:
        account = await self._log.state(ACCOUNT, account_id)
        return account.profile.name if isinstance(account, OpenedAccount) else ""

    async def _organisation(self, organisation_id: str) -> str:
        somebody: str | None = await self._db.fetchval(SQL["somebody_of"], organisation_id)
        if somebody is None:
            return ""
        account = await self._log.state(ACCOUNT, somebody)
        return account.opened.organisation_name if isinstance(account, OpenedAccount) else ""
