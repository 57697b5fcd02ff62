"""`tenure webhook`: webhooks are shown, paused, resumed and replayed, each with a record of who did it."""

from collections.abc import Mapping

import pytest

from shared.events import WebhookEnded, WebhookParked, WebhookRegistered
from shared.events.registry import IDENTITY
from tests.cli.conftest import Tenure
from tests.cli.stores import append, fetch, operations
from tests.contracts.golden import sample

Stores = Mapping[str, str]
YES = ("--yes", "--reason", "the receiver is put right")
REGISTERED = sample(WebhookRegistered).model_copy(update={"webhook_id": "w", "name": "Dashboard", "topic": IDENTITY})
PARKED = sample(WebhookParked).model_copy(update={"webhook_id": "w", "reason": "not-accepted"})
ENDED = sample(WebhookEnded).model_copy(update={"webhook_id": "gone", "reason": "removed"})


@pytest.fixture
def webhooks(stores: Stores) -> str:
    """A parked webhook with an event that waits, and one that has ended."""
    dsn = stores["identity"]
    append(dsn, "identity", "webhook-w", REGISTERED, PARKED)
    append(dsn, "identity", "webhook-gone", REGISTERED.model_copy(update={"webhook_id": "gone"}), ENDED)
    fetch(
        dsn, "insert into webhooks (webhook_id, organisation_id, account_id) values ('w', 'o', 'a'), ('gone', 'o', 'a')"
    )
    fetch(
        dsn,
        "insert into webhook_progress (webhook_id, position, resumes, replays, last_answer) "
        "values ('w', 42, 0, 0, '500')",
    )
    fetch(
        dsn,
        "insert into webhook_queue (webhook_id, position, stream, event_id, body, failed_since) "
        "values ('w', 41, 'pool-1', 'e', '', now())",
    )
    return dsn


def changes(dsn: str) -> list[str]:
    rows = fetch(dsn, "select type from log.events where stream = 'webhook-w' order by version offset 2")
    return [row["type"] for row in rows]


def test_webhooks_are_listed_by_state_with_what_waits(tenure: Tenure, webhooks: str) -> None:
    said = tenure("webhook", "ls", "--json").json
    assert {each["webhook_id"]: each["state"] for each in said["webhooks"]} == {"w": "parked", "gone": "ended"}
    (parked,) = tenure("webhook", "ls", "--state", "parked", "--json").json["webhooks"]
    assert (parked["waiting"], parked["first_waiting"], parked["last_answer"], said["waiting"]) == (1, 41, "500", 1)
    assert tenure("webhook", "ls", "--state", "lost").code == 2
    assert "Dashboard" in tenure("webhook", "ls").out


def test_one_is_shown_without_its_address(tenure: Tenure, webhooks: str) -> None:
    shown = tenure("webhook", "show", "w", "--json").json
    assert (shown["state"], shown["reason"], shown["position"]) == ("parked", "not-accepted", 42)
    assert "address" not in shown and "not-accepted" in tenure("webhook", "show", "w").out
    assert tenure("webhook", "show", "nothing").code == 4


def test_a_parked_one_is_resumed_after_a_dry_run_and_that_is_recorded(tenure: Tenure, webhooks: str) -> None:
    assert "parked: not-accepted" in tenure("webhook", "resume", "w").out
    assert changes(webhooks) == []
    assert tenure("webhook", "resume", "w", *YES).code == 0
    assert changes(webhooks) == ["WebhookResumed"]
    assert [each["outcome"] for each in operations(webhooks)] == ["begun", "done"]
    assert "Nothing to do" in tenure("webhook", "resume", "w", *YES).out


def test_a_replay_begins_with_the_named_event(tenure: Tenure, webhooks: str) -> None:
    assert tenure("webhook", "replay", "w", "--from", "3", *YES).code == 0
    (row,) = fetch(webhooks, "select data ->> 'after' as after from log.events where type = 'WebhookReplayed'")
    assert row["after"] == "2"


def test_a_replay_does_not_begin_beyond_the_newest_event_of_the_topics_service(tenure: Tenure, webhooks: str) -> None:
    refused = tenure("webhook", "replay", "w", "--from", "41", *YES)
    assert (refused.code, changes(webhooks)) == (5, [])
    assert "The newest event of identity.events.v1 has position 4." in refused.err


def test_one_is_paused(tenure: Tenure, webhooks: str) -> None:
    assert tenure("webhook", "pause", "w", *YES).code == 0
    assert changes(webhooks) == ["WebhookPaused"]


def test_one_that_has_ended_is_left(tenure: Tenure, webhooks: str) -> None:
    said = tenure("webhook", "resume", "gone", *YES)
    assert (said.code, "ended for good" in said.err) == (5, True)
    assert tenure("webhook", "replay", "w", "--from", "0").code == 2
