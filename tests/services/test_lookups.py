"""What a service's lookups promise: one suite, for PostgreSQL and for the simulation's memory."""

import random
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final, TypeAlias

import pytest

from services import definitions
from services.entitlements import lookups as of_entitlements
from services.entitlements.domain.seat_pool import SEAT_POOL
from services.entitlements.lookups import LatestCsn, Progress
from services.identity.domain.account import ACCOUNT
from services.identity.domain.contract import CONTRACT
from services.identity.domain.invitation import INVITATION
from services.identity.domain.notification_rows import NOBODY, Subject
from shared.eventlog.deliver.projection import Projection, Reactions
from shared.events import (
    AccountClosed,
    AccountOpened,
    ContractOpened,
    CsnIssued,
    CsnRevoked,
    Event,
    InvitationIssued,
    PeopleAdministratorNamed,
    PeopleAdministratorRemoved,
    RoleAssigned,
    RoleRequested,
    SeatAssigned,
    SeatPoolEnded,
    SeatPoolExpired,
    SeatPoolOpened,
    SeatPoolRenewed,
    SeatPoolSuspended,
    SeatUnassigned,
)
from shared.events.envelope import Envelope
from shared.organisations import organisation_of
from tests.examples.engine import NOON, new_id
from tests.services.lookups import IdentityLookups, Told, in_memory, in_postgres, like
from tests.simulation.twins import TWINS

EITHER: Final = ["memory", pytest.param("postgres", marks=pytest.mark.system)]
Entitlements: TypeAlias = Told[of_entitlements.Lookups]
Identity: TypeAlias = Told[IdentityLookups]


@pytest.fixture(params=EITHER)
async def entitlements(request: pytest.FixtureRequest) -> AsyncIterator[Entitlements]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield in_memory("entitlements")
        else:
            yield await in_postgres("entitlements", request.getfixturevalue("databases")("entitlements"), stack)


@pytest.fixture(params=EITHER)
async def identity(request: pytest.FixtureRequest) -> AsyncIterator[Identity]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield in_memory("identity")
        else:
            yield await in_postgres("identity", request.getfixturevalue("databases")("identity"), stack)


def opened(pool: str, contract: str = "c", publisher: str = "p", customer: str = "org", partner: str = "r") -> Event:
    return like(
        SeatPoolOpened,
        subscription_id=pool,
        contract_id=contract,
        publisher=publisher,
        customer=customer,
        partner=partner,
    )


def seat(event: type[Event], pool: str, account: str, number: int) -> Event:
    return like(event, subscription_id=pool, account_id=account, seat=number)


def phase(event: type[Event], pool: str) -> Event:
    return like(event, subscription_id=pool)


# ── entitlements: accounts, contracts, numbers ─────────────────────────────────────────────────────────


async def test_an_account_is_as_its_last_event_says(entitlements: Entitlements) -> None:
    told, lookups = entitlements, entitlements.lookups
    assert await lookups.account("ana") is None
    told.world.say("identity", "account-ana", like(AccountOpened, account_id="ana", organisation_id="org"), "e1")
    await told.fold()
    account = await lookups.account("ana")
    assert isinstance(account, AccountOpened)
    assert (account.account_id, account.organisation_id, account.ref) == ("ana", "org", "e1")
    told.world.say("identity", "account-ana", like(AccountClosed, account_id="ana", organisation_id="org"), "e2")
    await told.fold()
    account = await lookups.account("ana")
    assert isinstance(account, AccountClosed)
    assert (account.account_id, account.organisation_id, account.ref) == ("ana", "org", "e2")


async def test_a_contract_has_a_customer_with_its_own_publisher_only(entitlements: Entitlements) -> None:
    contract = like(ContractOpened, contract_id="c", customer="org", publisher="p")
    entitlements.world.say("identity", "contract-c", contract)
    await entitlements.fold()
    asked = [("c", "p"), ("c", "q"), ("d", "p")]
    assert [await entitlements.lookups.customer(*each) for each in asked] == ["org", None, None]


