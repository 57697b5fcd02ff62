"""The outbox: each mail once, whatever is repeated, killed, restored, refused or away."""

import asyncio
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.identity.domain.account import address_digest
from services.identity.mail import outbox
from services.identity.mail.letters import Letter, Letters
from services.identity.mail.sender import (
    TRIES,
    Folder,
    MailNotAccepted,
    MailServerUnavailable,
    Smtp,
    SmtpAddress,
    message_of,
    pause_before,
    transport,
)
from services.identity.notifications.words import printable
from shared.events.registry import IDENTITY
from shared.runtime.settings import Settings
from tests.services.identity_bench import Bench
from tests.services.mailing import FROM, URL, FakeServer, Kept, mailed, sender, smtp_server, token_in

pytestmark = pytest.mark.system


async def again_from_the_beginning(bench: Bench) -> None:
    """Every event is delivered to the reactions once more, as after a lost checkpoint.

    A projection loses its checkpoint only together with its tables.
    """
    reactions = [consumer for consumer in bench.consumers if not consumer.folds]
    names = [consumer.name for consumer in reactions]
    await bench.pool.execute(
        "delete from engine.checkpoints where topic = $1 and consumer = any($2::text[])", IDENTITY, names
    )
    await bench.pool.execute("delete from engine.seen where consumer = any($1::text[])", names)
    for consumer in reactions:
        consumer._reached.clear()
    await bench.settle()


async def rows(bench: Bench) -> list[Any]:
    return list(await bench.pool.fetch("select * from outbox order by id"))


async def test_a_mail_follows_from_an_event_once_however_often_that_is_delivered(bench: Bench) -> None:
    await bench.join("mina")
    kept = Kept()
    await mailed(bench, kept)
    await again_from_the_beginning(bench)
    await mailed(bench, kept)
    assert [message["To"] for message in kept.messages] == ["mina@x.example"]


async def test_a_profile_that_keeps_its_address_mails_nothing(bench: Bench) -> None:
    _, session = await bench.join("mina")
    kept = Kept()
    await mailed(bench, kept)
    await bench.when(session, "PUT", "/me/profile", {"name": "Mina Adaeze"})
    await mailed(bench, kept)
    assert len(kept.messages) == 1


