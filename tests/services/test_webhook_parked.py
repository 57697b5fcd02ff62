"""Whose webhook is parked is told so, once each time, as they chose."""

from collections.abc import AsyncIterator
from dataclasses import replace
from email.message import EmailMessage
from typing import Any

import pytest

from services.identity.domain.account import address_digest
from services.identity.domain.webhook import Running
from shared.events import WebhookParked
from tests.services.identity_bench import Bench
from tests.services.mailing import Kept, mailed
from tests.services.webhooked import QUICK, Got, Scene, answer, scene, until

pytestmark = pytest.mark.system

SOON = replace(QUICK, park_after_s=0.2)


@pytest.fixture
async def mina(bench: Bench) -> AsyncIterator[Scene]:
    """Somebody with a proven address, whose receiver accepts nothing."""
    async with scene(bench) as made:
        link = bench.app.state.keys.verification(made.account_id, address_digest("mina@x.example"), "test")
        await bench.when(made.token, "POST", "/me/address/verification", {"token": link}).then_ok()

        async def broken(_: Got) -> bytes:
            return answer(500)

        made.endpoint.reply = broken
        made.topic.grow(12)
        await mails(bench)
        yield made


async def inbox(mina: Scene) -> list[dict[str, Any]]:
    items = (await mina.bench.when(mina.token, "GET", "/me/notifications").then_ok())["items"]
    return [item for item in items if item["kind"] == "webhook-parked"]


async def mails(bench: Bench) -> list[EmailMessage]:
    kept = Kept()
    await mailed(bench, kept)
    return [message for message in kept.messages if "webhook" in message["Subject"]]


async def parked(mina: Scene) -> bool:
    state = await mina.state()
    return isinstance(state, Running) and isinstance(state.stopped, WebhookParked)


async def test_who_registered_it_is_told_once_however_often_it_was_tried(mina: Scene) -> None:
    await mina.register(name="Dashboard")
    async with mina.sending(SOON):
        await until(lambda: parked(mina))
        assert len(mina.endpoint.got) > 1
        (mail,) = await mails(mina.bench)
        assert (mail["To"], mail["Subject"]) == ("mina@x.example", "Your webhook Dashboard is parked")
        assert f"/webhooks/{mina.webhook_id}\n" in mail.get_content() and "> 500" in mail.get_content()
        (told,) = await inbox(mina)
        assert told["page"] == f"/webhooks/{mina.webhook_id}"

        await mina.change("resume")
        await until(lambda: parked(mina))
        assert len(await mails(mina.bench)) == 1
        assert len(await inbox(mina)) == 2, "it is another time that it is parked"


async def test_who_wants_no_mail_of_it_finds_it_in_the_inbox(mina: Scene) -> None:
    choice = {"choices": [{"kind": "webhook-parked", "email": False, "inbox": True}]}
    await mina.bench.when(mina.token, "PUT", "/me/notification-preferences", choice).then_ok()
    await mina.register()
    async with mina.sending(SOON):
        await until(lambda: parked(mina))
    assert await mails(mina.bench) == []
    assert [told["title"] for told in await inbox(mina)] == ["Your webhook Receiver is parked"]


async def test_it_is_said_what_is_to_be_done(mina: Scene) -> None:
    await mina.register_on_a_topic_of_lost_events()
    async with mina.sending():
        await until(lambda: parked(mina))
        await mina.bench.settle()
    (told,) = await inbox(mina)
    assert "from which position it goes on" in told["text"]
