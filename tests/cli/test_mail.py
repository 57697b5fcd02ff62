"""`tenure mail`: the outbox is shown, mails are sent again or given up, each with a record of who did it."""

from collections.abc import Mapping

import pytest

from tests.cli.conftest import Tenure
from tests.cli.stores import fetch, operations

Stores = Mapping[str, str]
YES = ("--yes", "--reason", "the server is put right")


@pytest.fixture
def outbox(stores: Stores) -> str:
    dsn = stores["identity"]
    for number, state in enumerate(("waiting", "parked", "sent"), start=1):
        fetch(
            dsn,
            "insert into outbox (event_id, kind, about, digest, state, reason) values "  # a test's own words
            f"('event-{number}', 'verify-address', 'account', 'd', '{state}', '550 no such user')",
        )
    return dsn


def states(dsn: str) -> list[str]:
    return [row["state"] for row in fetch(dsn, "select state from outbox order by id")]


def test_the_outbox_is_listed_by_state(tenure: Tenure, outbox: str) -> None:
    said = tenure("mail", "ls", "--state", "parked", "--json")
    assert [(each["state"], each["reason"]) for each in said.json["mails"]] == [("parked", "550 no such user")]
    assert (said.json["waiting"], said.json["parked"]) == (1, 1)
    assert tenure("mail", "ls", "--state", "lost").code == 2


def test_a_retry_is_dry_by_default_and_then_done_and_recorded(tenure: Tenure, outbox: str) -> None:
    assert tenure("mail", "retry", "--parked").code == 0
    assert states(outbox) == ["waiting", "parked", "sent"]
    assert tenure("mail", "retry", "--parked", *YES).code == 0
    assert states(outbox) == ["waiting", "waiting", "sent"]
    assert [each["verb"] for each in operations(outbox)] == ["mail retry"] * 2


def test_what_is_dropped_is_never_sent_and_what_was_sent_is_left(tenure: Tenure, outbox: str) -> None:
    assert tenure("mail", "drop", "1", "3", *YES).code == 0
    assert states(outbox) == ["dropped", "parked", "sent"]
    assert [each["outcome"] for each in operations(outbox)] == ["begun", "done"]


def test_a_mail_that_is_not_there_ends_with_4(tenure: Tenure, outbox: str) -> None:
    assert tenure("mail", "drop", "99", *YES).code == 4
    assert states(outbox) == ["waiting", "parked", "sent"]


@pytest.fixture
def told(outbox: str) -> str:
    """A notification whose mail is the parked one, and one whose person wants no mails."""
    for number, mail in ((2, "bounced"), (9, "off")):
        fetch(
            outbox,
            "insert into notifications (notification_id, account_id, event_id, template, kind, facts, happened_at, "
            "in_inbox, mail) values "  # a test's own words
            f"('event-{number}', 'account', 'e', 'SeatAssigned', 'seat', '{{}}', now(), true, '{mail}')",
        )
    fetch(outbox, "update outbox set kind = 'notification' where event_id = 'event-2'")
    return outbox


def test_notifications_are_listed_with_what_became_of_their_mails(tenure: Tenure, told: str) -> None:
    said = tenure("mail", "notifications", "--state", "bounced", "--json")
    assert [each["notification_id"] for each in said.json["notifications"]] == ["event-2"]
    assert said.json["figures"] == {"bounced": 1, "off": 1}
    assert tenure("mail", "notifications", "--state", "lost").code == 2


def test_a_notification_follows_its_mail_that_is_retried_or_dropped(tenure: Tenure, told: str) -> None:
    def mail() -> list[str]:
        return [row["mail"] for row in fetch(told, "select mail from notifications order by notification_id")]

    assert tenure("mail", "retry", "--parked", *YES).code == 0
    assert mail() == ["waiting", "off"]
    assert tenure("mail", "drop", "2", *YES).code == 0
    assert mail() == ["suppressed", "off"]
