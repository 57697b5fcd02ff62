"""Sentences that know their parts."""

from copy import deepcopy
from datetime import UTC, datetime

from cli.sentences import Count, say, view
from cli.serving.captured import CapturedOutput

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_a_sentence_is_its_text() -> None:
    said = say("%(events)s of %(number)s since %(time)s.", events=Count(1204, "event"), number=5000, time=NOON)
    assert said == "1,204 events of 5,000 since 2026-11-21 12:00:00Z."
    assert "100% of it" in say("100%% of it")


def test_a_sentence_keeps_its_parts() -> None:
    said = say("%(so)s; %(why)s", so=say("%(events)s applied", events=Count(1, "event")), why="\x1b[31m")
    shown = view(said, str(said)).model_dump()
    assert shown["template"] == "%(so)s; %(why)s"
    assert shown["values"]["so"]["values"] == {"events": {"number": 1, "thing": "event"}}
    assert shown["values"]["why"] == "\\x1b[31m", "what strangers wrote steers no terminal"


def test_a_copy_keeps_them_too() -> None:
    said = deepcopy({"why": say("%(events)s applied", events=Count(1, "event"))})["why"]
    assert (said, said.template, said.values) == ("1 event applied", "%(events)s applied", {"events": (1, "event")})


def test_an_output_keeps_texts_and_sentences() -> None:
    output = CapturedOutput()
    output.line("A text.")
    output.line(say("%(number)s left.", number=3))
    assert output.lines == ["A text.", "3 left."]
    assert [each.template for each in output.said] == ["", "%(number)s left."]
