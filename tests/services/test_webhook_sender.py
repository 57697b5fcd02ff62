"""Webhooks are sent: each event, a stream's in order, whatever the receiver answers and whoever is killed."""

import asyncio
import hashlib
import hmac
import random
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from services.identity.domain.webhook import Ended, Running
from services.identity.webhooks.attempts import (
    AT_ONCE,
)
from services.identity.webhooks.delivery import QUEUED
from shared.eventlog.write.log import utc_now
from tests.services.identity_bench import Bench
from tests.services.webhooked import OK, QUICK, Endpoint, Got, Scene, answer, scene, until

pytestmark = pytest.mark.system


@pytest.fixture
async def mina(bench: Bench) -> AsyncIterator[Scene]:
    async with scene(bench) as made:
        yield made


def own(mina: Scene) -> list[int]:
    """The positions of the events that mina may see."""
    return [frame.position for frame in mina.topic.all if frame.tenant != "org-elsewhere"]


def in_order(mina: Scene) -> bool:
    streams = {got.stream for got in mina.endpoint.accepted}
    return all(mina.endpoint.of_stream(stream) == sorted(mina.endpoint.of_stream(stream)) for stream in streams)


async def all_arrive(mina: Scene, within_s: float = 60) -> None:
    await until(lambda: sorted(mina.endpoint.positions) == own(mina), within_s)
    assert in_order(mina)


async def waiting(mina: Scene) -> int:
    return int((await mina.view())["waiting"])


# ── What is sent ───────────────────────────────────────────────────────────────────────────────────────


async def test_every_event_that_may_be_seen_is_sent_once_and_signed(mina: Scene) -> None:
    mina.topic.grow(100)
    await mina.register()
    async with mina.sending() as sender:
        await until(lambda: len(mina.endpoint.accepted) == 50)
        mina.topic.grow(20)
        await all_arrive(mina)
        await until(lambda: sender.figures.waiting == 0)
    assert len(mina.endpoint.got) == 60
    got = mina.endpoint.got[0]
    frame = next(frame for frame in mina.topic.all if frame.position == got.position)
    assert got.body == frame.body and got.path == "/hook?of=seats"
    assert (got.headers["content-type"], got.headers["webhook-id"]) == (
        "application/cloudevents+json; charset=utf-8",
        got.event["id"],
    )
    signed = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    key = b64decode(mina.secret.removeprefix("whsec_"))
    assert got.headers["webhook-signature"] == f"v1,{b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"
    assert abs(int(got.headers["webhook-timestamp"]) - utc_now().timestamp()) < 60
    view = await mina.view()
    assert (view["state"], view["last_answer"], view["position"]) == ("running", "204", 120)
    assert view["delivered_at"] is not None


async def test_only_what_was_asked_for_is_sent(mina: Scene) -> None:
    mina.topic.grow(60)
    await mina.register(streams=["pool-2", "pool-3"])
    async with mina.sending():
        await until(lambda: len(mina.endpoint.accepted) == 5)
        mina.topic.grow(12)
        await until(lambda: len(mina.endpoint.accepted) == 6)
    assert {got.stream for got in mina.endpoint.got} == {"pool-2"}, "pool-3 is another organisation's"


async def test_without_a_position_it_begins_with_the_next_event(mina: Scene) -> None:
    mina.topic.grow(30)
    await mina.register(after=None)
    async with mina.sending():
        await until(lambda: _begun(mina))
        mina.topic.grow(10)
        await until(lambda: len(mina.endpoint.accepted) == 5)
    assert min(mina.endpoint.positions) > 30


async def _begun(mina: Scene) -> bool:
    return (await mina.view())["position"] is not None


async def test_a_rotated_secret_signs_beside_the_new_one(mina: Scene) -> None:
    await mina.register()
    await mina.change("secret")
    async with mina.sending():
        mina.topic.grow(2)
        await until(lambda: len(mina.endpoint.accepted) == 1)
    assert len(mina.endpoint.got[0].headers["webhook-signature"].split(" ")) == 2


# ── Receivers that fail ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_the_receiver_does_every_event_arrives_in_its_streams_order(mina: Scene, seed: int) -> None:
    chance = random.Random(seed)

    async def moody(_: Got) -> bytes | None:
        match chance.randrange(8):
            case 0:
                return answer(500)
            case 1:
                return answer(429, "Retry-After: 0")
            case 2:
                return None
            case 3:
                return answer(404, body=b"x" * 100_000)
            case 4:
                return answer(302, "Location: /elsewhere")
            case 5:
                return b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"
            case _:
                return OK

    mina.endpoint.reply = moody
    mina.topic.grow(60)
    await mina.register()
    async with mina.sending(replace(QUICK, attempt_s=0.3)):
        await all_arrive(mina, 120)
    assert {got.path for got in mina.endpoint.got} == {"/hook?of=seats"}, "no redirect is followed"
    assert len(mina.endpoint.got) > len(own(mina))


