"""identity whole: webhooks are registered, seen by whom they concern, and changed; secrets are shown once."""

from datetime import timedelta
from typing import Any

import pytest

from services.identity.domain.webhook import WEBHOOK, Running
from services.identity.webhooks import store
from shared.eventlog.write.log import utc_now
from tests.services.identity_bench import OPERATOR, Bench

pytestmark = pytest.mark.system

ADDRESS = "https://receiver.northhaus.example/tenure?of=seats"


def wanted(**more: Any) -> dict[str, Any]:
    return {"name": "Dashboard", "address": ADDRESS, "topic": "entitlements.events.v1", **more}


async def registered(bench: Bench, token: str, **more: Any) -> str:
    answer = await bench.when(token, "POST", "/webhooks", wanted(**more))
    assert answer.status_code == 200, answer.text
    webhook_id: str = answer.json()["webhook_id"]
    return webhook_id


async def machine_of(bench: Bench, token: str, *scopes: str, **more: Any) -> str:
    until = (utc_now() + timedelta(days=30)).isoformat()
    form = {"name": "Fleet agent", "scopes": list(scopes), "expires_at": until, **more}
    client_id: str = (await bench.when(token, "POST", "/machines", form)).json()["client_id"]
    return client_id


async def secrets(bench: Bench, webhook_id: str) -> list[str]:
    state = await bench.log.state(WEBHOOK, webhook_id)
    assert isinstance(state, Running)
    return await store.secrets(bench.pool, state, utc_now())


async def test_a_registered_webhook_is_shown_with_its_secret_once(bench: Bench) -> None:
    mina, token = await bench.join("mina")
    key = {"Idempotency-Key": "first"}
    answer = await bench.when(token, "POST", "/webhooks", wanted(types=["SeatAssigned"], after=7), **key)
    made = answer.json()
    assert answer.headers["location"] == f"/webhooks/{made['webhook_id']}"
    assert answer.headers["cache-control"] == "no-store"
    assert made["secret"].startswith("whsec_") and await secrets(bench, made["webhook_id"]) == [made["secret"]]
    again = (await bench.when(token, "POST", "/webhooks", wanted(types=["SeatAssigned"], after=7), **key)).json()
    assert (again["repeated"], "secret" in again) == (True, False)
    assert "secret" not in (await bench.when(token, "POST", "/webhooks?dry_run=true", wanted())).json()
    view = (await bench.when(token, "GET", f"/webhooks/{made['webhook_id']}")).json()
    assert (view["state"], view["address"], view["registered_by"]) == ("running", ADDRESS, mina)
    assert (view["types"], view["waiting"], view["position"]) == (["SeatAssigned"], 0, None)


async def test_neither_secret_nor_address_stands_readable_in_tables_and_events(bench: Bench) -> None:
    _, token = await bench.join("mina")
    made = (await bench.when(token, "POST", "/webhooks", wanted())).json()
    kept = str(await bench.pool.fetch("select * from webhook_secrets")) + str(await bench.store.read(0, 100))
    assert made["webhook_id"] in kept and made["secret"] not in kept and "receiver.northhaus" not in kept
    await bench.when(token, "DELETE", "/me").then_ok()
    await bench.settle()
    assert await secrets(bench, made["webhook_id"]) == [], "the key of who left is erased"


@pytest.mark.parametrize(
    ("form", "rule"),
    [
        (wanted(address="http://receiver.example/"), "webhook-address"),
        (wanted(address="https://127.0.0.1/"), "webhook-address"),
        (wanted(address="https://localhost/"), "webhook-address"),
        (wanted(address="https://u:p@receiver.example/"), "webhook-address"),
        (wanted(topic="publisher.inbound.v1"), "webhook-events"),
        (wanted(types=["AccountOpened"]), "event-type-unknown"),
        (wanted(types=["SeatAssigned", "Nonsense"]), "event-type-unknown"),
        (wanted(client_id="nobody"), "unknown"),
        (wanted(after=-1), "malformed"),
    ],
)
async def test_what_can_not_be_sent_is_refused(bench: Bench, form: dict[str, Any], rule: str) -> None:
    _, token = await bench.join("mina")
    assert (await bench.when(token, "POST", "/webhooks", form)).json()["rule"] == rule


