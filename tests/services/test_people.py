"""An organisation's people: found by name or address, and removed in one step; and what became of a request."""

import httpx
import pytest

from shared.runtime.people import IdentityAddressBook
from tests.services.identity_bench import OPERATOR, Bench, sign_up

pytestmark = pytest.mark.system


async def names(bench: Bench, token: str, query: str = "") -> list[str]:
    found = await bench.when(token, "GET", f"/people?{query}").then_ok()
    return [item["name"] for item in found["items"]]


async def test_people_are_found_by_any_part_of_a_name_or_an_address(bench: Bench) -> None:
    oskar, founder = await bench.join("oskar")
    for name in ("mina", "Ada"):
        await bench.invited(founder, name)
    await bench.join("stranger")
    await bench.purchase(oskar)
    assert await names(bench, founder) == ["Ada Okafor", "mina Okafor", "oskar Okafor"]
    assert await names(bench, founder, "sort=-joined") == ["Ada Okafor", "mina Okafor", "oskar Okafor"]
    assert await names(bench, founder, "q=MINA") == ["mina Okafor"]
    assert await names(bench, founder, "q=ada@x.ex") == ["Ada Okafor"]
    assert await names(bench, founder, "q=stranger") == []
    assert await names(bench, founder, "role=contract_manager") == ["oskar Okafor"]
    assert await names(bench, founder, "role=software_coordinator&contract_id=c") == []
    page = await bench.when(founder, "GET", "/people?limit=2").then_ok()
    rest = await bench.when(founder, "GET", f"/people?limit=2&after={page['next']}").then_ok()
    assert ([item["name"] for item in rest["items"]], rest["next"]) == (["oskar Okafor"], None)
    (first,) = rest["items"]
    assert (first["first_account"], first["manages_people"], first["email"]) == (True, True, "oskar@x.example")
    assert first["roles"] == [{"contract_id": "c", "role": "contract_manager", "may_assign_seats": True}]


async def test_a_changed_profile_is_found_by_what_it_is_now_and_stored_sealed(bench: Bench) -> None:
    _, founder = await bench.join("oskar")
    mina, token = await bench.invited(founder, "mina")
    changed = {"name": "Mina Straße", "email": "mina@müller.example"}
    await bench.when(token, "PUT", "/me/profile", changed).then_ok()
    await bench.settle()
    for text in ("strasse", "müller", "xn--mller"):
        assert await names(bench, founder, f"q={text}") == ["Mina Straße"]
    assert await names(bench, founder, "q=mina%20okafor") == []
    (row,) = await bench.pool.fetch("select sealed_name, sealed_email from people where account_id = $1", mina)
    assert all(value.startswith("enc:1:") for value in row)


async def test_only_those_who_work_with_people_see_them(bench: Bench) -> None:
    oskar, founder = await bench.join("oskar")
    mina, member = await bench.invited(founder, "mina")
    await bench.purchase(oskar)
    await bench.when(member, "GET", "/people").then_refused("may-not-see-people")
    await bench.when(member, "GET", f"/people/{oskar}").then_refused("may-not-see-people")
    await bench.when(founder, "PUT", f"/contracts/c/coordinators/{mina}", {}).then_ok()
    await bench.settle()
    assert len(await names(bench, member)) == 2
    _, stranger = await bench.join("strange")
    await bench.settle()
    await bench.when(stranger, "GET", f"/people/{mina}").then_refused("unknown")
    organisation = (await bench.when(founder, "GET", "/me").then_ok())["organisation_id"]
    await bench.when(stranger, "GET", f"/people?organisation_id={organisation}").then_refused("may-not-see-people")


async def test_a_leaver_goes_in_one_step_with_roles_sessions_invitations_and_name(bench: Bench) -> None:
    oskar, founder = await bench.join("oskar")
    mina, token = await bench.invited(founder, "mina")
    await bench.purchase(oskar)
    await bench.when(founder, "PUT", f"/contracts/c/coordinators/{mina}", {}).then_ok()
    await bench.when(founder, "PUT", f"/organisation/administrators/{mina}").then_ok()
    invitation = await bench.invite(token, "lee")
    considered = await bench.when(founder, "DELETE", f"/people/{mina}?dry_run=true").then_ok()
    assert [event["type"] for event in considered["events"]] == ["AccountClosed"]
    await bench.when(token, "GET", "/me").then_ok()
    await bench.settle()
    removed = await bench.when(founder, "DELETE", f"/people/{mina}").then_ok()
    assert removed["events"][0]["data"]["closed_by"] == oskar
    await bench.when(token, "GET", "/me").then_refused("not-signed-in")
    await bench.settle()
    assert (await bench.contract()).coordinators == {}
    assert await names(bench, founder) == ["oskar Okafor"]
    await bench.when(founder, "GET", f"/people/{mina}").then_refused("unknown")
    await bench.when("", "POST", "/accounts", sign_up("lee", invitation=invitation)).then_refused(
        "invitation-not-valid"
    )
    again = await bench.when(founder, "DELETE", f"/people/{mina}").then_ok()
    assert again["events"] == [], "a leaver has left"
    await bench.invited(founder, "mina")


