"""Invitations at identity's doors: once, for one address, while the inviter may, and of nobody else."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from deploy import invite as deploy_invite
from services.identity.domain.account import ACCOUNT, OpenAccount, OpenedAccount
from services.identity.domain.invitation import INVITATION, Pending
from services.identity.signin import keys
from shared.eventlog.write.log import Meta, utc_now
from shared.events.registry import IDENTITY
from shared.runtime.settings import Settings
from tests.examples.engine import NOON, new_id
from tests.services.identity_bench import Bench, sign_up
from tests.spec import sends

pytestmark = pytest.mark.system


async def issued(bench: Bench, inviter: str, name: str = "mina", **more: Any) -> dict[str, Any]:
    answer = await bench.when(inviter, "POST", "/invitations", {"email": f"{name}@x.example", **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@sends
async def joins(bench: Bench, invitation: str, name: str = "mina", **headers: str) -> httpx.Response:
    return await bench.when("", "POST", "/accounts", sign_up(name, invitation=invitation), **headers)


async def operator(bench: Bench, monkeypatch: pytest.MonkeyPatch, databases: Callable[[str], str]) -> str:
    """The token of an operator's account, which the machine's own invitation let in."""
    monkeypatch.setenv("DATABASE_URL", databases("identity").removesuffix("_identity"))
    own = Settings()
    monkeypatch.setattr(deploy_invite, "settings", lambda: own)
    monkeypatch.setattr(keys, "load", lambda *_: _loaded(bench))
    token = await deploy_invite.invite("operator", "Tenure operations", "kim@x.example")
    _, session = await bench.join("kim", invitation=token)
    return session


async def _loaded(bench: Bench) -> Any:
    return bench.app.state.keys


async def pending(bench: Bench, invitation_id: str) -> bool:
    state = await bench.log.state(INVITATION, invitation_id)
    return isinstance(state, Pending)


async def state_of(bench: Bench, inviter: str, invitation_id: str) -> str:
    await bench.settle()
    listed = (await bench.when(inviter, "GET", "/invitations")).json()["items"]
    (found,) = [each["state"] for each in listed if each["invitation_id"] == invitation_id]
    return str(found)


async def test_the_invited_person_joins_and_is_listed(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    answer = await issued(bench, manager)
    await bench.settle()
    (listed,) = (await bench.when(manager, "GET", "/invitations")).json()["items"]
    assert (listed["state"], listed["email"], listed["issued_by"]) == ("pending", "mina@x.example", oskar)
    mina, _ = await bench.join("mina", invitation=answer["invitation"])
    await bench.settle()
    (listed,) = (await bench.when(manager, "GET", "/invitations")).json()["items"]
    assert (listed["state"], listed["email"], listed["account_id"]) == ("accepted", None, mina)


async def test_an_invitation_lets_in_one_person_only(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    invitation = await bench.invite(manager, "mina")
    _, mina = await bench.join("mina", invitation=invitation)
    await joins(bench, invitation).then_refused("email-taken")
    assert (await bench.when(mina, "DELETE", "/me")).status_code == 200
    await bench.settle()
    await joins(bench, invitation).then_refused("invitation-not-valid")


async def test_of_many_who_join_at_once_exactly_one_gets_in(bench: Bench) -> None:
    """By another address each: the names of addresses keep none of them from it."""
    _, manager = await bench.join("oskar")
    answer = await issued(bench, manager)

    def command(account_id: str) -> OpenAccount:
        return OpenAccount(
            account_id=account_id,
            organisation_id="org",
            organisation_name="Northhaus",
            organisation_kind="customer",
            email=f"{account_id}@x.example",
            name="Mina",
            country="DE",
            time_zone="UTC",
            locale="en",
            now=NOON,
            invitation_id=answer["invitation_id"],
        )

    ids = [new_id() for _ in range(8)]
    await asyncio.gather(*(bench.log.execute(ACCOUNT, i, command(i), Meta(i, i, NOON)) for i in ids))
    states = [await bench.log.state(ACCOUNT, account_id) for account_id in ids]
    assert sum(isinstance(found, OpenedAccount) for found in states) == 1


async def test_at_the_doors_too(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    invitation = await bench.invite(manager, "mina")
    answers = await asyncio.gather(*(joins(bench, invitation) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


async def test_a_request_sent_again_gets_its_first_answer(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    invitation = await bench.invite(manager, "mina")
    key = {"Idempotency-Key": "mina's"}
    first = await joins(bench, invitation, **key)
    await bench.settle()
    again = await joins(bench, invitation, **key)
    assert (first.status_code, again.status_code, again.json()["repeated"]) == (200, 200, True)
    assert first.json()["events"] == again.json()["events"]


async def test_after_a_crash_between_joining_and_its_record_nobody_else_gets_in_and_nothing_is_lost(
    bench: Bench,
) -> None:
    """The account is open, and no reaction has said so to the invitation yet."""
    _, manager = await bench.join("oskar")
    answer = await issued(bench, manager)
    await bench.join("mina", invitation=answer["invitation"])
    assert await pending(bench, answer["invitation_id"])
    await joins(bench, answer["invitation"]).then_refused("email-taken")
    await bench.when(manager, "DELETE", f"/invitations/{answer['invitation_id']}").then_refused("invitation-used")
    assert await state_of(bench, manager, answer["invitation_id"]) == "accepted"


async def test_a_refused_sign_up_leaves_the_invitation_as_it_was(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    invitation = await bench.invite(manager, "mina")
    body = sign_up("mina", invitation=invitation) | {"time_zone": "Mars/Olympus"}
    await bench.when("", "POST", "/accounts", body).then_refused("malformed")
    assert (await joins(bench, invitation)).status_code == 200


async def test_a_dry_run_uses_nothing_up(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    dry = await bench.when(manager, "POST", "/invitations?dry_run=true", {"email": "mina@x.example"})
    assert dry.json()["events"][0]["type"] == "InvitationIssued" and dry.json().get("invitation") is None
    invitation = await bench.invite(manager, "mina")
    body = sign_up("mina", invitation=invitation)
    assert (await bench.when("", "POST", "/accounts?dry_run=true", body)).json()["dry_run"]
    assert (await joins(bench, invitation)).status_code == 200


async def test_another_address_than_the_invited_one_does_not_join(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    invitation = await bench.invite(manager, "mina")
    await joins(bench, invitation, "ana").then_refused("invitation-not-valid")


async def test_an_invitation_ends_with_its_inviters_account(bench: Bench) -> None:
    _, first = await bench.join("oskar")
    ana, second = await bench.invited(first, "ana")
    assert (await bench.when(first, "PUT", f"/organisation/administrators/{ana}")).status_code == 200
    answer = await issued(bench, second)
    assert (await bench.when(second, "DELETE", "/me")).status_code == 200
    await joins(bench, answer["invitation"]).then_refused("invitation-not-valid")
    assert await state_of(bench, first, answer["invitation_id"]) == "revoked"
    await joins(bench, answer["invitation"]).then_refused("invitation-not-valid")


async def test_an_invitation_ends_with_its_inviters_right(bench: Bench) -> None:
    _, first = await bench.join("oskar")
    ana, second = await bench.invited(first, "ana")
    place = f"/organisation/administrators/{ana}"
    assert (await bench.when(first, "PUT", place)).status_code == 200
    answer = await issued(bench, second)
    assert (await bench.when(first, "DELETE", place)).status_code == 200
    await joins(bench, answer["invitation"]).then_refused("invitation-not-valid")
    assert (await bench.when(first, "PUT", place)).status_code == 200, "named again"
    await bench.settle()
    assert await state_of(bench, first, answer["invitation_id"]) == "revoked", "what was withdrawn stays withdrawn"


async def test_an_invitation_issued_while_its_inviter_leaves_is_revoked(bench: Bench) -> None:
    """The reaction to the account's end may run before the invitation is known to it."""
    _, first = await bench.join("oskar")
    ana, second = await bench.invited(first, "ana")
    await bench.when(first, "PUT", f"/organisation/administrators/{ana}")
    await bench.settle()
    answer = await issued(bench, second)
    await bench.when(second, "DELETE", "/me")
    await bench.pool.execute("delete from invitations where invitation_id = $1", answer["invitation_id"])
    assert await state_of(bench, first, answer["invitation_id"]) == "revoked"


