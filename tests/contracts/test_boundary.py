"""What may enter by Kafka, and what was stored before that was restricted and is read all the same."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from shared.events import EVENTS
from shared.events.envelope import Envelope, Unreadable
from shared.events.upcasts import decode
from tests.contracts.golden import sample

HOSTILE: Final[list[tuple[str, str, Any]]] = [
    ("UpdatePublished", "size_bytes", 2**63),
    ("UpdatePublished", "size_bytes", -1),
    ("UpdatePublished", "size_bytes", "7"),
    ("UpdatePublished", "title", "Fix\0"),
    ("UpdatePublished", "title", "Fix\u202eexe.msp"),
    ("UpdatePublished", "version", "\u597d" * 2000),
    ("UpdatePublished", "location", "javascript:alert(1)"),
    ("UpdatePublished", "sha256", "0" * 64 + "\n"),
    ("UpdatePublished", "update_id", "x" * 500),
    ("UpdatePublished", "published_at", "0001-01-01T00:00:00Z"),
    ("UpdateWithdrawn", "reason", "\0"),
    ("UpdateWithdrawn", "reason", "x" * 2001),
    ("PlanPriceAnnounced", "valid_from", "0001-01-01"),
    ("PlanPriceAnnounced", "valid_from", "9999-12-31"),
    ("PlanPriceAnnounced", "valid_from", "2026-01-01T00:00:00"),
    ("PlanPriceAnnounced", "price.amount", 2**62),
    ("PlanPriceAnnounced", "price.amount", 10**12 + 1),
    ("PlanPriceAnnounced", "price.amount", -1),
    ("PlanPriceAnnounced", "price.amount", 3.0),
    ("PlanPriceAnnounced", "price.currency", "EUR\n"),
    ("PlanListed", "plan.price.amount", 2**62),
    ("PlanListed", "plan.price.amount", -1),
    ("PlanListed", "plan.product_id", "AutoCAD"),
    ("PlanListed", "plan.commitment_months", 0),
    ("PlanListed", "plan.commitment_months", True),
    ("PlanListed", "plan.product_name", "\ud800"),
    ("PlanListed", "plan.product", "Auto\nCAD"),
    ("PlanWithdrawn", "product_id", "C1RK1WW1762L158\n"),
    ("CsnIssued", "csn", "5100\0"),
    ("CsnIssued", "organisation_id", "a b"),
    ("CsnRevoked", "reason", "\u200b"),
    ("OrderConfirmed", "reference", ""),
    ("OrderConfirmed", "reference", "A-1\u2066"),
    ("OrderConfirmed", "subscription_id", "x" * 410),
    ("OrderConfirmed", "order", "\ue000"),
    ("OrderDeclined", "reason", "\ufeff"),
    ("CreditsPurchased", "amount", 10**9 + 1),
    ("CreditsPurchased", "amount", "3"),
    ("CreditsPurchased", "grant_id", "x" * 201),
    ("CreditsPurchased", "account_id", ""),
    ("ClockMoved", "ahead_s", 2**40),
    ("SubscriptionOrdered", "seats", 1000),
    ("SubscriptionOrdered", "seats", "3"),
    ("SubscriptionOrdered", "seats", True),
    ("SubscriptionOrdered", "country", "XX"),
    ("SubscriptionOrdered", "time_zone", "localtime"),
    ("AccountOpened", "country", "DE\n"),
    ("AccountOpened", "country", "\u00df"),
    ("AccountOpened", "locale", "en\n"),
    ("AccountOpened", "time_zone", "Factory"),
    ("AccountOpened", "organisation_name", "Evil\0Org"),
    ("AccountOpened", "email", "a\u200b@x.example"),
    ("InstallFailed", "machine", "\u597d" * 2000),
    ("InstallFailed", "machine", "pc\0"),
    ("InstallFailed", "error", "\0"),
    ("GroupCreated", "name", "g\0"),
]


def changed(name: str, field: str, value: Any) -> bytes:
    """The event's sample with another value in this field."""
    data = json.loads(sample(EVENTS[name]).data())
    *outer, last = field.split(".")
    inner = data
    for part in outer:
        inner = inner[part]
    assert last in inner
    inner[last] = value
    return json.dumps(data).encode()


def envelope(name: str) -> Envelope:
    return Envelope("id", "source", name, "stream", datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(("name", "field", "value"), HOSTILE)
def test_a_foreign_event_is_refused_with_the_field(name: str, field: str, value: Any) -> None:
    # A lone surrogate can't be told from the end of the JSON: no field is known then.
    expected = "the body" if value == "\ud800" else field.split(".")[0]
    with pytest.raises(Unreadable, match=f"{name}: {expected}"):
        decode(envelope(name), changed(name, field, value))


def _readable_before() -> Iterator[tuple[str, str, Any]]:
    for name, field, value in HOSTILE:
        if value != "\ud800" and field != "published_at" and not field.startswith("valid_from"):
            yield name, field, value


@pytest.mark.parametrize(("name", "field", "value"), list(_readable_before()))
def test_what_a_log_of_ours_kept_before_is_read_all_the_same(name: str, field: str, value: Any) -> None:
    data = changed(name, field, value)
    event = decode(envelope(name), data, trusted=True)
    assert type(event) is EVENTS[name]
    assert event.ref == "id"


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_todays_sample_is_read_by_the_strict_types(name: str) -> None:
    event = sample(EVENTS[name])
    assert decode(envelope(name), event.data()) == event