async def test_the_outbox_holds_neither_address_nor_token(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    invitation = await bench.invite(manager, "mina")
    await bench.settle()
    text = str([tuple(row) for row in await rows(bench)])
    assert len(await rows(bench)) == 2 and "x.example" not in text and invitation[:40] not in text and "eyJ" not in text


async def test_a_proofs_address_is_kept_until_it_is_sent(bench: Bench) -> None:
    await bench.when("", "POST", "/addresses/proof", {"email": "ana@x.example"})
    assert [row["address"] for row in await rows(bench)] == ["ana@x.example"]
    await mailed(bench, Kept())
    assert [(row["state"], row["address"]) for row in await rows(bench)] == [("sent", None)]


async def test_after_a_crash_between_sending_and_marking_the_copy_has_the_same_id(bench: Bench) -> None:
    """SMTP can't be exactly once; whoever receives both can tell."""
    await bench.join("mina")
    kept = Kept()
    await mailed(bench, kept)
    await bench.pool.execute("update outbox set state = 'waiting'")
    await mailed(bench, kept)
    assert len({message["Message-ID"] for message in kept.messages}) == 1 and len(kept.messages) == 2


async def test_what_a_closed_account_would_have_been_told_is_forgotten(bench: Bench) -> None:
    _, session = await bench.join("mina")
    await bench.settle()
    await bench.when(session, "DELETE", "/me")
    kept = Kept()
    await mailed(bench, kept)
    assert kept.messages == [] and await rows(bench) == []


async def test_a_revoked_invitation_is_not_mailed(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    answer = (await bench.when(manager, "POST", "/invitations", {"email": "mina@x.example"})).json()
    await bench.settle()
    await bench.when(manager, "DELETE", f"/invitations/{answer['invitation_id']}")
    kept = Kept()
    made = sender(bench, kept)
    await made.send_due()
    assert kept.to("mina@x.example") == []


async def test_an_address_that_is_verified_meanwhile_gets_no_link(bench: Bench) -> None:
    mina, session = await bench.join("mina")
    await bench.settle()
    token = bench.app.state.keys.verification(mina, address_digest("mina@x.example"), "t")
    assert (await bench.when(session, "POST", "/me/address/verification", {"token": token})).status_code == 200
    kept = Kept()
    await sender(bench, kept).send_due()
    assert kept.messages == [] and [row["state"] for row in await rows(bench)] == ["dropped"]


async def test_after_a_restore_nothing_of_before_is_mailed_again(bench: Bench) -> None:
    """Its private tables are lost with the database, and its reactions may begin anew."""
    await bench.join("mina")
    await bench.join("ana")
    kept = Kept()
    await mailed(bench, kept)
    await bench.pool.execute("delete from outbox; delete from outbox_muted")
    await bench.restored()
    await again_from_the_beginning(bench)
    await mailed(bench, kept)
    assert len(kept.messages) == 2
    assert {row["state"] for row in await rows(bench)} == {"dropped"}, "the operator sees them and may retry"
    await bench.join("ben")
    await mailed(bench, kept)
    assert [message["To"] for message in kept.messages[2:]] == ["ben@x.example"], "what is new is mailed"


async def test_after_an_older_database_came_back_what_waited_there_is_not_mailed(bench: Bench) -> None:
    await bench.join("mina")
    await bench.settle()
    await bench.restored()
    kept = Kept()
    await mailed(bench, kept)
    assert kept.messages == []


async def test_a_table_of_mails_that_was_loaded_does_not_stop_the_next_mail(bench: Bench) -> None:
    """Loaded row by row, it has numbers that its sequence does not know of."""
    await bench.join("mina")
    await bench.settle()
    await bench.pool.execute(
        "insert into outbox (id, event_id, kind, about, digest) overriding system value "
        "select max(id) + 1, 'loaded', 'verify-address', 'somebody', '' from outbox"
    )
    await bench.restored()
    kept = Kept()
    await bench.join("ben")
    await mailed(bench, kept)
    assert [message["To"] for message in kept.messages] == ["ben@x.example"]


async def test_a_mail_that_is_never_taken_is_parked_and_others_go(bench: Bench) -> None:
    await bench.join("mina")
    await bench.join("ana")
    fake = FakeServer()
    fake.refused = {"mina@x.example": "550 no such user"}
    async with smtp_server(fake) as port:
        carrier = Smtp(SmtpAddress.parsed(f"smtp://127.0.0.1:{port}"))
        await bench.settle()
        await sender(bench, carrier).send_due()
        await carrier.close()
    assert [message["To"] for message in fake.received] == ["ana@x.example"]
    (parked,) = [row for row in await rows(bench) if row["state"] == "parked"]
    assert "550" in parked["reason"] and "no such user" in parked["reason"]


async def test_a_mail_that_is_not_taken_now_is_tried_later_and_parked_at_last(bench: Bench) -> None:
    await bench.join("mina")
    await bench.settle()
    kept = Kept()
    kept.fault = MailNotAccepted("450 try later", permanent=False)
    for tried in range(1, TRIES + 1):
        await bench.pool.execute("update outbox set due = clock_timestamp()")
        assert await sender(bench, kept).send_due() == 1
        (row,) = await rows(bench)
        assert (row["tries"], row["state"]) == (tried, "parked" if tried == TRIES else "waiting")
        assert row["reason"] == "450 try later"
        assert await sender(bench, kept).send_due() == 0, "not at once"


def test_the_pauses_grow_to_an_hour() -> None:
    pauses = [pause_before(tries) for tries in range(TRIES)]
    assert pauses == sorted(pauses) and pauses[0] == timedelta(seconds=15) and pauses[-1] == timedelta(hours=1)


async def test_while_the_server_is_away_mails_wait_untouched_and_are_sent_when_it_is_back(bench: Bench) -> None:
    await bench.join("mina")
    await bench.settle()
    fake = FakeServer()
    async with smtp_server(fake) as port:
        pass
    carrier = Smtp(SmtpAddress.parsed(f"smtp://127.0.0.1:{port}"))
    made = sender(bench, carrier)
    for _ in range(TRIES + 2):
        with pytest.raises(MailServerUnavailable):
            await made.send_due()
    assert [(row["state"], row["tries"]) for row in await rows(bench)] == [("waiting", 0)]
    async with smtp_server(fake, port):
        await made.send_due()
        await carrier.close()
    assert len(fake.received) == 1


async def test_the_running_sender_waits_for_a_server_and_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.identity.mail.sender.AWAY_AT_MOST_S", 0.1)
    monkeypatch.setattr("services.identity.mail.sender.POLL_EVERY_S", 0.05)
    await bench.join("mina")
    await bench.settle()
    kept = Kept()
    kept.fault = MailServerUnavailable("away")
    made = sender(bench, kept)
    running = asyncio.create_task(made.run())
    try:
        await asyncio.sleep(0.3)
        assert (made.figures.waiting, kept.messages) == (1, [])
        kept.fault = None
        await asyncio.sleep(1)
        assert (made.figures.waiting, len(kept.messages), running.done()) == (0, 1, False)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_of_two_processes_one_sends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.identity.mail.sender.POLL_EVERY_S", 0.02)
    for name in ("mina", "ana", "ben", "chiyo"):
        await bench.join(name)
    await bench.settle()
    kept = Kept()
    tasks = [asyncio.create_task(sender(bench, kept).run()) for _ in range(3)]
    try:
        async with asyncio.timeout(30):
            while len(kept.messages) < 4:  # noqa: ASYNC110  # a mailbox has no event
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)  # in which another one would send them once more
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert len(kept.messages) == 4


async def test_a_connection_that_breaks_costs_one_try_of_that_mail(bench: Bench) -> None:
    await bench.join("mina")
    await bench.settle()
    fake = FakeServer()
    fake.hang_up = True
    async with smtp_server(fake) as port:
        carrier = Smtp(SmtpAddress.parsed(f"smtp://127.0.0.1:{port}"))
        await sender(bench, carrier).send_due()
        assert [(row["state"], row["tries"]) for row in await rows(bench)] == [("waiting", 1)]
        fake.hang_up = False
        await bench.pool.execute("update outbox set due = clock_timestamp()")
        await sender(bench, carrier).send_due()
        await carrier.close()
    assert len(fake.received) == 1


async def test_without_a_place_to_send_to_mails_are_dropped_with_the_reason(bench: Bench) -> None:
    await bench.join("mina")
    await bench.settle()
    await sender(bench, None).send_due()
    (row,) = await rows(bench)
    assert row["state"] == "dropped" and "TENURE_SMTP_URL" in row["reason"]


async def test_what_waited_too_long_is_dropped_and_what_is_settled_goes(bench: Bench) -> None:
    await bench.join("mina")
    await bench.settle()
    await bench.pool.execute("update outbox set created_at = clock_timestamp() - interval '4 days'")
    kept = Kept()
    await sender(bench, kept).send_due()
    assert kept.messages == [] and [row["state"] for row in await rows(bench)] == ["dropped"]
    await outbox.prune(bench.pool)
    assert len(await rows(bench)) == 1
    await bench.pool.execute("update outbox set changed_at = clock_timestamp() - interval '31 days'")
    await outbox.prune(bench.pool)
    assert await rows(bench) == []


async def test_requests_for_proofs_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "ASKED_AT_MOST", 3)
    for number in range(5):
        answer = await bench.when("", "POST", "/addresses/proof", {"email": f"a{number}@x.example"})
        assert answer.status_code == 202
    assert len(await rows(bench)) == 3