async def test_a_member_without_the_right_neither_invites_nor_lists_nor_revokes(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    answer = await issued(bench, manager, "ana")
    _, member = await bench.invited(manager, "mina")
    await bench.when(member, "POST", "/invitations", {"email": "ben@x.example"}).then_refused("may-not-invite")
    await bench.when(member, "GET", "/invitations").then_refused("may-not-invite")
    await bench.when(member, "DELETE", f"/invitations/{answer['invitation_id']}").then_refused("may-not-invite")


async def test_whoever_is_in_the_organisation_is_not_invited_into_it(bench: Bench) -> None:
    """The person would stand in both lists, of people and of invitations."""
    _, manager = await bench.join("oskar")
    await bench.invited(manager, "mina")
    for email in ("mina@x.example", " MINA@X.example", "oskar@x.example"):
        await bench.when(manager, "POST", "/invitations", {"email": email}).then_refused("already-a-member")


async def test_an_address_that_a_member_has_not_proven_is_invited(bench: Bench) -> None:
    """A member who enters somebody else's address can't keep them out."""
    _, manager = await bench.join("oskar")
    _, member = await bench.invited(manager, "mina")
    await bench.when(member, "PUT", "/me/profile", {"email": "zoe@x.example"})
    answer = await bench.when(manager, "POST", "/invitations", {"email": "zoe@x.example"})
    assert answer.status_code == 200


async def test_of_another_organisation_nobody_learns_anything(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    answer = await issued(bench, manager)
    ana, other = await bench.join("ana")
    await bench.settle()
    await bench.when(other, "DELETE", f"/invitations/{answer['invitation_id']}").then_refused("unknown")
    await bench.when(other, "DELETE", "/invitations/nowhere").then_refused("unknown")
    assert (await bench.when(other, "GET", "/invitations")).json()["items"] == []
    await bench.when(manager, "PUT", f"/organisation/administrators/{ana}").then_refused("unknown")


async def test_a_revoked_invitation_lets_nobody_in(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    answer = await issued(bench, manager)
    place = f"/invitations/{answer['invitation_id']}"
    for _ in range(2):
        assert (await bench.when(manager, "DELETE", place)).status_code == 200
    await joins(bench, answer["invitation"]).then_refused("invitation-not-valid")
    assert await state_of(bench, manager, answer["invitation_id"]) == "revoked"


async def test_an_expired_invitation_lets_nobody_in(bench: Bench) -> None:
    """Also before the timer has said so; a sandbox's clock counts."""
    sandbox = {"organisation": {"name": "Northhaus", "kind": "customer", "sandbox": True}}
    _, manager = await bench.join("oskar", **sandbox)
    answer = await issued(bench, manager)
    later = utc_now() + timedelta(days=8)
    moved = await bench.when(manager, "POST", "/clock", {"to": later.isoformat()})
    assert moved.status_code == 200
    await bench.settle()
    await bench.app.state.parts.clocks.refresh(bench.pool)
    await joins(bench, answer["invitation"]).then_refused("invitation-not-valid")
    await bench.clocks.refresh(bench.pool)
    await bench.timers.fire()
    assert await state_of(bench, manager, answer["invitation_id"]) == "expired"
    await joins(bench, answer["invitation"]).then_refused("invitation-not-valid")


async def test_the_invited_address_is_forgotten_once_the_invitation_is_settled(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    answer = await issued(bench, manager)
    stream = INVITATION.id(answer["invitation_id"])
    sealed = await bench.pool.fetchval("select data::text from log.events where stream = $1", stream)
    assert "mina" not in sealed and '"email":"enc:1:' in sealed
    await bench.when(manager, "DELETE", f"/invitations/{answer['invitation_id']}")
    await bench.settle()
    erased = "select erased_at is not null from person_keys where account_id = $1"
    assert await bench.pool.fetchval(erased, answer["invitation_id"])
    printed = (
        "select count(*) from log.commands where fingerprint <> '' and id in "
        "(select causation_id from log.events where stream = $1 and type = 'InvitationIssued')"
    )
    assert await bench.pool.fetchval(printed, stream) == 0


async def test_operators_and_publishers_people_join_by_the_operator_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, databases: Callable[[str], str]
) -> None:
    kim = await operator(bench, monkeypatch, databases)
    publisher = {"kind": "publisher", "name": "Autodesk GmbH", "publisher": "autodesk"}
    answer = await issued(bench, kim, "pat", organisation=publisher)
    _, pat = await bench.join("pat", invitation=answer["invitation"])
    me = (await bench.when(pat, "GET", "/me")).json()
    assert (me["organisation_kind"], me["organisation_name"]) == ("publisher", "Autodesk GmbH")
    await bench.when(pat, "POST", "/invitations", {"email": "lee@x.example"}).then_refused("operator-only")
    await bench.when(pat, "GET", "/invitations").then_refused("operator-only")
    _, oskar = await bench.join("oskar")
    for who in (pat, oskar):
        for organisation in (publisher, {"kind": "operator", "name": "Tenure operations"}):
            body = {"email": "lee@x.example", "organisation": organisation}
            await bench.when(who, "POST", "/invitations", body).then_refused("operator-only")
    lee = await issued(bench, kim, "lee")
    _, session = await bench.join("lee", invitation=lee["invitation"])
    assert (await bench.when(session, "GET", "/me")).json()["organisation_kind"] == "operator"
    await bench.settle()
    assert len((await bench.when(kim, "GET", "/invitations")).json()["items"]) == 3


async def test_the_machine_invites_one_address_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, databases: Callable[[str], str]
) -> None:
    await operator(bench, monkeypatch, databases)
    token = await deploy_invite.invite("publisher", "Autodesk", "pat@x.example")
    await joins(bench, token, "lee").then_refused("invitation-not-valid")
    assert (await joins(bench, token, "pat")).status_code == 200
    await joins(bench, token, "pat").then_refused("email-taken")


async def test_a_rebuilt_directory_lists_the_same(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    await issued(bench, manager)
    await bench.settle()
    before = await bench.pool.fetch("select * from invitations")
    for table in ("invitations", "people"):
        await bench.pool.execute(f"delete from {table}")
    await bench.pool.execute("delete from engine.checkpoints where topic = $1", IDENTITY)
    await bench.pool.execute("delete from engine.seen")
    await bench.settle()
    assert await bench.pool.fetch("select * from invitations") == before


async def test_invitations_are_listed_by_state_and_by_who_issued_them(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    accepted, revoked, pending_ = [await issued(bench, manager, name) for name in ("mina", "ana", "lee")]
    await bench.join("mina", invitation=accepted["invitation"])
    await bench.when(manager, "DELETE", f"/invitations/{revoked['invitation_id']}").then_ok()
    await bench.settle()

    async def listed(query: str) -> list[str]:
        page = await bench.when(manager, "GET", f"/invitations?{query}").then_ok()
        return [each["invitation_id"] for each in page["items"]]

    every = sorted(each["invitation_id"] for each in (accepted, revoked, pending_))
    for state, one in (("accepted", accepted), ("revoked", revoked), ("pending", pending_)):
        assert await listed(f"state={state}") == [one["invitation_id"]]
    assert await listed("state=expired") == await listed("issued_by=nobody") == []
    assert await listed(f"issued_by={oskar}&sort=-invitation_id") == every[::-1]
    assert await listed("sort=state") == [each["invitation_id"] for each in (accepted, pending_, revoked)]
    await bench.when(manager, "GET", "/invitations?status=pending").then_refused("malformed")
