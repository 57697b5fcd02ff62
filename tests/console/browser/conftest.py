"""The whole system with console and mail catcher, and Debian's chromium.

With TENURE_CONSOLE_URL and TENURE_MAIL_FOLDER, the pages of a system that runs already are used.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from deploy.catcher import MailCatcher
from deploy.processes import free_port
from deploy.service import ServicePart
from deploy.system import edge_environment
from shared.services import OPERATIONS, url_variable
from tests.console.browser.hands import Hand, hand_of, watch_leaving
from tests.console.provider import FakeProvider, running_provider
from tests.system.running import system

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

WANTED = bool(os.environ.get("BROWSER"))
collect_ignore_glob = [] if WANTED else ["test_*.py"]
collect_ignore = [] if os.environ.get("TOUR") else ["test_every_page.py"]
"""The tour of every page takes as long as all the others, so it has a target of its own."""


@dataclass(frozen=True)
class Site:
    """The console's address, the folder of the mails that are sent, and what is behind."""

    url: str
    mails: Path
    env: Mapping[str, str]
    """How the services and Kafka are reached, Kafka also as the publisher's system."""
    provider: FakeProvider | None = None
    """A provider that people sign in by; None of a system that runs already."""

    def link(self, to: str, subject: str) -> str:
        """The link in the last mail to an address whose subject has this word."""
        for _ in range(150):
            for file in sorted(self.mails.glob("*.eml"), key=lambda each: each.stat().st_mtime, reverse=True):
                mail = message_from_bytes(file.read_bytes(), policy=policy.default)
                if mail["To"] == to and subject in mail["Subject"]:
                    found = re.search(r"http://\S+#\S+", mail.get_content())
                    assert found
                    return found[0]
            time.sleep(0.2)
        raise AssertionError(f"no mail to {to} about {subject}")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if running := os.environ.get(url_variable("console")):
        yield Site(running, Path(os.environ["TENURE_MAIL_FOLDER"]), os.environ)
        return
    folder = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        catcher = stack.enter_context(MailCatcher(folder / "mails", folder / "mail", free_port()))
        operations = free_port()
        settings = {
            url_variable(OPERATIONS): f"http://127.0.0.1:{operations}",
            url_variable("console"): url,
            "TENURE_PUBLIC_URL": url,
            "TENURE_SMTP_URL": catcher.smtp_url,
            "TENURE_WEBHOOK_NETWORKS": "127.0.0.0/8",
            "TENURE_WEBHOOK_PARK_AFTER_H": "0.0005",  # so that the second attempt is the last
        }
        provider = stack.enter_context(running_provider("localhost"))  # another site than 127.0.0.1
        settings["TENURE_OIDC_PROVIDERS_FILE"] = str(provider.settings(folder))
        whole = stack.enter_context(system(folder, settings))
        behind = whole.env
        server = ServicePart(OPERATIONS, folder / OPERATIONS, operations, env=behind, module="cli.serving")
        stack.callback(server.kill)
        server.start()
        live = whole.kafka.access_of("console").environment()
        console = ServicePart("console", folder / "console", port, env=edge_environment(behind) | live)
        stack.callback(console.kill)
        console.start()
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in behind.items():
            environment.setenv(name, value)  # the customers of `bought.py` and `desktops.py` are made by the story
        yield Site(url, folder / "mails", behind, provider)


@pytest.fixture(scope="session")
def chromium(site: Site) -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    assert site.url  # which starts first: playwright occupies this thread's event loop
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "There is no chromium: install it (Debian: apt-get install chromium), or name one in CHROMIUM."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield browser
        browser.close()


@dataclass
class Watched:
    """What a page asked for and complained about."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def request(self, request: "Request") -> None:
        self.requests.append(request.url)

    def message(self, message: "ConsoleMessage") -> None:
        refused = message.type == "error" and "status" in message.text.lower()  # a page that answers 4xx
        if "Content Security Policy" in message.text or (message.type == "error" and not refused):
            self.complaints.append(message.text)

    def assert_nothing_left(self, site: Site) -> None:
        elsewhere = {url for url in self.requests if urlsplit(url).netloc != urlsplit(site.url).netloc}
        assert (elsewhere, self.complaints) == (set(), [])


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture(params=["with-javascript", "without-javascript"])
def page(request: pytest.FixtureRequest, chromium: "Browser", watched: Watched, site: Site) -> "Iterator[Page]":
    """A page of a new browser. Nothing that it does may ask another machine, or break its policy."""
    scripts = request.param == "with-javascript"
    context = chromium.new_context(
        base_url=site.url,
        locale="en-GB",
        timezone_id="Europe/Berlin",
        reduced_motion="reduce",
        java_script_enabled=scripts,
    )
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    opened.on("request", watched.request)
    opened.on("console", watched.message)
    watch_leaving(opened)
    opened.on("filechooser", lambda _: None)  # from now on they are caught, also those that a key opens at once
    yield opened
    context.close()
    watched.assert_nothing_left(site)


@pytest.fixture
def hand(request: pytest.FixtureRequest, page: "Page") -> Hand:
    """What a test uses the page with, see `hands.py`."""
    return hand_of(request.param, page)