async def test_nothing_is_sent_from_a_position_that_the_topic_has_not_come_to(bench: Bench) -> None:
    _, token = await bench.join("mina")
    bench.topics.heads["entitlements.events.v1"] = 41
    made = await registered(bench, token, after=41)
    path = f"/webhooks/{made}/replay"
    asked = [("/webhooks", wanted(after=42)), ("/webhooks?dry_run=true", wanted(after=10**15)), (path, {"after": 42})]
    for at, body in asked:
        refused = await bench.when(token, "POST", at, body)
        assert (refused.status_code, refused.json()["rule"]) == (422, "position-unknown")
        assert "newest event has position 41" in refused.json()["detail"]
    await bench.when(token, "POST", path, {"after": 41}).then_ok()


async def test_a_webhook_may_be_a_machines_that_reads(bench: Bench) -> None:
    _, founder = await bench.join("oskar")
    mina, token = await bench.invited(founder, "mina")
    reads = await machine_of(bench, founder, "read")
    reports = await machine_of(bench, token, "installs:report", acts_for=mina)
    made = await registered(bench, founder, client_id=reads)
    assert (await bench.when(founder, "GET", f"/webhooks/{made}")).json()["client_id"] == reads
    assert (await bench.when(token, "POST", "/webhooks", wanted(client_id=reads))).status_code == 404
    assert (await bench.when(token, "POST", "/webhooks", wanted(client_id=reports))).json()["rule"] == "webhook-machine"


async def test_webhooks_are_seen_and_changed_by_whom_they_concern(bench: Bench) -> None:
    _, founder = await bench.join("oskar")
    _, token = await bench.invited(founder, "mina")
    _, ana = await bench.invited(founder, "ana")
    _, elsewhere = await bench.join("nadia", organisation={"name": "Elsewhere", "kind": "customer"})
    shared, minas = await registered(bench, founder), await registered(bench, token, name="Mine")
    await bench.settle()

    async def listed(who: str, query: str = "") -> set[str]:
        found = (await bench.when(who, "GET", f"/webhooks{query}")).json()["items"]
        return {each["webhook_id"] for each in found}

    assert await listed(founder) == await listed(OPERATOR) == {shared, minas}
    assert await listed(token) == {minas}
    assert await listed(ana) == await listed(elsewhere) == set()
    assert await listed(founder, "?q=mine") == {minas}
    assert await listed(founder, "?topic=identity.events.v1") == await listed(founder, "?state=parked") == set()
    for who, status in ((ana, 404), (elsewhere, 404), (founder, 200), (token, 200), (OPERATOR, 200)):
        path = f"/webhooks/{minas}"
        assert (await bench.when(who, "GET", path)).status_code == status
        for method, of, body in (
            ("POST", "/secret", {}),
            ("POST", "/pause", {}),
            ("POST", "/resume", {}),
            ("POST", "/replay", {"after": 3}),
        ):
            assert (await bench.when(who, method, path + of, body)).status_code == status, of
    assert (await bench.when(ana, "DELETE", f"/webhooks/{minas}")).status_code == 404
    await bench.when(token, "DELETE", f"/webhooks/{minas}").then_ok()
    view = (await bench.when(token, "GET", f"/webhooks/{minas}")).json()
    assert (view["state"], view["reason"]) == ("ended", "removed")
    assert (await bench.when(token, "POST", f"/webhooks/{minas}/resume", {})).json()["rule"] == "webhook-ended"


async def test_a_rotated_secret_signs_with_the_one_before_it(bench: Bench) -> None:
    _, token = await bench.join("mina")
    made = (await bench.when(token, "POST", "/webhooks", wanted())).json()
    path = f"/webhooks/{made['webhook_id']}/secret"
    second = (await bench.when(token, "POST", path, {})).json()["secret"]
    assert await secrets(bench, made["webhook_id"]) == [second, made["secret"]]
    third = (await bench.when(token, "POST", path, {"overlap_days": 0})).json()["secret"]
    assert await secrets(bench, made["webhook_id"]) == [third]


async def test_a_restore_says_how_many_webhooks_lost_their_secrets(bench: Bench) -> None:
    _, token = await bench.join("mina")
    kept, ended, _ = [await registered(bench, token, name=name) for name in ("Kept", "Ended", "Lost")]
    await bench.when(token, "DELETE", f"/webhooks/{ended}").then_ok()
    await bench.pool.execute("delete from webhook_secrets where webhook_id <> $1", kept)
    assert [note for note in await bench.restored() if note.startswith("1 webhooks have no secret")]


async def test_nobody_has_more_webhooks_than_the_limit(bench: Bench) -> None:
    _, token = await bench.join("mina")
    for number in range(20):
        await registered(bench, token, name=f"Receiver {number}")
    await bench.settle()
    assert (await bench.when(token, "POST", "/webhooks", wanted())).json()["rule"] == "webhook-limit"
