"""Notifications over HTTP and by mail: each once, for whom they concern, as they chose."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from services.identity.domain.account import address_digest
from services.identity.mail import outbox
from services.identity.mail.sender import Smtp, SmtpAddress
from services.identity.notifications import store
from shared.eventlog.write.log import utc_now
from shared.events import (
    CsnIssued,
    PartnerEngaged,
    RenewalReminded,
    RolloutPaused,
    RolloutStarted,
    SeatAssigned,
    SubscriptionOrdered,
    SubscriptionOrderFailed,
    UpdatePublished,
)
from shared.events.base import Event
from tests.contracts.golden import sample
from tests.services.identity_bench import OPERATOR, Bench
from tests.services.issuer import from_issuer
from tests.services.mailing import FakeServer, Kept, MailNotAccepted, mailed, sender, smtp_server

pytestmark = pytest.mark.system


def like(event: type[Event], **values: Any) -> Event:
    made: Event = sample(event)
    return made.model_copy(update=values)


async def verified(bench: Bench, account_id: str, token: str, email: str) -> None:
    link = bench.app.state.keys.verification(account_id, address_digest(email), "test")
    await bench.when(token, "POST", "/me/address/verification", {"token": link}).then_ok()


async def person(bench: Bench, name: str, **where: Any) -> tuple[str, str]:
    """Somebody whose address is verified: the account's id and a token."""
    account_id, token = await bench.join(name, **where)
    await verified(bench, account_id, token, f"{name}@x.example")
    return account_id, token


async def inbox(bench: Bench, token: str, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await bench.when(token, "GET", f"/me/notifications{query}").then_ok())["items"]
    return found


async def read(bench: Bench, token: str, **which: Any) -> None:
    answer = await bench.when(token, "POST", "/me/notifications/read", which)
    assert answer.status_code == 204, answer.text


async def kinds(bench: Bench, token: str) -> list[str]:
    return [item["kind"] for item in reversed(await inbox(bench, token))]


def remind(bench: Bench, **values: Any) -> str:
    event = like(RenewalReminded, subscription_id="s", contract_id="c", **values)
    return bench.say("marketplace", "subscription-s", event)


async def manager(bench: Bench, name: str = "oskar") -> tuple[str, str]:
    """The Contract Manager of the contract `c`, who has read all so far."""
    account_id, token = await person(bench, name)
    await bench.purchase(account_id)
    await mailed(bench, Kept())
    await read(bench, token, until=(await inbox(bench, token))[0]["notification_id"])
    return account_id, token


async def again_from_the_beginning(bench: Bench) -> None:
    """Every event is delivered once more, as after a lost checkpoint."""
    (told,) = (each for each in bench.consumers if each.name == "identity.notifications")
    await bench.pool.execute("delete from engine.checkpoints where consumer = $1", told.name)
    await bench.pool.execute("delete from engine.seen where consumer = $1", told.name)
    told._reached.clear()
    await bench.settle()


async def mails(bench: Bench, subject: str = "") -> list[Any]:
    kept = Kept()
    await mailed(bench, kept)
    return [message for message in kept.messages if subject in message["Subject"]]


async def test_the_inbox_and_the_mail_lead_to_the_page_where_one_can_act(bench: Bench) -> None:
    _, token = await manager(bench)
    remind(bench)
    (mail,) = await mails(bench, "renews")
    (told, *_) = await inbox(bench, token)
    assert told["page"] == "/subscriptions/s/auto-renew"
    assert "/subscriptions/s/auto-renew\n" in mail.get_content()


# ── Once ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_reminder_is_in_the_inbox_and_mailed_once_however_often_it_is_delivered(bench: Bench) -> None:
    _, token = await manager(bench)
    remind(bench)
    assert len(await mails(bench, "renews")) == 1
    await again_from_the_beginning(bench)
    assert await mails(bench, "renews") == []
    assert [item["kind"] for item in await inbox(bench, token)].count("renewal-reminder") == 1


