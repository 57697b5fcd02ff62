"""Personal fields: sealed before they are hashed and stored, clear in states and answers, empty once forgotten."""

from collections.abc import Sequence

import pytest

from services.identity.domain.account import ACCOUNT, OpenAccount, OpenedAccount, UpdateProfile
from shared.eventlog.write.log import Accepted, Log, Meta
from shared.eventlog.write.memory import MemoryStore
from shared.events import EVENTS
from shared.events.base import Event, Personal
from shared.events.envelope import chained
from tests.examples.engine import COUNTER, NOON, Count, new_id

OPEN = OpenAccount(
    account_id="a",
    organisation_id="org",
    organisation_name="Northhaus",
    organisation_kind="customer",
    email="mina@x.example",
    name="Mina Okafor",
    country="DE",
    time_zone="UTC",
    locale="en",
    now=NOON,
)


class Upside:
    """Turns every personal value round; forgets when told to. Counts how often it is asked."""

    def __init__(self) -> None:
        self.forgotten, self.asked = False, 0

    async def seal(self, events: Sequence[Event]) -> Sequence[Event]:
        self.asked += 1
        return [self._turned(event) for event in events]

    async def open(self, events: Sequence[Event]) -> Sequence[Event]:
        return await self.seal(events)

    def _turned(self, event: Event) -> Event:
        changed = {name: "" if self.forgotten else getattr(event, name)[::-1] for name in event.PERSONAL_FIELDS}
        return event.model_copy(update=changed)


def meta(command_id: str = "") -> Meta:
    return Meta(command_id or new_id(), "a", NOON)


def clear(text: bytes) -> bool:
    return b"mina@x.example" in text or b"Mina Okafor" in text


async def test_stored_sealed_and_answered_in_the_clear() -> None:
    store, sealer = MemoryStore(), Upside()
    log = Log(store, "identity", sealer=sealer)
    first = await log.execute(ACCOUNT, "a", OPEN, meta("one"))
    assert isinstance(first, Accepted) and clear(first.events[0].event.data())
    await log.execute(ACCOUNT, "a", UpdateProfile(country="FR"), meta())
    for stored in store.events:
        assert not clear(stored.data) and b"rofakO aniM" in stored.data
        assert stored.envelope.hash == chained(stored.envelope, stored.data), "the hash is over what is stored"
    again = await log.execute(ACCOUNT, "a", OPEN, meta("one"))
    assert isinstance(again, Accepted) and again.repeated and again.events[0].event == first.events[0].event
    assert again.events[0].event.ref == first.events[0].id
    elsewhere = await Log(store, "identity", sealer=sealer).state(ACCOUNT, "a")
    assert elsewhere == await log.state(ACCOUNT, "a")
    assert isinstance(elsewhere, OpenedAccount) and elsewhere.profile.email == "mina@x.example"
    assert elsewhere.opened.ref == first.events[0].id, "what is opened still knows its id"


async def test_the_forgotten_reads_empty() -> None:
    store, sealer = MemoryStore(), Upside()
    await Log(store, "identity", sealer=sealer).execute(ACCOUNT, "a", OPEN, meta("one"))
    before = list(store.events)
    sealer.forgotten = True
    log = Log(store, "identity", sealer=sealer)
    state = await log.state(ACCOUNT, "a")
    assert isinstance(state, OpenedAccount) and (state.profile.email, state.profile.name) == ("", "")
    again = await log.execute(ACCOUNT, "a", OPEN, meta("one"))
    assert isinstance(again, Accepted) and not clear(again.events[0].event.data())
    assert store.events == before


async def test_a_name_is_claimed_as_it_is_not_as_it_is_sealed() -> None:
    store = MemoryStore()
    await Log(store, "identity", sealer=Upside()).execute(ACCOUNT, "a", OPEN, meta())
    assert await store.holder("email:mina@x.example") == "account-a"


async def test_without_a_sealer_nothing_personal_is_written() -> None:
    store = MemoryStore()
    with pytest.raises(RuntimeError, match="sealer"):
        await Log(store, "identity").execute(ACCOUNT, "a", OPEN, meta())
    assert store.events == []


async def test_others_never_meet_the_sealer() -> None:
    store, sealer = MemoryStore(), Upside()
    log = Log(store, "entitlements", sealer=sealer)
    await log.execute(COUNTER, "one", Count(), meta())
    await Log(store, "entitlements", sealer=sealer).state(COUNTER, "one")
    await log.dry_run(ACCOUNT, "a", OPEN)
    assert sealer.asked == 0, "neither do dry runs"


def test_which_fields_are_personal() -> None:
    personal = {name: event.PERSONAL_FIELDS for name, event in EVENTS.items() if event.PERSONAL_FIELDS}
    assert personal == {
        "AccountOpened": ("email", "name"),
        "ProfileUpdated": ("email", "name"),
        "RoleRequested": ("message",),
        "RoleRequestDeclined": ("reason",),
        "InvitationIssued": ("email",),
        "AddressVerified": ("email",),
        "AddressReleased": ("email",),
        "IdentityLinked": ("subject",),
        "WebhookRegistered": ("address",),
    }


def test_personal_fields_say_whose_they_are() -> None:
    with pytest.raises(TypeError, match="account_id"):

        class Nameless(Event):
            name: Personal