async def test_an_event_that_is_never_accepted_holds_its_stream_and_no_other(mina: Scene) -> None:
    async def reply(got: Got) -> bytes:
        return answer(500) if got.stream == "pool-2" else OK

    mina.endpoint.reply = reply
    mina.topic.grow(120)
    await mina.register()
    async with mina.sending():
        others = [frame.position for frame in mina.topic.all if frame.stream != "pool-2"]
        await until(lambda: sorted(mina.endpoint.positions) == [n for n in own(mina) if n in others])
        await until(lambda: sum(got.stream == "pool-2" for got in mina.endpoint.got) > 2)
        for _ in range(600):
            if (await mina.view())["waiting"] == 10:  # what has arrived is noted afterwards
                break
            await asyncio.sleep(0.05)
    held = [got.position for got in mina.endpoint.got if got.stream == "pool-2"]
    assert set(held) == {2}, "what follows it in its stream is not sent before it"
    view = await mina.view()
    assert (view["waiting"], view["first_waiting"], view["last_answer"]) == (10, 2, "500")
    assert view["failing_since"] is not None


async def test_a_hanging_event_does_not_hold_the_others(mina: Scene) -> None:
    async def reply(got: Got) -> bytes:
        if got.stream == "pool-2":
            await asyncio.sleep(60)
        return OK

    mina.endpoint.reply = reply
    mina.topic.grow(48)
    await mina.register()
    async with mina.sending(replace(QUICK, attempt_s=0.5)):
        await until(lambda: len(mina.endpoint.positions) == 20)
        await until(lambda: sum(got.stream == "pool-2" for got in mina.endpoint.got) > 1)
    assert mina.endpoint.of_stream("pool-2") == []


async def test_a_receiver_that_was_down_gets_everything_in_order(mina: Scene) -> None:
    await mina.endpoint.stop()
    mina.topic.grow(60)
    await mina.register()
    async with mina.sending():
        await until(lambda: _unreachable(mina))
        mina.topic.grow(60)
        await mina.endpoint.start()
        await all_arrive(mina)


async def _unreachable(mina: Scene) -> bool:
    view = await mina.view()
    return view["paused_until"] is not None and "no connection" in (view["last_answer"] or "")


async def test_a_receiver_that_asks_for_a_pause_is_left_alone(mina: Scene) -> None:
    async def busy(_: Got) -> bytes:
        return answer(429, "Retry-After: 600")

    mina.endpoint.reply = busy
    mina.topic.grow(60)
    await mina.register()
    async with mina.sending():
        await until(lambda: _held(mina))
        mina.topic.grow(20)
        await until(lambda: _queued(mina, 40))
        assert len(mina.endpoint.got) <= AT_ONCE, "what was under way when it asked for that"
    until_when = datetime.fromisoformat((await mina.view())["paused_until"])
    assert until_when - utc_now() > timedelta(seconds=500)


async def _held(mina: Scene) -> bool:
    return (await mina.view())["paused_until"] is not None and mina.endpoint.got != []


async def _queued(mina: Scene, number: int) -> bool:
    return await waiting(mina) == number


async def test_a_receiver_that_is_gone_gets_nothing_more(mina: Scene) -> None:
    async def gone(_: Got) -> bytes:
        return answer(410)

    mina.endpoint.reply = gone
    mina.topic.grow(12)
    await mina.register()
    async with mina.sending():
        await until(lambda: _ended(mina))
    state = await mina.state()
    assert isinstance(state, Ended) and (state.ended.reason, state.ended.ended_by) == ("gone", "webhooks")
    assert len(mina.endpoint.got) <= AT_ONCE


async def _ended(mina: Scene) -> bool:
    return isinstance(await mina.state(), Ended)


async def test_an_answer_without_an_end_is_not_read_to_its_end(mina: Scene) -> None:
    async def endless(_: Got) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 40_000

    mina.endpoint.reply = endless
    mina.topic.grow(12)
    await mina.register()
    async with mina.sending():
        await until(lambda: _done(mina))
    assert len(mina.endpoint.got) == 6


async def _done(mina: Scene) -> bool:
    return (await mina.view())["position"] == 12 and await waiting(mina) == 0


async def test_the_queue_of_a_webhook_is_bounded(bench: Bench) -> None:
    async with scene(bench, pools=2) as mina:

        async def never(_: Got) -> bytes:
            return answer(500)

        mina.endpoint.reply = never
        mina.topic.window = type(mina.topic.window)(10_000)
        mina.topic.grow(3 * QUEUED)
        await mina.register()
        async with mina.sending():
            await until(lambda: _full(mina))
        assert await waiting(mina) <= QUEUED + 250


async def _full(mina: Scene) -> bool:
    return await waiting(mina) >= QUEUED


# ── Whoever is killed ──────────────────────────────────────────────────────────────────────────────────


async def test_a_sender_that_is_killed_in_the_middle_loses_nothing_and_keeps_the_order(mina: Scene) -> None:
    mina.topic.grow(120)
    await mina.register()
    chance = random.Random(7)
    for round_ in range(6):
        reached = asyncio.Event()

        async def reply(_: Got, reached: asyncio.Event = reached) -> bytes:
            if chance.random() < 0.2:
                reached.set()
                await asyncio.sleep(0.2)  # it is killed before it gets the answer
            return OK

        mina.endpoint.reply = reply
        async with mina.sending():
            if round_ < 5:
                async with asyncio.timeout(10):
                    await reached.wait()
            else:
                await until(lambda: _caught_up(mina))
    await all_arrive(mina)
    repeats = len(mina.endpoint.got) - len({got.headers["webhook-id"] for got in mina.endpoint.got})
    assert repeats > 0, "what was under way is sent again, with its id"