async def test_of_the_valid_numbers_the_newest_counts_as_of_the_last_word(entitlements: Entitlements) -> None:
    told, lookups = entitlements, entitlements.lookups
    assert await lookups.latest_csn("org", "p") is None
    number = {"organisation_id": "org", "publisher": "p"}
    expected: list[tuple[type[CsnIssued | CsnRevoked], str, LatestCsn]] = [
        (CsnIssued, "1", LatestCsn("1", 1)),
        (CsnIssued, "2", LatestCsn("2", 2)),
        (CsnRevoked, "2", LatestCsn("1", 3)),
        (CsnRevoked, "1", LatestCsn(None, 4)),
    ]
    for event, csn, latest in expected:
        told.world.say("marketplace", "partner-org", like(event, csn=csn, **number))
        await told.fold()
        assert await lookups.latest_csn("org", "p") == latest
    assert await lookups.latest_csn("org", "q") is None


# ── entitlements: pools and seats ──────────────────────────────────────────────────────────────────────


STEPS: Final[list[tuple[list[type[Event]], bool]]] = [
    ([], True),
    ([SeatPoolExpired], True),
    ([SeatPoolExpired, SeatPoolRenewed], True),
    ([SeatPoolExpired, SeatPoolSuspended], False),
    ([SeatPoolExpired, SeatPoolSuspended, SeatPoolEnded], False),
]
"""What a pool goes through, and whether it can be used then."""


@pytest.mark.parametrize(("steps", "usable"), STEPS)
async def test_a_pool_can_be_used_until_it_is_suspended(
    entitlements: Entitlements, steps: list[type[Event]], usable: bool
) -> None:
    told, lookups = entitlements, entitlements.lookups
    await told.append(SEAT_POOL, "s", opened("s"), *(phase(step, "s") for step in steps))
    await told.fold()
    assert await lookups.usable("c", unknown=not usable) is usable
    assert await lookups.pools_of_organisation("org", "p") == (["s"] if usable else [])


@pytest.mark.parametrize("unknown", [True, False])
async def test_without_a_pool_the_asker_says_what_counts(entitlements: Entitlements, unknown: bool) -> None:
    assert await entitlements.lookups.usable("c", unknown=unknown) is unknown


async def test_pools_are_listed_by_contract_and_by_organisation(entitlements: Entitlements) -> None:
    told, lookups = entitlements, entitlements.lookups
    await told.append(SEAT_POOL, "s2", opened("s2"))
    await told.append(SEAT_POOL, "s1", opened("s1", customer="x", partner="org"))
    await told.append(SEAT_POOL, "s3", opened("s3", contract="d", publisher="q"))
    await told.fold()
    assert await lookups.pools_of_contract("c") == ["s1", "s2"]
    assert await lookups.pools_of_organisation("org", "p") == ["s1", "s2"]
    assert await lookups.pools_of_organisation("org", "q") == ["s3"]


async def test_a_users_pools_come_first(entitlements: Entitlements) -> None:
    told, lookups = entitlements, entitlements.lookups
    await told.append(SEAT_POOL, "s1", opened("s1"))
    await told.append(SEAT_POOL, "s2", opened("s2"), seat(SeatAssigned, "s2", "ana", 1))
    await told.append(SEAT_POOL, "s3", opened("s3"), seat(SeatAssigned, "s3", "ben", 1))
    await told.fold()
    assert await lookups.pools_for_user("c", "ana") == ["s2", "s1", "s3"]
    assert await lookups.pools_for_user("d", "ana") == []


async def test_seats_are_listed_until_they_are_taken_back(entitlements: Entitlements) -> None:
    told, lookups = entitlements, entitlements.lookups
    for pool in ("s2", "s1"):
        await told.append(SEAT_POOL, pool, opened(pool), seat(SeatAssigned, pool, "ana", 1))
    await told.fold()
    assert await lookups.seats_of("ana") == ["s1", "s2"]
    await told.append(SEAT_POOL, "s1", seat(SeatUnassigned, "s1", "ana", 1))
    await told.fold()
    assert await lookups.seats_of("ana") == ["s2"]