async def test_two_reminders_are_two_notifications(bench: Bench) -> None:
    _, token = await manager(bench)
    remind(bench)
    remind(bench, days_before=30)
    await bench.settle()
    assert (await kinds(bench, token))[-2:] == ["renewal-reminder"] * 2


async def test_what_happened_long_ago_is_not_mailed_and_is_read(bench: Bench) -> None:
    _, token = await manager(bench)
    event = like(RenewalReminded, subscription_id="s", contract_id="c")
    bench.say("marketplace", "subscription-s", event, at=utc_now() - timedelta(days=4))
    bench.say("marketplace", "subscription-s", event, at=utc_now() - timedelta(days=91))
    assert await mails(bench, "renews") == []
    (item,) = [each for each in await inbox(bench, token) if each["kind"] == "renewal-reminder"]
    assert item["read"]


async def test_after_a_restore_what_may_have_been_mailed_is_not_mailed_again(bench: Bench) -> None:
    _, token = await manager(bench)
    remind(bench)
    assert len(await mails(bench, "renews")) == 1
    await bench.pool.execute("delete from outbox; delete from notifications")
    await bench.restored()
    await again_from_the_beginning(bench)
    assert await mails(bench, "renews") == []
    assert "renewal-reminder" in await kinds(bench, token)
    remind(bench, days_before=30)
    assert len(await mails(bench, "renews")) == 1


async def test_what_waited_when_the_database_was_restored_is_suppressed(bench: Bench) -> None:
    await manager(bench)
    remind(bench)
    await bench.settle()
    await bench.restored()
    assert await mails(bench, "renews") == []
    found = await bench.when(OPERATOR, "GET", "/notifications?kind=renewal-reminder").then_ok()
    assert [(each["mail"], "restored" in each["reason"]) for each in found["items"]] == [("suppressed", True)]


# ── Whom ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_request_is_told_to_the_manager_and_its_answer_with_the_reason_to_who_asked(bench: Bench) -> None:
    _, token = await manager(bench)
    mina, asking = await bench.invited(token, "mina")
    await verified(bench, mina, asking, "mina@x.example")
    await bench.settle()
    body = {"role": "software_coordinator", "message": "I look after CAD."}
    await bench.when(asking, "POST", "/contracts/c/role-requests", body).then_ok()
    await bench.settle()
    asked = (await inbox(bench, token))[0]
    assert (asked["kind"], asked["title"], asked["read"]) == ("role-requested", "mina Okafor asks for a role", False)
    assert "> I look after CAD." in asked["text"] and asked["contract_id"] == "c"
    assert "on contract Publisher Programme." in asked["text"]
    assert "role-requested" not in await kinds(bench, asking)
    path = f"/contracts/c/role-requests/{mina}/decline"
    await bench.when(token, "POST", path, {"reason": "not yet"}).then_ok()
    (mail,) = await mails(bench, "declined")
    assert mail["To"] == "mina@x.example"
    answered = (await inbox(bench, asking))[0]
    assert answered["title"] == "Your request for a role was declined"
    assert "by oskar Okafor" in answered["text"] and "> not yet" in answered["text"]
    rows = await bench.pool.fetch("select facts from notifications")
    assert "not yet" not in str(rows) and "look after" not in str(rows), "what people wrote is sealed"


async def test_nobody_is_told_what_they_did_themselves(bench: Bench) -> None:
    oskar, token = await manager(bench)
    event = like(SeatAssigned, subscription_id="s", contract_id="c", account_id=oskar)
    bench.say("entitlements", "pool-s", event, actor=oskar)
    await bench.settle()
    assert "seat" not in await kinds(bench, token)
    bench.say("entitlements", "pool-s", event, actor="somebody")
    await bench.settle()
    assert (await inbox(bench, token))[0]["title"].startswith("You have a seat of ")


