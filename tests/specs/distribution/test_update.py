"""Given facts about an update, when a command comes, then facts or a refusal."""

from datetime import UTC, datetime
from functools import reduce

from services.distribution.domain.update import INITIAL, UPDATE, Command, Event, RecordUpdate, WithdrawUpdate, evolve
from shared.eventlog.decision import Decision, Rejected
from shared.events import UpdatePublished, UpdateWithdrawn

PUBLISHED = UpdatePublished(
    update_id="u",
    publisher="autodesk",
    product="autocad",
    kind="update",
    title="AutoCAD 2027.1",
    version="2027.1",
    platform="win64",
    severity="critical",
    sha256="0" * 64,
    size_bytes=1,
    location="https://updates.example/u",
    published_at=datetime(2026, 11, 21, tzinfo=UTC),
)
WITHDRAWN = UpdateWithdrawn(update_id="u", publisher="autodesk", reason="it breaks printing")


def when(command: Command, *, given: tuple[Event, ...] = ()) -> Decision[Event]:
    return UPDATE.decide(command, reduce(evolve, given, INITIAL))


def refused(decision: Decision[Event], rule: str) -> Rejected:
    assert isinstance(decision, Rejected) and decision.rule == rule, decision
    return decision


def test_what_the_publisher_publishes_is_recorded_once() -> None:
    assert when(RecordUpdate(PUBLISHED, "autodesk")) == (PUBLISHED,)
    assert when(RecordUpdate(PUBLISHED, "autodesk"), given=(PUBLISHED,)) == ()


def test_a_publisher_speaks_for_itself_only() -> None:
    refused(when(RecordUpdate(PUBLISHED, "another")), "foreign-publisher")
    refused(when(RecordUpdate(PUBLISHED, "")), "foreign-publisher")
    refused(when(WithdrawUpdate(WITHDRAWN, "another"), given=(PUBLISHED,)), "foreign-publisher")


def test_an_update_does_not_change_under_its_id() -> None:
    other = PUBLISHED.model_copy(update={"sha256": "1" * 64})
    assert refused(when(RecordUpdate(other, "autodesk"), given=(PUBLISHED,)), "update-already-published").because == (
        PUBLISHED,
    )


def test_a_withdrawal_is_for_good() -> None:
    assert when(WithdrawUpdate(WITHDRAWN, "autodesk"), given=(PUBLISHED,)) == (WITHDRAWN,)
    assert when(WithdrawUpdate(WITHDRAWN, "autodesk"), given=(PUBLISHED, WITHDRAWN)) == ()
    late = refused(when(RecordUpdate(PUBLISHED, "autodesk"), given=(PUBLISHED, WITHDRAWN)), "update-withdrawn")
    assert late.because == (WITHDRAWN,) and "it breaks printing" in late.reason


def test_a_withdrawal_may_come_first() -> None:
    assert when(WithdrawUpdate(WITHDRAWN, "autodesk")) == (WITHDRAWN,)
