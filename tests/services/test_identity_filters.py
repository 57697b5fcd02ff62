"""identity's lists by people's addresses, in place of account ids."""

import pytest

from tests.services.identity_bench import OPERATOR, Bench

pytestmark = pytest.mark.system

MINA, OSKAR, NOBODY = "mina@x.example", "oskar@x.example", "nobody@x.example"


async def found(bench: Bench, who: str, path: str, key: str) -> list[str]:
    return [each[key] for each in (await bench.when(who, "GET", path).then_ok())["items"]]


async def test_contracts_are_found_by_their_managers_address(bench: Bench) -> None:
    oskar, founder = await bench.join("oskar")
    await bench.invited(founder, "mina")
    await bench.join("strange")
    await bench.purchase(oskar)
    for who in (founder, OPERATOR):
        assert await found(bench, who, f"/contracts?manager_email={OSKAR}", "contract_id") == ["c"]
        assert await found(bench, who, "/contracts?manager_email=OSKAR%40X.Example", "contract_id") == ["c"]
        for other in (MINA, NOBODY, "strange@x.example"):
            assert await found(bench, who, f"/contracts?manager_email={other}", "contract_id") == []
    both = f"/contracts?manager_email={OSKAR}&manager={oskar}"
    assert "query.manager" in str(await bench.when(founder, "GET", both).then_refused("malformed"))


async def test_invitations_are_found_by_the_address_of_who_issued_them(bench: Bench) -> None:
    _, founder = await bench.join("oskar")
    await bench.invite(founder, "mina")
    await bench.settle()
    assert len(await found(bench, founder, f"/invitations?issued_by_email={OSKAR}", "invitation_id")) == 1
    assert await found(bench, founder, f"/invitations?issued_by_email={NOBODY}", "invitation_id") == []


async def test_machines_are_found_by_the_address_of_their_person(bench: Bench) -> None:
    mina, founder = await bench.join("oskar")
    body = {"name": "Fleet", "scopes": ["read"], "expires_at": "2027-06-30T00:00:00Z", "acts_for": mina}
    await bench.when(founder, "POST", "/machines", body).then_ok()
    await bench.settle()
    for name in ("registered_by_email", "acts_for_email"):
        assert await found(bench, founder, f"/machines?{name}={OSKAR}", "name") == ["Fleet"]
        assert await found(bench, founder, f"/machines?{name}={NOBODY}", "name") == []


async def test_the_operator_finds_what_anybody_was_told_and_refused_by_address(bench: Bench) -> None:
    _, founder = await bench.join("oskar")
    mina, member = await bench.invited(founder, "mina")
    await bench.settle()
    oskar = (await bench.when(founder, "GET", "/me").then_ok())["account_id"]
    await bench.when(member, "DELETE", f"/people/{oskar}").then_refused("may-not-remove-people")
    assert await found(bench, OPERATOR, f"/refusals?email={MINA}", "account_id") == [mina]
    assert await found(bench, OPERATOR, f"/refusals?email={NOBODY}", "account_id") == []
    assert await found(bench, member, f"/refusals?email={MINA}", "account_id") == [mina]
    await bench.when(member, "GET", f"/refusals?email={OSKAR}").then_refused("unknown")
    told = await found(bench, OPERATOR, f"/notifications?email={OSKAR}", "account_id")
    assert told and len(set(told)) == 1
    assert await found(bench, OPERATOR, f"/notifications?email={NOBODY}", "account_id") == []


async def test_nobody_else_finds_people_of_other_organisations_by_address(bench: Bench) -> None:
    await bench.join("oskar")
    _, stranger = await bench.join("strange")
    body = {"items": [{"email": OSKAR}]}
    answer = await bench.when(stranger, "POST", "/accounts/by-address", body).then_ok()
    assert answer["items"] == [{"account_id": None}]
    everybody = await bench.when(OPERATOR, "POST", "/accounts/by-address", body).then_ok()
    assert everybody["items"][0]["account_id"]
    elsewhere = await bench.when(OPERATOR, "POST", "/accounts/by-address", {**body, "organisation_id": "x"}).then_ok()
    assert elsewhere["items"] == [{"account_id": None}]
