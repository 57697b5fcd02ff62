"""One attempt to send an event: what an answer comes to, and whom a connection is made to."""

import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from deploy import certificates
from services.identity.webhooks.addresses import networks_of
from services.identity.webhooks.attempts import (
    LONGEST_RETRY_AFTER_S,
    Message,
    Receiver,
    answer_of,
)
from services.identity.webhooks.delivery import Pace
from tests.services.webhooked import LOOPBACK, Endpoint

HELLO = Message({"webhook-id": "m"}, b"{}")


@pytest.mark.parametrize(
    ("status", "retry_after", "outcome", "seconds"),
    [
        (200, "", "accepted", 0),
        (299, "5", "accepted", 0),
        (410, "", "gone", 0),
        (429, "30", "away", 30),
        (503, "soon", "away", 0),
        (503, "-5", "away", 0),
        (429, "9" * 5000, "away", LONGEST_RETRY_AFTER_S),
        (503, "Sat, 01 Jan 2000 00:00:00 GMT", "away", 0),
        (500, "7", "refused", 7),
        (301, "", "refused", 0),
        (100, "", "refused", 0),
    ],
)
def test_a_status_says_what_concerns_the_event_and_what_the_address(
    status: int, retry_after: str, outcome: str, seconds: float
) -> None:
    found = answer_of(status, retry_after)
    assert (found.outcome, found.retry_after_s) == (outcome, seconds)


def test_a_receiver_may_name_the_date_from_which_it_is_back() -> None:
    found = answer_of(503, format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True))
    assert 60 < found.retry_after_s <= 90


async def test_the_certificate_is_checked_for_the_name_and_the_connection_goes_to_the_checked_address(
    tmp_path: Path,
) -> None:
    certificates.ensure(tmp_path, ["receiver.example"])
    serving, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    serving.load_cert_chain(tmp_path / certificates.SERVER)
    trusting.load_verify_locations(tmp_path / certificates.AUTHORITY)
    endpoint = Endpoint()
    await endpoint.start(serving)

    async def sent(host: str) -> Any:
        made = Receiver(
            f"https://{host}:{endpoint.port}/",
            networks_of(LOOPBACK),
            lookup=lambda _host, _port: ["127.0.0.1"],
            context=trusting,
        )
        try:
            return await made.send(HELLO)
        finally:
            await made.close()

    try:
        assert (await sent("receiver.example")).outcome == "accepted"
        assert endpoint.got[0].headers["host"] == f"receiver.example:{endpoint.port}"
        other = await sent("other.example")
        assert (other.outcome, "certificate" in other.said) == ("away", True)
        assert len(endpoint.got) == 1
    finally:
        await endpoint.stop()


async def test_nothing_is_sent_to_a_private_address_that_a_name_has_come_to_lead_to() -> None:
    endpoint = Endpoint()
    await endpoint.start()
    made = Receiver(f"https://receiver.example:{endpoint.port}/", (), lookup=lambda _host, _port: ["127.0.0.1"])
    try:
        found = await made.send(HELLO)
        assert found.outcome == "away" and "not on the Internet" in found.said
        assert endpoint.got == []
    finally:
        await made.close()
        await endpoint.stop()


def test_pauses_grow_and_differ() -> None:
    pace = Pace()
    pauses = [pace.pause_after(failures).total_seconds() for failures in range(20)]
    assert 3.75 <= pauses[0] <= 6.25 and 7.5 <= pauses[1] <= 12.5
    assert all(675 <= pause <= 1125 for pause in pauses[8:]) and len(set(pauses)) == 20
    assert pace.pause_after(10_000).total_seconds() <= 1125