# ── The mails themselves ───────────────────────────────────────────────────────────────────────────────


async def test_a_name_or_an_organisation_is_no_part_of_a_header_and_one_line_of_the_text(bench: Bench) -> None:
    where = {"organisation": {"name": "Northhaus https://evil.example/win", "kind": "customer"}}
    _, manager = await bench.join("oskar", **where)
    await bench.invite(manager, "mina")
    kept = Kept()
    await mailed(bench, kept)
    for message in kept.messages:
        assert "evil" not in str(dict(message.items()))
        assert not any(line.startswith("https://evil") for line in message.get_content().splitlines())
    assert printable("a\r\nBcc: x\u2028y\x00") == "a Bcc: x y"


async def test_a_mail_by_smtp_arrives_as_it_was_written(bench: Bench) -> None:
    await bench.join("mina")
    await bench.settle()
    fake = FakeServer()
    async with smtp_server(fake) as port:
        carrier = Smtp(SmtpAddress.parsed(f"smtp://127.0.0.1:{port}"))
        await sender(bench, carrier).send_due()
        await carrier.close()
    (message,) = fake.received
    assert (message["From"], message["To"]) == (f"Tenure <{FROM}>", "mina@x.example")
    assert message["Subject"] == "Confirm your e-mail address for Tenure" and message["Auto-Submitted"]
    assert message["Message-ID"].endswith(".verify-address@tenure.example>")
    assert token_in(message).count(".") == 2 and "mina Okafor" in message.get_content()


async def test_an_address_with_letters_beyond_ascii_is_mailed_to(bench: Bench) -> None:
    row = outbox.Row(1, "e", "prove-address", "", "d", "mína@x.example", 0, False)
    letter = await Letters(bench.pool, bench.log, bench.app.state.keys, URL).compose(row)
    assert letter is not None
    fake = FakeServer()
    async with smtp_server(fake) as port:
        carrier = Smtp(SmtpAddress.parsed(f"smtp://127.0.0.1:{port}"))
        await carrier.send(message_of(letter, row, FROM))
        await carrier.close()
    assert fake.received[0]["To"] == "mína@x.example"