async def test_a_contract_manager_hands_over_before_being_removed(bench: Bench) -> None:
    oskar, founder = await bench.join("oskar")
    mina, token = await bench.invited(founder, "mina")
    await bench.purchase(mina)
    problem = await bench.when(founder, "DELETE", f"/people/{mina}").then_refused("still-contract-manager")
    assert problem["because"] == [(await bench.manager()).ref]
    await bench.when(token, "POST", "/contracts/c/handover", {"to": oskar}).then_ok()
    await bench.when(founder, "DELETE", f"/people/{mina}").then_ok()
    await bench.settle()
    assert (await bench.manager()).account_id == oskar


async def test_many_leavers_go_in_one_request_and_others_people_do_not_exist(bench: Bench) -> None:
    _, founder = await bench.join("oskar")
    mina, member = await bench.invited(founder, "mina")
    ben, _ = await bench.invited(founder, "ben")
    strange, _ = await bench.join("strange")
    await bench.when(member, "DELETE", f"/people/{ben}").then_refused("may-not-remove-people")
    items = {"items": [{"account_id": account} for account in (mina, strange, ben)]}
    answer = await bench.when(founder, "POST", "/people/remove/bulk", items).then_ok()
    assert [item["status"] for item in answer["items"]] == [200, 404, 200]
    assert (await bench.when(OPERATOR, "DELETE", f"/people/{strange}")).status_code == 403, "no such operator"


async def test_leavers_are_named_by_address_too(bench: Bench) -> None:
    _, founder = await bench.join("oskar")
    await bench.invited(founder, "mina")
    bench.app.state.parts.address_book = IdentityAddressBook("http://identity", httpx.ASGITransport(bench.app))
    items = {"items": [{"email": "mina@x.example"}, {"email": "nobody@x.example"}]}
    answer = await bench.when(founder, "POST", "/people/remove/bulk", items).then_ok()
    assert [item["status"] for item in answer["items"]] == [200, 404]


async def test_who_asked_for_a_role_sees_the_answer_and_its_reason(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    mina, token = await bench.invited(manager, "mina")
    await bench.purchase(oskar)
    path = "/contracts/c/role-requests"
    await bench.when(token, "POST", path, {"message": "I look after CAD standards."}).then_ok()
    await bench.settle()
    (waiting,) = (await bench.when(token, "GET", "/me/role-requests").then_ok())["items"]
    assert (waiting["state"], waiting["message"]) == ("waiting", "I look after CAD standards.")
    assert (waiting["answered_by"], waiting["reason"], waiting["answered_at"]) == (None, None, None)
    declined = await bench.when(manager, "POST", f"{path}/{mina}/decline", {"reason": "not yet"}).then_ok()
    await bench.when(token, "POST", path, {}).then_ok()
    await bench.when(manager, "POST", f"{path}/{mina}/approval", {}).then_ok()
    await bench.settle()
    second, first = (await bench.when(token, "GET", "/me/role-requests").then_ok())["items"]
    assert (first["state"], first["reason"], first["answered_by"]) == ("declined", "not yet", oskar)
    assert first["answer_id"] == declined["events"][0]["id"] and first["answered_at"] is not None
    assert (second["state"], second["reason"], second["answered_by"]) == ("approved", None, oskar)
    assert (await bench.when(manager, "GET", "/me/role-requests").then_ok())["items"] == []
    of_state = await bench.when(token, "GET", "/me/role-requests?state=declined").then_ok()
    assert of_state["items"] == [first]


async def test_a_handover_answers_a_request_for_the_software_coordinators_role_too(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    mina, token = await bench.invited(manager, "mina")
    await bench.purchase(oskar)
    await bench.when(token, "POST", "/contracts/c/role-requests", {}).then_ok()
    await bench.when(manager, "POST", "/contracts/c/handover", {"to": mina}).then_ok()
    await bench.settle()
    (request,) = (await bench.when(token, "GET", "/me/role-requests").then_ok())["items"]
    assert (request["state"], request["answered_by"]) == ("approved", oskar)