async def test_an_order_that_failed_is_told_to_who_ordered_it(bench: Bench) -> None:
    clerk, token = await person(bench, "clerk", organisation={"name": "Reseller", "kind": "partner"})
    organisation = (await bench.when(token, "GET", "/me").then_ok())["organisation_id"]
    about = {"subscription_id": "s9", "partner": organisation}
    bench.say("marketplace", "subscription-s9", like(SubscriptionOrdered, ordered_by=clerk, **about))
    bench.say("marketplace", "subscription-s9", like(SubscriptionOrderFailed, reason="no stock", **about))
    await bench.settle()
    (item,) = await inbox(bench, token)
    assert item["kind"] == "order-declined" and "> no stock" in item["text"] and item["subscription_id"] == "s9"


async def test_of_a_clerk_who_left_the_partners_managers_hear(bench: Bench) -> None:
    _, first = await person(bench, "first", organisation={"name": "Reseller", "kind": "partner"})
    organisation = (await bench.when(first, "GET", "/me").then_ok())["organisation_id"]
    clerk, token = await bench.invited(first, "clerk")
    about = {"subscription_id": "s9", "partner": organisation}
    bench.say("marketplace", "subscription-s9", like(SubscriptionOrdered, ordered_by=clerk, **about))
    await bench.when(token, "DELETE", "/me").then_ok()
    await bench.settle()
    bench.say("marketplace", "subscription-s9", like(SubscriptionOrderFailed, **about))
    await bench.settle()
    assert (await kinds(bench, first))[-1] == "order-declined"


async def test_an_organisation_hears_by_those_who_manage_its_people(bench: Bench) -> None:
    _, first = await person(bench, "first", organisation={"name": "Reseller", "kind": "partner"})
    _, member = await bench.invited(first, "member")
    _, customer = await person(bench, "oskar")
    reseller, northhaus = [
        (await bench.when(token, "GET", "/me").then_ok())["organisation_id"] for token in (first, customer)
    ]
    await bench.settle()
    bench.say("marketplace", "engagement-1", like(PartnerEngaged, partner=reseller, customer=northhaus))
    bench.say("marketplace", "partner-1", like(CsnIssued, organisation_id=reseller, csn="CSN-7"))
    await bench.settle()
    titles = {item["title"] for item in await inbox(bench, first)}
    assert {"Northhaus has engaged you", "CSN CSN-7 was issued to you"} <= titles
    assert await inbox(bench, member) == []


async def test_a_paused_rollout_is_told_with_the_updates_title(bench: Bench) -> None:
    _, token = await manager(bench)
    update = {"publisher": "autodesk", "update_id": "u1"}
    bench.say("distribution", "update-u1", like(UpdatePublished, title="AutoCAD 2027.1", **update))
    bench.say("distribution", "rollout-r1", like(RolloutStarted, rollout_id="r1", contract_id="c", **update))
    bench.say("distribution", "rollout-r1", like(RolloutPaused, rollout_id="r1", cause="silence"))
    (mail,) = await mails(bench, "paused")
    assert mail["Subject"] == "The rollout of AutoCAD 2027.1 is paused"
    item = (await inbox(bench, token))[0]
    assert (item["kind"], item["rollout_id"], item["contract_id"]) == ("rollout-paused", "r1", "c")


async def test_a_closed_account_is_told_nothing_and_what_it_was_told_is_forgotten(bench: Bench) -> None:
    _, token = await manager(bench)
    mina, leaver = await bench.invited(token, "mina")
    await bench.when(token, "PUT", f"/contracts/c/coordinators/{mina}", {}).then_ok()
    await bench.settle()
    rows = "select account_id from notifications where account_id = $1"
    assert await bench.pool.fetch(rows, mina)
    await bench.when(await bench.again("mina"), "DELETE", "/me").then_ok()
    await bench.settle()
    remind(bench)
    await bench.settle()
    assert await bench.pool.fetch(rows, mina) == []
    del leaver


