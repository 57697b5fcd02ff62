"""A run of a verb: its progress, its plan with the form that confirms it, and its result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from markupsafe import Markup
from pydantic import JsonValue
from starlette.responses import Response

from services.console.deeds import again, refuse
from services.console.doors import Refused, path
from services.console.forms import words_of
from services.console.names import names_of
from services.console.pages.operating.server import OPERATE, begin, verb_named
from services.console.pages.operating.shown import cell, shown
from services.console.pages.operating.words import in_words, label_of, step_of, title_of, worded
from services.console.shapes.operating import Run, Sentence, Step
from services.console.texts import Texts, marked
from services.console.verbs import SERVER, check_operator
from services.console.visits import Visit

ADDRESS_AT_MOST: Final = 1500
"""The greatest length of an address that fills in a form."""
RECORD: Final[Mapping[str, str]] = {"parked-edit": "handle", "parked-show": "handle"}
"""The verbs whose parameter has a page of its own."""
CHANGED_MEANWHILE: Final = marked("The plan has changed since it was shown to you, so nothing is done yet. It is now:")


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence of a verb, or a line of a difference."""

    text: Markup
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A step with its progress in words."""

    label: str
    done: int
    of: int | None
    words: str


async def run(visit: Visit) -> Response:
    """Show a run."""
    check_operator(visit)
    found = await visit.see(SERVER, _path_of(visit), Run)
    texts = visit.texts
    said = found.answer.sentences if found.answer is not None else found.sentences
    return visit.page(
        "operating/run.html",
        run=found,
        title=title_of(found.verb, texts),
        lines=[_line(each, texts) for each in said],
        bars=[_bar(each, texts) for each in found.progress],
        parameters=[(label_of(name, texts), cell(value, texts, name)) for name, value in found.parameters.items()],
        result=shown(found.verb, found.answer.result, texts) if found.answer is not None and not found.plan else None,
        problem=_problem(found, texts),
        record=_record(found),
        change=_address(found),
        names=await names_of(visit, [found.by, found.cancellation.by if found.cancellation else None]),
    )


def _line(said: Sentence, texts: Texts) -> Line:
    text = said.text
    kind = {"-": "removed", "+": "added"}.get(text[2:3], "") if text.startswith("  ") else ""
    return Line(worded(in_words(said, texts).strip(), texts), kind)


def _bar(step: Step, texts: Texts) -> Bar:
    words = texts.number(step.done)
    if step.of is not None:
        words = texts.gettext("%(done)s of %(all)s") % {"done": words, "all": texts.number(step.of)}
    return Bar(step_of(step.step, texts), min(step.done, step.of or step.done), step.of, words)


def _problem(found: Run, texts: Texts) -> Markup:
    """Return why a run has failed, or that its plan has changed; "" if neither."""
    if found.problem is None:
        return Markup("")
    if found.plan:
        return Markup("{}").format(texts.gettext(CHANGED_MEANWHILE))
    rule, detail = found.problem.rule or "", found.problem.detail
    if found.state == "cancelled":
        return worded(texts.gettext(found.problem.remedy or detail), texts)
    return worded(detail or words_of(rule, detail, texts), texts)


def _record(found: Run) -> str:
    """Return the stream that records a change; "" if there is none."""
    operation = found.answer.result.get("operation") if found.answer is not None else None
    return operation if isinstance(operation, str) else ""


def _address(found: Run) -> str:
    """Return where the run's parameters are entered."""
    name = RECORD.get(found.verb, "")
    if name and isinstance(handle := found.parameters.get(name), str):
        return path(f"{OPERATE}/records/{{handle}}", handle=handle)
    at = path(f"{OPERATE}/verbs/{{verb}}", verb=found.verb)
    query = urlencode({name: _written(value) for name, value in found.parameters.items()})
    return f"{at}?{query}" if 0 < len(query) <= ADDRESS_AT_MOST else at


def _written(value: JsonValue) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\n".join(map(str, value))
    return "on" if value is True else str(value)


async def ask_to_cancel(visit: Visit) -> Response:
    """Ask whether a run is to be cancelled, with what it leaves behind then."""
    check_operator(visit)
    found = await visit.see(SERVER, _path_of(visit), Run)
    verb = await verb_named(visit, found.verb)
    title = title_of(found.verb, visit.texts)
    return visit.page("operating/cancel.html", run=found, title=title, verb=verb, applies=found.dry_run is False)


async def cancel(visit: Visit) -> Response:
    """Cancel a run, and go to its page."""
    check_operator(visit)
    found = await visit.see(SERVER, _path_of(visit), Run)
    if found.dry_run is False and not visit.form.require(visit.texts, "reason"):
        return await again(visit, ask_to_cancel)
    asked: dict[str, JsonValue] = {"reason": visit.form["reason"].strip()}
    try:
        await visit.ask(SERVER, "POST", path("/operations/{id}/cancel", id=found.id), Run, asked)
    except Refused as refused:
        return await refuse(visit, refused, ask_to_cancel)
    return visit.go(path(f"{OPERATE}/operations/{{id}}", id=found.id))


def _path_of(visit: Visit) -> str:
    return path("/operations/{id}", id=visit.id("operation_id"))


async def confirm(visit: Visit) -> Response:
    """Apply the plan that was shown."""
    check_operator(visit)
    if not visit.form.require(visit.texts, "reason"):
        return await again(visit, run)
    found = await visit.see(SERVER, _path_of(visit), Run)
    confirmed: dict[str, JsonValue] = {"yes": True, "reason": visit.form["reason"].strip(), "plan": visit.form["plan"]}
    try:
        return await begin(visit, found.verb, {**found.parameters, **confirmed})
    except Refused as refused:
        return await refuse(visit, refused, run)
