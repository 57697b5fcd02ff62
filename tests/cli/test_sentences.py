"""Sentences that know their parts."""

import ast
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cli import verbs
from cli.sentences import Count, say, view
from cli.serving.captured import CapturedOutput

NOT_ON_PAGES: Final = {"commands.py", "transfer.py", "topics.py", "why.py"}
"""Modules with lines of verbs that the operations server does not serve, or that have a page of their own."""
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


def lines_of(file: Path) -> Iterator[ast.expr]:
    """What a module's verbs say: lines, notes, plans and results."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("line", "note"):
            yield from node.args
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Outcome", "ChangePlan"):
            said = [*node.args[1:2], *(each.value for each in node.keywords if each.arg == "summary")]
            yield from (text for each in said if isinstance(each, ast.List) for text in each.elts)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "summary":
            yield from node.value.elts if isinstance(node.value, ast.List) else []


def has_words(text: ast.expr) -> bool:
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    written = "".join(each.value for each in parts if isinstance(each, ast.Constant) and isinstance(each.value, str))
    return any(letter.isalpha() for letter in written)


def test_what_verbs_say_on_pages_has_parts() -> None:
    """So that it is said in the person's language; a line of data alone needs none."""
    files = [each for each in Path(verbs.__file__).parent.glob("*.py") if each.name not in NOT_ON_PAGES]
    texts = [(each.name, text) for each in files for text in lines_of(each)]
    assert len(texts) > 60
    assert [(name, ast.unparse(text)) for name, text in texts if has_words(text)] == []