# ── The inbox ──────────────────────────────────────────────────────────────────────────────────────────


async def test_unread_ones_are_counted_filtered_and_marked_one_by_one_or_all(bench: Bench) -> None:
    _, token = await manager(bench)
    assert (await bench.when(token, "GET", "/me/notifications/unread").then_ok())["unread"] == 0
    for days in (90, 60, 30):
        remind(bench, days_before=days)
    await bench.settle()
    unread = await inbox(bench, token, "?state=unread")
    assert len(unread) == 3
    await read(bench, token, notification_ids=[unread[0]["notification_id"]])
    assert (await bench.when(token, "GET", "/me/notifications/unread").then_ok())["unread"] == 2
    await read(bench, token, until=unread[1]["notification_id"])
    assert await inbox(bench, token, "?state=unread") == []
    assert len(await inbox(bench, token, "?kind=renewal-reminder")) == 3


async def test_what_came_after_the_page_was_shown_stays_unread(bench: Bench) -> None:
    _, token = await manager(bench)
    remind(bench, days_before=90)
    await bench.settle()
    shown = (await inbox(bench, token))[0]["notification_id"]
    remind(bench, days_before=60)
    await bench.settle()
    await read(bench, token, until=shown)
    assert len(await inbox(bench, token, "?state=unread")) == 1


async def test_the_inbox_pages_and_nobody_sees_or_marks_anothers(bench: Bench) -> None:
    _, token = await manager(bench)
    for days in (90, 60, 30):
        remind(bench, days_before=days)
    await bench.settle()
    page = await bench.when(token, "GET", "/me/notifications?state=unread&limit=2").then_ok()
    rest = await bench.when(token, "GET", f"/me/notifications?state=unread&limit=2&after={page['next']}").then_ok()
    assert (len(page["items"]), len(rest["items"]), rest["next"]) == (2, 1, None)
    _, stranger = await bench.join("stranger")
    assert await inbox(bench, stranger) == []
    await read(bench, stranger, notification_ids=[item["notification_id"] for item in page["items"]])
    assert len(await inbox(bench, token, "?state=unread")) == 3


@pytest.mark.parametrize("body", [{}, {"notification_ids": []}, {"until": "not an id"}, {"all": True}])
async def test_a_malformed_mark_is_refused(bench: Bench, body: dict[str, Any]) -> None:
    _, token = await bench.join("oskar")
    await bench.when(token, "POST", "/me/notifications/read", body).then_refused("malformed")


async def test_a_person_reads_in_their_language_zone_and_a_sandbox_says_so(bench: Bench) -> None:
    where = {"organisation": {"name": "Northhaus", "kind": "customer", "sandbox": True}}
    oskar, token = await person(bench, "oskar", **where)
    await bench.purchase(oskar)
    profile = {"locale": "de-DE", "time_zone": "Europe/Berlin"}
    await bench.when(token, "PUT", "/me/profile", profile).then_ok()
    remind(bench)
    (mail,) = await mails(bench, "verlängert")
    assert mail["Subject"].startswith("[Testumgebung] ")
    text = mail.get_content()
    assert "Die Laufzeit von" in text and "28. Februar 2027" in text and "Das geschah am" in text
    assert "https://tenure.example/inbox" in text and "https://tenure.example/profile/notifications" in text
    assert max(map(len, text.splitlines())) <= 90
    assert (await inbox(bench, token))[0]["title"] == mail["Subject"]


async def test_what_happens_right_after_a_sandboxs_clock_was_moved_is_of_its_new_time(bench: Bench) -> None:
    """The consumer's own clocks may be older than those of the service whose reminder fell due."""
    where = {"organisation": {"name": "Northhaus", "kind": "customer", "sandbox": True}}
    oskar, token = await person(bench, "oskar", **where)
    await bench.purchase(oskar)
    to = utc_now() + timedelta(days=100)
    assert (await bench.when(token, "POST", "/clock", {"to": to.isoformat()})).status_code == 200
    remind(bench)
    await bench.settle()
    newest = (await inbox(bench, token))[0]
    assert newest["kind"] == "renewal-reminder"
    assert timedelta(0) <= datetime.fromisoformat(newest["happened_at"]) - to < timedelta(minutes=5)