async def _caught_up(mina: Scene) -> bool:
    return (await mina.view())["position"] == 120 and await waiting(mina) == 0


async def test_two_processes_do_not_send_at_once(mina: Scene) -> None:
    mina.topic.grow(60)
    await mina.register()
    async with mina.sending(), mina.sending():
        await all_arrive(mina)
    assert len(mina.endpoint.got) == 30


# ── Parked, replayed, without a right ──────────────────────────────────────────────────────────────────


async def test_what_fails_for_too_long_is_parked_until_somebody_resumes_it(mina: Scene) -> None:
    async def broken(_: Got) -> bytes:
        return answer(500)

    mina.endpoint.reply = broken
    mina.topic.grow(12)
    await mina.register()
    async with mina.sending(replace(QUICK, park_after_s=0.2)) as sender:
        await until(lambda: _parked(mina))
        await until(lambda: sender.parked == 1)
        view = await mina.view()
        assert (view["state"], view["reason"], view["waiting"]) == ("parked", "not-accepted", 6)
        mina.endpoint.reply = Endpoint().reply
        await mina.change("resume")
        await all_arrive(mina)
        await until(lambda: sender.parked == 0)


async def _parked(mina: Scene) -> bool:
    state = await mina.state()
    return isinstance(state, Running) and state.stopped is not None


async def test_a_paused_webhook_sends_nothing(mina: Scene) -> None:
    mina.topic.grow(12)
    await mina.register()
    await mina.change("pause")
    async with mina.sending() as sender:
        await until(lambda: sender.figures.waiting == 0)
        await asyncio.sleep(0.3)
        assert mina.endpoint.got == []
        await mina.change("resume")
        await all_arrive(mina)


async def test_a_replay_sends_again_what_follows_a_position(mina: Scene) -> None:
    mina.topic.grow(60)
    await mina.register()
    async with mina.sending():
        await all_arrive(mina)
        before = len(mina.endpoint.got)
        await mina.change("replay", after=40)
        await until(lambda: len(mina.endpoint.got) == before + 10)
        await until(lambda: _drained(mina))
    again = mina.endpoint.got[before:]
    assert sorted(got.position for got in again) == [n for n in own(mina) if n > 40]
    ids = {got.headers["webhook-id"] for got in mina.endpoint.got[:before]}
    assert {got.headers["webhook-id"] for got in again} <= ids, "a repeat has the id of the first"


async def _drained(mina: Scene) -> bool:
    return await waiting(mina) == 0


async def test_events_that_the_topic_has_not_kept_park_it(mina: Scene) -> None:
    await mina.register_on_a_topic_of_lost_events()
    async with mina.sending():
        await until(lambda: _parked(mina))
        view = await mina.view()
        assert (view["state"], view["reason"]) == ("parked", "events-not-kept")
        await mina.change("replay", after=100)
        await until(lambda: len(mina.endpoint.accepted) == 50)
    assert min(mina.endpoint.positions) > 100


async def test_without_a_secret_it_is_parked_and_goes_on_with_a_new_one(mina: Scene) -> None:
    mina.topic.grow(12)
    await mina.register()
    await mina.bench.pool.execute("delete from webhook_secrets")
    async with mina.sending():
        await until(lambda: _parked(mina))
        assert (await mina.view())["reason"] == "secret-missing" and mina.endpoint.got == []
        await mina.change("secret", overlap_days=0)
        await mina.change("resume")
        await all_arrive(mina)


async def test_who_has_left_is_sent_nothing(mina: Scene) -> None:
    await mina.register()
    async with mina.sending():
        mina.topic.grow(12)
        await all_arrive(mina)
        assert (await mina.bench.when(mina.token, "DELETE", "/me")).status_code == 200
        await until(lambda: _ended(mina))
        mina.topic.grow(24)
        await asyncio.sleep(0.2)
    state = await mina.state()
    assert isinstance(state, Ended) and state.ended.reason == "account-ended"
    assert len(mina.endpoint.got) == 6


async def test_a_machines_webhook_ends_with_the_machine(mina: Scene) -> None:
    until_when = (utc_now() + timedelta(days=1)).isoformat()
    form = {"name": "Dashboard", "scopes": ["read"], "expires_at": until_when}
    client_id = (await mina.bench.when(mina.token, "POST", "/machines", form)).json()["client_id"]
    await mina.register(client_id=client_id)
    async with mina.sending():
        mina.topic.grow(12)
        await all_arrive(mina)
        assert (await mina.bench.when(mina.token, "DELETE", f"/machines/{client_id}")).status_code == 200
        await until(lambda: _ended(mina))
    state = await mina.state()
    assert isinstance(state, Ended) and state.ended.reason == "machine-ended"
