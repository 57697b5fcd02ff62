"""Topics: what programs read and send, as the services' documents say."""

import re
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from markupsafe import Markup
from pydantic import JsonValue

from services.console.pages.topics.pages import type_of
from services.console.rendering import coded
from services.console.shapes.topics import Document
from shared.documents.asyncapi import asyncapi_of_service
from shared.services import SERVICES
from tests.console.fakes import Browser, Services, words
from tests.console.samples.topics import answers


@pytest.fixture
def services() -> Services:
    return Services(dict(answers()))


@pytest.fixture
async def browser(services: Services, tmp_path: Path) -> Browser:
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    return browser


@pytest.mark.parametrize("service", SERVICES)
def test_the_page_reads_the_document_of_every_service(service: str) -> None:
    document = Document.model_validate(asyncapi_of_service(service, "kafka.example:9093"))
    assert f"{service}.events.v1" in {topic.address for topic in document.channels.values()}


async def test_topics_are_listed_once_with_their_events(browser: Browser) -> None:
    shown = words((await browser.get("/topics")).text)
    assert shown.count("marketplace.events.v1") == 1 and shown.count("publisher.inbound.v1.{publisher}") == 1
    assert "SubscriptionOrdered A plan was ordered for a customer, and the order was sent to the publisher." in shown


async def test_an_event_is_searched(browser: Browser) -> None:
    shown = words((await browser.get("/topics?q=csnissued")).text)
    assert "CsnIssued" in shown and "SubscriptionOrdered" not in shown
    assert "No event is found by this." in words((await browser.get("/topics?q=nothing+of+this")).text)


async def test_an_event_has_its_fields_headers_and_an_example(browser: Browser) -> None:
    shown = words((await browser.get("/topics/marketplace/SubscriptionOrdered")).text)
    assert "JSON Schema urn:tenure:events:SubscriptionOrdered:1" in shown
    assert "plan Plan" in shown and 'billing "upfront" | "instalments"' in shown and "price Money" in shown
    assert "ce_tenant text optional The organisation that the event belongs to." in shown
    assert "ce_type: internal.tenure.SubscriptionOrdered" in shown and '"seats": 3' in shown


@pytest.mark.parametrize("at", ["marketplace/Nothing", "nothing/SubscriptionOrdered", "identity%2F..%2Fme/x"])
async def test_an_event_that_does_not_exist_is_not_found(browser: Browser, at: str) -> None:
    assert (await browser.get(f"/topics/{at}")).status_code == 404


@pytest.mark.parametrize("service", SERVICES)
async def test_what_is_code_is_shown_as_code(browser: Browser, services: Services, service: str) -> None:
    services.answers |= answers(service)
    document = Document.model_validate(asyncapi_of_service(service, "kafka.example:9093"))
    shown = 0
    for at in ("", f"/{service}", *(f"/{service}/{key}" for key in document.components.messages)):
        found = await browser.get(f"/topics{at}")
        page, shown = found.text, shown + found.text.count("<code>")
        assert found.status_code == 200
        assert "`" not in re.sub(r"(?s)<pre.*?</pre>", "", page), at
    assert shown > 100


async def test_a_service_that_does_not_answer_is_said_so(browser: Browser, services: Services) -> None:
    def down(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("down")

    services.answers["GET /asyncapi.json"] = down
    assert "Some of this can't be looked up right now." in words((await browser.get("/topics")).text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("run `a <b>`, then `c`", "run <code>a &lt;b&gt;</code>, then <code>c</code>"),
        (Markup("<b>it</b> says `x`"), "<b>it</b> says <code>x</code>"),
        ("`a` and one ` more", "<code>a</code> and one ` more"),
        ("", ""),
    ],
)
def test_code_is_between_two_backticks_and_nothing_is_escaped_twice(text: str, shown: str) -> None:
    assert coded(text) == shown


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"type": "array", "items": {"$ref": "#/components/schemas/sent.Plan"}}, ("list of Plan", "sent.Plan")),
        ({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}, ("date | null", "")),
        ({"const": "UTC"}, ('"UTC"', "")),
        ({}, ("any", "")),
    ],
)
def test_a_type_is_said_in_words(field: Mapping[str, JsonValue], words: tuple[str, str]) -> None:
    assert type_of(field) == words
