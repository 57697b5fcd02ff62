"""Given facts about an update, when a command comes, then facts or a refusal."""

from datetime import UTC, datetime

from services.distribution.domain.update import UPDATE, RecordUpdate, WithdrawUpdate
from shared.events import UpdatePublished, UpdateWithdrawn
from tests.spec import given

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


def test_what_the_publisher_publishes_is_recorded_once() -> None:
    given(UPDATE).when(RecordUpdate(PUBLISHED, "autodesk")).then(PUBLISHED)
    given(UPDATE, PUBLISHED).when(RecordUpdate(PUBLISHED, "autodesk")).then_nothing()


def test_a_publisher_speaks_for_itself_only() -> None:
    given(UPDATE).when(RecordUpdate(PUBLISHED, "another")).then_refused("foreign-publisher")
    given(UPDATE).when(RecordUpdate(PUBLISHED, "")).then_refused("foreign-publisher")
    given(UPDATE, PUBLISHED).when(WithdrawUpdate(WITHDRAWN, "another")).then_refused("foreign-publisher")


def test_an_update_does_not_change_under_its_id() -> None:
    other = PUBLISHED.model_copy(update={"sha256": "1" * 64})
    given(UPDATE, PUBLISHED).when(RecordUpdate(other, "autodesk")).then_refused(
        "update-already-published", because=[PUBLISHED]
    )


def test_a_withdrawal_is_for_good() -> None:
    given(UPDATE, PUBLISHED).when(WithdrawUpdate(WITHDRAWN, "autodesk")).then(WITHDRAWN)
    given(UPDATE, PUBLISHED, WITHDRAWN).when(WithdrawUpdate(WITHDRAWN, "autodesk")).then_nothing()
    late = given(UPDATE, PUBLISHED, WITHDRAWN).when(RecordUpdate(PUBLISHED, "autodesk"))
    assert "it breaks printing" in late.then_refused("update-withdrawn", because=[WITHDRAWN]).reason


def test_a_withdrawal_may_come_first() -> None:
    given(UPDATE).when(WithdrawUpdate(WITHDRAWN, "autodesk")).then(WITHDRAWN)