# ── Preferences ────────────────────────────────────────────────────────────────────────────────────────


async def test_preferences_are_listed_with_their_defaults_in_the_persons_language(bench: Bench) -> None:
    _, token = await bench.join("oskar")
    await bench.when(token, "PUT", "/me/profile", {"locale": "de-AT"}).then_ok()
    found = await bench.when(token, "GET", "/me/notification-preferences").then_ok()
    by_kind = {item["kind"]: item for item in found["kinds"]}
    assert found["email_verified"] is False
    assert by_kind["renewal-reminder"] == {
        "kind": "renewal-reminder",
        "label": "Ein Abonnement verlängert sich bald",
        "email": True,
        "inbox": True,
        "required": True,
    }
    assert (by_kind["credits"]["email"], by_kind["credits"]["inbox"]) == (False, True)


async def test_what_is_switched_off_is_neither_mailed_nor_in_the_inbox(bench: Bench) -> None:
    oskar, token = await manager(bench)
    off = {"choices": [{"kind": "seat", "email": False, "inbox": False}]}
    await bench.when(token, "PUT", "/me/notification-preferences", off).then_ok()
    bench.say("entitlements", "pool-s", like(SeatAssigned, subscription_id="s", account_id=oskar))
    assert await mails(bench, "seat") == []
    assert "seat" not in await kinds(bench, token)
    only_inbox = {"choices": [{"kind": "renewal-reminder", "email": False, "inbox": True}]}
    await bench.when(token, "PUT", "/me/notification-preferences", only_inbox).then_ok()
    remind(bench)
    assert await mails(bench, "renews") == []
    assert (await kinds(bench, token))[-1] == "renewal-reminder"
    by_mail = {"choices": [{"kind": "renewal-reminder", "email": True, "inbox": False}]}
    await bench.when(token, "PUT", "/me/notification-preferences", by_mail).then_ok()
    remind(bench, days_before=30)
    assert len(await mails(bench, "renews")) == 1
    assert (await kinds(bench, token)).count("renewal-reminder") == 1


async def test_what_cannot_be_switched_off_is_refused(bench: Bench) -> None:
    _, token = await bench.join("oskar")
    off = {"choices": [{"kind": "security", "email": False, "inbox": False}]}
    await bench.when(token, "PUT", "/me/notification-preferences", off).then_refused("notification-required")
    unknown = {"choices": [{"kind": "gossip", "email": False, "inbox": True}]}
    await bench.when(token, "PUT", "/me/notification-preferences", unknown).then_refused("notification-kind-unknown")
    extra = {"choices": [{"kind": "seat", "email": True, "inbox": True, "sms": True}]}
    await bench.when(token, "PUT", "/me/notification-preferences", extra).then_refused("malformed")


# ── Addresses ──────────────────────────────────────────────────────────────────────────────────────────


async def delivery(bench: Bench, kind: str = "renewal-reminder") -> list[str]:
    found = await bench.when(OPERATOR, "GET", f"/notifications?kind={kind}&sort=told").then_ok()
    return [each["mail"] for each in found["items"]]


async def test_an_unverified_address_is_not_mailed_to(bench: Bench) -> None:
    oskar, token = await bench.join("oskar")
    await bench.purchase(oskar)
    remind(bench)
    assert await mails(bench, "renews") == []
    assert await delivery(bench) == ["suppressed"]
    assert "renewal-reminder" in await kinds(bench, token)