# ── entitlements: how far a projection has come ────────────────────────────────────────────────────────


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[Projection, type[Event]], None]:
    """Makes a projection's fold of this event fail."""

    def make(projection: Projection, event: type[Event]) -> None:
        async def broken(*_: object) -> None:
            raise ZeroDivisionError("a bug")

        monkeypatch.setitem(projection._folds, event.type(), broken)

    return make


async def test_an_event_is_folded_once_the_projection_has_come_to_it(entitlements: Entitlements) -> None:
    told, pools = entitlements, entitlements.projections["pools"]
    await told.append(SEAT_POOL, "s", opened("s"), phase(SeatPoolExpired, "s"))
    await told.world.relay()
    last = told.stored("pool-s", 2)
    assert await told.lookups.progress(pools, last) == Progress(folded=False, parked=False)
    await told.fold()
    assert await told.lookups.progress(pools, last) == Progress(folded=True, parked=False)
    assert await told.lookups.progress(pools, last._replace(version=3)) == Progress(folded=False, parked=False)


async def test_a_parked_event_holds_up_what_follows_it(entitlements: Entitlements, fails: Any) -> None:
    told, pools = entitlements, entitlements.projections["pools"]
    fails(pools, SeatPoolExpired)
    await told.append(SEAT_POOL, "s", opened("s"), phase(SeatPoolExpired, "s"), phase(SeatPoolSuspended, "s"))
    await told.fold()
    progress = [await told.lookups.progress(pools, told.stored("pool-s", version)) for version in (1, 2, 3)]
    progress.append(await told.lookups.progress(pools, told.stored("pool-s", 3)._replace(version=4)))
    assert [each.parked for each in progress] == [False, True, True, True]
    assert [await told.lookups.has_parked(pools, stream) for stream in ("pool-s", "pool-t")] == [True, False]
    assert not await told.lookups.has_parked(told.projections["people"], "pool-s")


async def test_a_pool_that_is_parked_before_it_was_opened_is_told(entitlements: Entitlements, fails: Any) -> None:
    told = entitlements
    fails(told.projections["pools"], SeatPoolOpened)
    await told.append(SEAT_POOL, "s", opened("s"), phase(SeatPoolExpired, "s"))
    await told.fold()
    assert [await told.lookups.unseen_pool(contract) for contract in ("c", "d")] == ["pool-s", None]


async def test_a_pool_that_is_parked_later_is_seen(entitlements: Entitlements, fails: Any) -> None:
    fails(entitlements.projections["pools"], SeatPoolExpired)
    await entitlements.append(SEAT_POOL, "s", opened("s"), phase(SeatPoolExpired, "s"))
    await entitlements.fold()
    assert await entitlements.lookups.unseen_pool("c") is None


# ── entitlements: whatever the events ──────────────────────────────────────────────────────────────────

ORGANISATIONS, PUBLISHERS, CONTRACTS = ("org", "r", "x"), ("p", "q"), ("c", "d", "e")
ACCOUNTS, POOLS, NUMBERS = ("ana", "ben", "cleo", "dan"), ("s1", "s2", "s3", "s4"), ("1", "2", "3")


