"""Pages about rules, where a problem's `type` leads: `GET /problems/<rule>`, HTML or JSON.

What a page says is read from the code once: what the rule demands is the text under its constant in `rules.py`; what a
refusal may say and advise stands where it is refused, with an ellipsis for what differs from case to case.
"""

import ast
import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from html import escape
from http import HTTPStatus
from inspect import cleandoc
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from shared.rule_status import status_of
from shared.runtime.parts import Parts
from shared.runtime.problems import TYPE, phrase_rule, unknown

T = TypeVar("T")

SHARED: Final = Path(__file__).parents[1]
"""The folder of the rules that every service applies."""
_REASON, _REMEDY = 1, 2
"""The positions of a refusal's reason and remedy among the arguments of `Rejected`; the rule is the first."""
_REFUSES: Final = re.compile(r"\bRejected\(|\brule=")
"""What a file has that refuses: most have nothing of it, and parsing all takes three times as long."""
_KEPT: Final = {"Cache-Control": "public, max-age=3600", "Vary": "Accept"}
_POLICY: Final = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{rule}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body {{ font: 1.1rem/1.5 sans-serif; max-width: 45rem; margin: 2rem auto; padding: 0 1rem }}</style></head>
<body><main>{body}</main></body></html>
"""


class RuleView(BaseModel):
    """What a rule demands, and how it is refused."""

    type: str
    rule: str
    status: int
    title: str
    demands: str
    """What holds if nothing is refused."""
    reasons: list[str]
    """What refusals say in `detail`; an ellipsis stands for what differs from case to case."""
    remedies: list[str]
    """What refusals advise in `remedy`."""


class RulesView(BaseModel):
    items: list[RuleView]


class _Said(NamedTuple):
    """A refusal in the code: the name of its rule's constant, and its words."""

    constant: str
    reason: str
    remedy: str


@cache
def rule_pages() -> APIRouter:
    """Return the routes of the pages, which need no token."""
    made = APIRouter()

    @made.get("/problems", response_model=RulesView)
    async def list_problems(request: Request) -> Response:
        """List the rules that the service refuses by."""
        views = [*(await _of_folders(rules_in, request)).values()]
        if not _wants_html(request):
            return _json(RulesView(items=views))
        items = "".join(f'<li><a href="{view.type}">{view.rule}</a>: {escape(view.demands)}</li>' for view in views)
        return _html("Rules", f"<h1>Rules</h1><ul>{items}</ul>")

    @made.get("/problems/{rule}", response_model=RuleView)
    async def one_problem(request: Request, rule: str) -> Response:
        """Return what a rule demands, why it refuses and what to do. A problem's `type` leads here."""
        if rule not in await _of_folders(known_in, request):
            raise unknown("rule", "GET /problems lists the rules of this service.")
        view = (await _of_folders(rules_in, request))[rule]
        return _html(view.rule, _body(view)) if _wants_html(request) else _json(view)

    return made


async def _of_folders(read: Callable[[Sequence[Path]], T], request: Request) -> T:
    """Return what is read from the code, in a thread: the refusals take half a second, once."""
    parts: Parts = request.app.state.parts
    return await asyncio.to_thread(read, (SHARED, *parts.sources))


@cache
def known_in(folders: Sequence[Path]) -> frozenset[str]:
    """Return the ids of the rules that `rules_in` describes."""
    declared = (rule for file in _files(folders, "rules.py") for _, rule, _ in _declared(ast.parse(file.read_text())))
    return frozenset([*declared, *map(str, _phrases())])


@cache
def rules_in(folders: Sequence[Path]) -> Mapping[str, RuleView]:
    """Return the rules that are declared in these folders, and the statuses of HTTP, by id."""
    texts = (file.read_text() for file in _files(folders, "*.py"))
    said = [each for text in texts if _REFUSES.search(text) for each in _refusals(ast.parse(text))]
    views = dict[str, RuleView]()
    for phrase, status in _phrases().items():
        views[str(phrase)] = _view(phrase, status, f"{status.description or status.phrase}.", ())
    for file in _files(folders, "rules.py"):
        for constant, rule, text in _declared(ast.parse(file.read_text())):
            own = [each for each in said if each.constant == constant]
            views[rule] = _view(rule, status_of(rule), text, own)
    return dict(sorted(views.items()))


def _files(folders: Sequence[Path], name: str) -> Iterator[Path]:
    return (file for folder in folders for file in sorted(folder.rglob(name)))


def _phrases() -> Mapping[str, HTTPStatus]:
    """Return the statuses of HTTP that refuse, by their rules."""
    return {phrase_rule(status): status for status in HTTPStatus if status >= HTTPStatus.BAD_REQUEST}


def _view(rule: str, status: int, demands: str, said: Sequence[_Said]) -> RuleView:
    return RuleView(
        type=TYPE.format(rule=rule),
        rule=rule,
        status=status,
        title=HTTPStatus(status).phrase,
        demands=demands,
        reasons=list(dict.fromkeys(each.reason for each in said if each.reason)),
        remedies=list(dict.fromkeys(each.remedy for each in said if each.remedy)),
    )


def _declared(tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    """Yield each constant of a file of rules, with its rule and the text under it."""
    for statement, after in zip(tree.body, tree.body[1:], strict=False):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        value = statement.value.args[0] if isinstance(statement.value, ast.Call) else statement.value
        text = _text(after.value) if isinstance(after, ast.Expr) else ""
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield statement.target.id, value.value, cleandoc(text)


def _refusals(tree: ast.Module) -> Iterator[_Said]:
    """Yield the refusals in a file: calls of `Rejected`, and calls with a keyword `rule`."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        named = {keyword.arg: keyword.value for keyword in call.keywords}
        arguments = call.args if isinstance(call.func, ast.Name) and call.func.id == "Rejected" else []
        rule = named.get("rule", arguments[0] if arguments else None)
        constant = rule.attr if isinstance(rule, ast.Attribute) else rule.id if isinstance(rule, ast.Name) else ""
        if constant.isupper():
            reason = named.get("reason", arguments[_REASON] if len(arguments) > _REASON else None)
            remedy = named.get("remedy", arguments[_REMEDY] if len(arguments) > _REMEDY else None)
            yield _Said(constant, _text(reason), _text(remedy))


def _text(value: ast.expr | None) -> str:
    """Return a text as the code has it, with an ellipsis for each part that is computed."""
    match value:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) if isinstance(part, ast.Constant) else "…" for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
        case _:
            return ""


def _wants_html(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _json(view: BaseModel) -> Response:
    return Response(view.model_dump_json(), 200, _KEPT, "application/json")


def _html(title: str, body: str) -> Response:
    page = _PAGE.format(rule=escape(title), body=body)
    return Response(page, 200, _KEPT | _POLICY, "text/html; charset=utf-8")


def _body(view: RuleView) -> str:
    paragraphs = "".join(f"<p>{escape(part)}</p>" for part in view.demands.split("\n\n"))
    lists = "".join(
        f"<h2>{heading}</h2><ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"
        for heading, texts in (("Why it was refused", view.reasons), ("What to do", view.remedies))
        if texts
    )
    status = f"<p>Refused with {view.status} {view.title}. In a refusal, <code>detail</code> says why in this case"
    evidence = "<code>remedy</code> what to do, and <code>because</code> names the events that justify it."
    return f'<h1>{escape(view.rule)}</h1>{paragraphs}{status}, {evidence}</p>{lists}<p><a href="/problems">All</a></p>'