async def test_an_address_that_changed_before_it_was_mailed_to_gets_nothing(bench: Bench) -> None:
    _, token = await manager(bench)
    remind(bench)
    await bench.settle()
    await bench.when(token, "PUT", "/me/profile", {"email": "elsewhere@x.example"}).then_ok()
    assert await mails(bench, "renews") == []
    assert await delivery(bench) == ["suppressed"]


async def test_a_refused_address_bounces_once_and_is_mailed_to_again_when_it_is_proven(bench: Bench) -> None:
    await manager(bench)
    remind(bench, days_before=90)
    fake = FakeServer()
    fake.refused["oskar@x.example"] = "550 no such user"
    await bench.settle()
    async with smtp_server(fake) as port:
        smtp = sender(bench, _smtp(port))
        while await smtp.send_due():
            pass
        assert (await delivery(bench), fake.received) == (["bounced"], [])
        remind(bench, days_before=60)
        await bench.settle()
        await smtp.send_due()
        assert await delivery(bench) == ["bounced", "suppressed"]
        found = await bench.when(OPERATOR, "GET", "/notifications?mail=bounced").then_ok()
        assert "550" in found["items"][0]["reason"]
        (row,) = [each for each in await _outbox(bench) if each["state"] == "parked"]
        fake.refused.clear()
        await bench.pool.fetch(outbox.SQL["retry"], [row["id"]])
        assert await delivery(bench) == ["waiting", "suppressed"]
        await smtp.send_due()
        assert await delivery(bench) == ["sent", "suppressed"], "the mail that bounced may be sent again"
        remind(bench, days_before=30)
        await bench.settle()
        await smtp.send_due()
        assert (await delivery(bench))[-1] == "sent"


def _smtp(port: int) -> Any:
    return Smtp(SmtpAddress.parsed(f"smtp://127.0.0.1:{port}"))


async def _outbox(bench: Bench) -> list[Any]:
    return list(await bench.pool.fetch("select * from outbox where kind = 'notification' order by id"))


async def test_a_mail_that_is_refused_for_its_content_is_no_bounce_of_the_address(bench: Bench) -> None:
    await manager(bench)
    remind(bench)
    await bench.settle()
    kept = Kept()
    kept.fault = MailNotAccepted("554 looks like spam", permanent=True)
    await sender(bench, kept).send_due()
    assert await delivery(bench) == ["bounced"]
    remind(bench, days_before=30)
    kept.fault = None
    await mailed(bench, kept)
    assert await delivery(bench) == ["bounced", "sent"]


async def test_only_the_operator_sees_what_became_of_the_mails(bench: Bench) -> None:
    _, token = await manager(bench)
    await bench.when(token, "GET", "/notifications").then_refused("operator-only")
    found = await bench.when(OPERATOR, "GET", "/notifications").then_ok()
    assert found["items"] and all("title" not in each and "text" not in each for each in found["items"])


async def test_old_notifications_are_deleted(bench: Bench) -> None:
    _, token = await manager(bench)
    await bench.pool.execute("update notifications set told_at = told_at - interval '401 days'")
    remind(bench)
    await bench.settle()
    await store.prune(bench.pool)
    assert await kinds(bench, token) == ["renewal-reminder"]


async def test_a_linked_identity_is_told_to_its_person_who_may_not_have_linked_it(bench: Bench) -> None:
    _, token = await person(bench, "mina")
    await bench.when(token, "POST", "/me/oidc", await from_issuer(bench)).then_ok()
    kept = Kept()
    await mailed(bench, kept)
    told = await inbox(bench, token)
    assert [(item["kind"], item["title"]) for item in told] == [("security", "An account elsewhere signs you in")]
    assert [mail["Subject"] for mail in kept.messages][-1] == "An account elsewhere signs you in"
    assert "https://issuer.example is linked" in told[0]["text"]
    await bench.when(token, "DELETE", "/me/oidc").then_ok()
    await mailed(bench, kept)
    assert len(await inbox(bench, token)) == 1