async def tell(told: Entitlements, chance: random.Random) -> None:
    """Some fifty events, in an order that streams allow."""
    for account in chance.sample(ACCOUNTS, 3):
        who = {"account_id": account, "organisation_id": chance.choice(ORGANISATIONS)}
        told.world.say("identity", f"account-{account}", like(AccountOpened, **who), f"opened-{account}")
        if chance.random() < 0.4:
            told.world.say("identity", f"account-{account}", like(AccountClosed, **who), f"closed-{account}")
    for contract in chance.sample(CONTRACTS, 2):
        parties = {"customer": chance.choice(ORGANISATIONS), "publisher": chance.choice(PUBLISHERS)}
        told.world.say("identity", f"contract-{contract}", like(ContractOpened, contract_id=contract, **parties))
    for _ in range(12):
        organisation, kind = chance.choice(ORGANISATIONS), chance.choice((CsnIssued, CsnRevoked))
        about = {"organisation_id": organisation, "publisher": chance.choice(PUBLISHERS)}
        told.world.say("marketplace", f"partner-{organisation}", like(kind, csn=chance.choice(NUMBERS), **about))
    for pool in chance.sample(POOLS, 3):
        between = chance.sample(ORGANISATIONS, 2)
        events = [opened(pool, chance.choice(CONTRACTS), chance.choice(PUBLISHERS), *between)]
        free, held = list(ACCOUNTS), dict[int, str]()
        for number in range(1, 8):
            if held and chance.random() < 0.4:
                taken = chance.choice(sorted(held))
                events.append(seat(SeatUnassigned, pool, held[taken], taken))
                free.append(held.pop(taken))
            elif free:
                held[number] = free.pop(chance.randrange(len(free)))
                events.append(seat(SeatAssigned, pool, held[number], number))
        steps = (SeatPoolExpired, SeatPoolSuspended, SeatPoolEnded)
        events += [phase(step, pool) for step in steps[: chance.randrange(4)]]
        await told.append(SEAT_POOL, pool, *events)
    await told.fold()


async def answers(told: Entitlements) -> dict[tuple[str, ...], object]:
    """Everything that can be asked."""
    ask, found = told.lookups, dict[tuple[str, ...], object]()
    for account in ACCOUNTS:
        known = await ask.account(account)
        found["account", account] = known and (type(known), known.account_id, known.organisation_id, known.ref)
        found["seats", account] = await ask.seats_of(account)
    for contract in CONTRACTS:
        found["usable", contract] = [await ask.usable(contract, unknown=unknown) for unknown in (True, False)]
        found["pools", contract] = await ask.pools_of_contract(contract)
        for account in ACCOUNTS:
            found["pools", contract, account] = await ask.pools_for_user(contract, account)
    for publisher in PUBLISHERS:
        for contract in CONTRACTS:
            found["customer", contract, publisher] = await ask.customer(contract, publisher)
        for organisation in ORGANISATIONS:
            found["csn", organisation, publisher] = await ask.latest_csn(organisation, publisher)
            found["pools", organisation, publisher] = await ask.pools_of_organisation(organisation, publisher)
    return found


@pytest.mark.system
@pytest.mark.parametrize("seed", range(5))
async def test_the_same_events_get_the_same_answers(seed: int, databases: Callable[[str], str]) -> None:
    async with AsyncExitStack() as stack:
        both = in_memory("entitlements"), await in_postgres("entitlements", databases("entitlements"), stack)
        for told in both:
            await tell(told, random.Random(seed))
        memory, postgres = [await answers(told) for told in both]
        assert any(memory[question] for question in memory)
        assert memory == postgres


# ── identity ───────────────────────────────────────────────────────────────────────────────────────────


async def test_who_has_or_asks_for_a_role_is_involved(identity: Identity) -> None:
    who = {"account_id": "ana"}
    await identity.append(CONTRACT, "d", like(RoleAssigned, contract_id="d", **who))
    await identity.append(CONTRACT, "c", like(RoleRequested, contract_id="c", **who))
    await identity.fold()
    assert await identity.lookups.contracts_of("ana") == ["c", "d"]
    assert await identity.lookups.contracts_of("ben") == []


async def test_to_involve_somebody_again_changes_nothing(identity: Identity) -> None:
    for _ in range(2):
        await identity.lookups.involve("ana", "c")
    await identity.append(CONTRACT, "c", like(RoleAssigned, contract_id="c", account_id="ana"))
    await identity.fold()
    assert await identity.lookups.contracts_of("ana") == ["c"]


async def test_invitations_are_listed_by_who_issued_them(identity: Identity) -> None:
    first = like(InvitationIssued, invitation_id="i2", issued_by="ana")
    second = like(InvitationIssued, invitation_id="i1", issued_by="ana")
    await identity.append(INVITATION, "i2", first)
    for _ in range(2):
        await identity.lookups.note_invitation(second)
    await identity.append(INVITATION, "i1", second)
    await identity.fold()
    assert await identity.lookups.invitations_by("ana") == ["i1", "i2"]
    assert await identity.lookups.invitations_by("ben") == []


