"""The catcher of mails: keeps what comes, for its owner, and shows it as text that does nothing."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import httpx
import pytest
from aiosmtpd import smtp

from deploy import mail
from deploy.mail import Box, Receiver, application


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "mail")


@pytest.fixture
async def browser(box: Box) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application(box))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as made:
        yield made


def a_mail(subject: str = "Hello", body: str = "A link: https://x.example/#token\n") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "tenure@localhost", "mina@x.example", subject
    message.set_content(body)
    return message


async def test_what_comes_by_smtp_is_kept_for_its_owner_only_and_shown(box: Box, browser: httpx.AsyncClient) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: smtp.SMTP(Receiver(box), loop=loop, hostname="x"), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await aiosmtplib.send(a_mail(), hostname="127.0.0.1", port=port)
    server.close()
    (file,) = box.folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(box.folder.stat().st_mode) == 0o700
    assert "mina@x.example" in (await browser.get("/")).text
    assert "https://x.example/#token" in (await browser.get(f"/mails/{file.name}")).text


async def test_nothing_in_a_mail_becomes_markup(box: Box, browser: httpx.AsyncClient) -> None:
    box.keep(a_mail("<script>alert(1)</script>", "<img src=x onerror=alert(1)>\n").as_bytes())
    (file,) = box.folder.iterdir()
    for page in (await browser.get("/"), await browser.get(f"/mails/{file.name}")):
        assert "<script" not in page.text and "<img" not in page.text and "&lt;script&gt;" in page.text
        assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
        assert page.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["..%2Fsecret.eml", ".hidden.new", "nothing.eml", "%00.eml", "x" * 300 + ".eml"])
async def test_only_mails_of_the_folder_are_shown(box: Box, browser: httpx.AsyncClient, name: str) -> None:
    (box.folder.parent / "secret.eml").write_text("Subject: secret\n\n")
    answer = await browser.get(f"/mails/{name}")
    assert answer.status_code == 404 and "secret" not in answer.text


async def test_a_page_elsewhere_can_t_read_it_by_a_name_of_its_own(browser: httpx.AsyncClient) -> None:
    assert (await browser.get("/", headers={"Host": "rebound.example"})).status_code == 400


async def test_a_mail_that_is_no_mail_is_shown_all_the_same(box: Box, browser: httpx.AsyncClient) -> None:
    unknown = b"Subject: =?x?y?z?=\nContent-Type: text/plain; charset=no\n\n\xe9"
    for number, content in enumerate((b"", b"\x00\xff" * 50, unknown)):
        (box.folder / f"{number}.eml").write_bytes(content)
    assert (await browser.get("/")).status_code == 200
    for number in range(3):
        assert (await browser.get(f"/mails/{number}.eml")).status_code == 200


async def test_of_too_many_the_oldest_go(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "KEPT_AT_MOST", 3)
    for number in range(5):
        box.keep(a_mail(f"Mail {number}").as_bytes())
        for age, file in enumerate(box._files()):
            os.utime(file, (1_000_000 - age, 1_000_000 - age))
    assert [message["Subject"] for _, message in box.newest()] == ["Mail 4", "Mail 3", "Mail 2"]