async def test_an_address_of_before_that_reads_as_other_headers_is_parked_and_others_go(
    bench: Bench, tmp_path: Path
) -> None:
    """An encoded word is decoded by what writes the mail."""
    for name in ("mina", "ana", "ben"):
        await bench.when("", "POST", "/addresses/proof", {"email": f"{name}@x.example"})
    for name, word in (("mina", "q?a=0d=0abcc=3a_v=40y.example=0d=0a=0d=0aHello"), ("ana", "b?yrpiY2M6IGI")):
        address = f"=?utf-8?{word}?=@x.example"
        await bench.pool.execute("update outbox set address = $1 where address = $2", address, f"{name}@x.example")
    await sender(bench, Folder(tmp_path)).send_due()
    (written,) = await asyncio.to_thread(lambda: [file.read_text() for file in tmp_path.iterdir()])
    assert "To: ben@x.example\nSubject: " in written
    assert [row["state"] for row in await rows(bench)] == ["parked", "parked", "sent"]


@pytest.mark.parametrize(
    "to", ["a=b?c=@x.example", "?=@x.example", "a.b+c@" + ".".join(["x" * 60] * 3), "m\u00edna@x.example"]
)
async def test_an_address_stands_in_its_header_as_it_is(to: str) -> None:
    row = outbox.Row(1, "e", "prove-address", "", "d", to, 0, False)
    written = message_of(Letter(to, "Hello", "text"), row, FROM).as_bytes().decode().splitlines()
    assert f"To: {to}" in "\n".join(written).replace("\n ", " ").replace("  ", " ").splitlines()


async def test_a_folder_gets_one_file_a_mail_for_its_owner_only(bench: Bench, tmp_path: Path) -> None:
    await bench.join("mina")
    await bench.settle()
    carrier = Folder(tmp_path / "mail")
    await sender(bench, carrier).send_due()
    await bench.pool.execute("update outbox set state = 'waiting'")
    await sender(bench, carrier).send_due()
    (file,) = (tmp_path / "mail").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and b"To: mina@x.example" in file.read_bytes()


@pytest.mark.parametrize(
    ("url", "host", "port", "use_tls", "start_tls"),
    [
        ("smtp://127.0.0.1:8109", "127.0.0.1", 8109, False, None),
        ("smtp://mail.example", "mail.example", 587, False, True),
        ("smtps://u:p%40ss@mail.example", "mail.example", 465, True, False),
        ("smtp://mail:1025?tls=none", "mail", 1025, False, False),
    ],
)
def test_where_mails_go(url: str, host: str, port: int, use_tls: bool, start_tls: bool | None) -> None:
    read = SmtpAddress.parsed(url)
    assert (read.host, read.port, read.use_tls, read.start_tls) == (host, port, use_tls, start_tls)
    assert read.password in (None, "p@ss")


@pytest.mark.parametrize(
    "url", ["http://x", "smtp://", "smtp://x/path", "smtp://u:p@x?tls=none", "smtp://x?tls=maybe", "smtp://x?a=b"]
)
def test_an_address_that_is_none_or_sends_a_password_in_the_clear_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="TENURE_SMTP_URL"):
        SmtpAddress.parsed(url)


def test_it_goes_to_one_place_or_to_none(tmp_path: Path) -> None:
    assert transport(Settings()) is None
    assert isinstance(transport(Settings(mail_folder=tmp_path)), Folder)
    with pytest.raises(ValueError, match="exclude"):
        transport(Settings.model_validate({"mail_folder": tmp_path, "smtp_url": "smtp://127.0.0.1:1"}))


async def reset_for(bench: Bench, email: str) -> list[str]:
    """The resets that are mailed to an address on request."""
    kept = Kept()
    answer = await bench.when("", "POST", "/password/mail", {"email": email})
    assert (answer.status_code, answer.content) == (202, b"null")
    await mailed(bench, kept)
    return [token_in(message) for message in kept.to(email) if "new password" in message["Subject"]]


async def test_a_reset_is_mailed_to_a_proven_address_and_works_once(bench: Bench) -> None:
    _, session = await bench.join("mina")
    kept = Kept()
    await mailed(bench, kept)
    assert await reset_for(bench, "mina@x.example") == [], "nobody has proven it"
    token = token_in(kept.to("mina@x.example")[0])
    await bench.when(session, "POST", "/me/address/verification", {"token": token})
    (reset,) = await reset_for(bench, "mina@x.example")
    body = {"reset": reset, "new": "quartz lamp river onion"}
    assert (await bench.when("", "POST", "/password", body)).status_code == 204
    assert (await bench.when("", "POST", "/password", body)).json()["rule"] == "reset-not-valid"


async def test_a_reset_for_an_unknown_address_is_answered_alike_and_mailed_to_nobody(bench: Bench) -> None:
    assert await reset_for(bench, "nobody@x.example") == []
    assert await rows(bench) == []