async def test_only_an_event_of_the_log_that_closes_this_account_is_closing(identity: Identity) -> None:
    await identity.append(ACCOUNT, "ana", like(AccountClosed, account_id="ana"))
    await identity.append(CONTRACT, "c", like(RoleAssigned, contract_id="c", account_id="ana"))
    await identity.world.relay()
    closing, role = identity.stored("account-ana", 1), identity.stored("contract-c", 1)
    asked = [
        ("ana", closing),
        ("ben", closing),
        ("ana", closing._replace(version=2)),
        ("ana", closing._replace(hash=b"x" * 32)),
        ("c", role),
    ]
    assert [await identity.lookups.is_closing(*each) for each in asked] == [True, False, False, False, False]


async def test_effects_may_be_had_again(identity: Identity) -> None:
    envelope = Envelope(new_id(), "urn:tenure:identity", "AccountOpened", "account-ana", NOON, 1, 1, 1)
    for _ in range(2):
        await identity.lookups.enqueue("verify-address", "ana", "ana@example.com", envelope)
        await identity.lookups.erase("ana")
        await identity.lookups.erase_invited("i1")


def test_every_service_whose_reactions_ask_has_a_twin() -> None:
    asking = {
        service.name
        for service in definitions()
        for each in service.consumers
        if isinstance(each, Reactions) and each.has_lookups
    }
    assert asking == TWINS.keys()


# ── identity: notifications ────────────────────────────────────────────────────────────────────────────


ORDERED: Final = Subject(
    subject_id="s",
    contract_id="c",
    customer="org",
    partner="r",
    ordered_by="clerk",
    purchaser="mina",
    product="AutoCAD",
)


async def test_a_subject_is_as_its_latest_version_says_and_keeps_who_ordered_it(identity: Identity) -> None:
    lookups = identity.lookups
    assert await lookups.subject("s") == NOBODY
    await lookups.note_subject(ORDERED, 1)
    assert await lookups.subject("s") == ORDERED
    await lookups.note_subject(replace(ORDERED, ordered_by="", product="AutoCAD LT"), 3)
    await lookups.note_subject(replace(ORDERED, product="Revit"), 2)
    assert await lookups.subject("s") == replace(ORDERED, product="AutoCAD LT")


async def test_a_rollouts_product_is_its_updates_title_once_that_is_known(identity: Identity) -> None:
    lookups = identity.lookups
    rollout = Subject(subject_id="r1", contract_id="c", customer="org", product="2027.1", update="update:autodesk:u")
    await lookups.note_subject(rollout, 1)
    assert (await lookups.subject("r1")).product == "2027.1"
    await lookups.note_subject(Subject(subject_id="update:autodesk:u", product="AutoCAD 2027.1"), 1)
    assert await lookups.subject("r1") == replace(rollout, product="AutoCAD 2027.1")


async def test_an_organisations_people_are_managed_by_its_first_account_and_whom_it_named(identity: Identity) -> None:
    told = identity
    ana = str(uuid.UUID(int=1))
    first = organisation_of(ana)
    for account in (ana, "ben", "eva"):
        await told.append(ACCOUNT, account, like(AccountOpened, account_id=account, organisation_id=first))
    await told.append(ACCOUNT, "ben", like(PeopleAdministratorNamed, account_id="ben", organisation_id=first))
    await told.append(ACCOUNT, "eva", like(PeopleAdministratorNamed, account_id="eva", organisation_id=first))
    await told.append(ACCOUNT, "eva", like(PeopleAdministratorRemoved, account_id="eva", organisation_id=first))
    await told.fold()
    assert await told.lookups.managers_of_people(first) == [ana, "ben"]
    await told.append(ACCOUNT, "ben", like(AccountClosed, account_id="ben", organisation_id=first))
    await told.fold()
    assert await told.lookups.managers_of_people(first) == [ana]
    assert await told.lookups.managers_of_people("another") == []
