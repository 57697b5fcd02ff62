"""The record of an operator's action holds whatever its arguments name."""

import pytest

from shared.eventlog.write.operations import INITIAL, Begin, decide
from shared.events import OperationPerformed


def recorded(*arguments: str) -> tuple[str, ...]:
    decision = decide(Begin("parked drop", arguments, "kim", "It never comes."), INITIAL)
    assert isinstance(decision, tuple)
    (event,) = decision
    again = OperationPerformed.model_validate_json(event.data())
    return again.arguments


@pytest.mark.parametrize("type_", ["\x00", "\x1b[2J\n", "\u202e", "\ud800", "x" * 5_000])
def test_a_poison_records_type_can_be_named(type_: str) -> None:
    """Such a type of a publisher's record is parked, and has to be given up."""
    (named,) = recorded(f"dropped=marketplace.sales {type_}")
    assert named.startswith("dropped=marketplace.sales ") and named.replace("\n", "").isprintable()


def test_more_arguments_than_an_event_holds_are_counted() -> None:
    named = recorded(*(f"dropped={n}" for n in range(250)))
    assert len(named) == OperationPerformed.ARGUMENTS_AT_MOST
    assert named[-2:] == ("dropped=98", "and 151 more")
