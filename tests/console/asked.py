"""What the pages ask of the services, read from the console's source.

A request's path is followed through names, functions, sums and f-strings of the console's own modules. What can't be
known before a person fills in the form is `{}`.
"""

import ast
import inspect
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from services import console

FOLDER: Final = Path(inspect.getfile(console)).parent
ANY: Final = "{}"
SEEN: Final = ("see", "see_then", "see_list", "export", "export_as")
"""What a visit is asked for a service's answer by `GET`."""


def unnamed(path: str) -> str:
    """The path with its parameters' names left out, which a caller does not see."""
    return re.sub(r"{\w*(?::path)?}", ANY, path.partition("?")[0])


class Request(NamedTuple):
    """A request of a page; `{}` stands for what the source does not say."""

    service: str
    method: str
    path: str
    model: str = ""
    filters: tuple[str, ...] = ()

    def may_be(self, service: str, method: str, path: str) -> bool:
        """Whether the request may be one to this route."""
        if self.service not in (service, ANY) or self.method not in (method, ANY):
            return False
        asked, there = self.path.split("/"), unnamed(path).split("/")
        return len(asked) == len(there) and all(
            ours in (theirs, ANY) for ours, theirs in zip(asked, there, strict=True)
        )


@dataclass(frozen=True)
class Scope:
    """The names that an expression sees: those of its function, then those of its module."""

    module: "Source"
    local: Mapping[str, list[ast.expr]] = field(default_factory=dict)
    function: str = ""
    parameters: tuple[str, ...] = ()

    def values(self, node: ast.expr | None, depth: int = 8) -> set[str]:
        """The texts that an expression may be."""
        if depth == 0:
            return {ANY}
        match node:
            case ast.Constant(str(text)):
                return {unnamed(text)}
            case ast.JoinedStr(parts):
                return self._sum(
                    *(part.value if isinstance(part, ast.FormattedValue) else part for part in parts), depth=depth
                )
            case ast.BinOp(left, ast.Add(), right):
                return self._sum(left, right, depth=depth)
            case ast.IfExp(_, yes, no):
                return self.values(yes, depth) | self.values(no, depth)
            case ast.Call(ast.Name("path"), [first, *_]):
                return self.values(first, depth)
            case ast.Call(ast.Name(name)) if function := self.module.function(name):
                where, returned = function
                return {each for value in returned for each in where.values(value, depth - 1)} or {ANY}
            case ast.Name(name) if name in self.local:
                return {each for value in self.local[name] for each in self.values(value, depth - 1)}
            case ast.Name(name) if name in self.parameters:
                given = arguments(self.module.name, self.function, self.parameters.index(name), name)
                return {each for where, value in given for each in where.values(value, depth - 1)} or {ANY}
            case ast.Name(name) if found := self.module.constant(name):
                where, value = found
                return where.values(value, depth - 1)
            case _:
                return {ANY}

    def _sum(self, *parts: ast.expr, depth: int) -> set[str]:
        texts = (self.values(part, depth) for part in parts)
        return {"".join(each) for each in itertools.islice(itertools.product(*texts), 100)}


class Source:
    """A module of the console."""

    def __init__(self, name: str) -> None:
        self.name = name
        at = FOLDER.parent.parent.joinpath(*name.split("."))
        self.tree = ast.parse((at / "__init__.py" if at.is_dir() else at.with_suffix(".py")).read_text())
        self._functions = {
            node.name: node for node in self.tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        self._constants = assigned(self.tree.body)
        self._imports = {
            alias.asname or alias.name: (node.module, alias.name)
            for node in self.tree.body
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(console.__name__)
            for alias in node.names
        }

    def home(self, name: str) -> tuple[str, str]:
        """The module that defines a name which this one uses, and its name there."""
        return self._imports.get(name, (self.name, name))

    def function(self, name: str) -> tuple[Scope, list[ast.expr]] | None:
        """What a function of this module, or an imported one, returns."""
        if name in self._functions:
            node = self._functions[name]
            returned = [each.value for each in ast.walk(node) if isinstance(each, ast.Return) and each.value]
            return self.inside(node), returned
        return source(self._imports[name][0]).function(self._imports[name][1]) if name in self._imports else None

    def constant(self, name: str) -> tuple[Scope, ast.expr] | None:
        if name in self._constants:
            return Scope(self), self._constants[name][-1]
        return source(self._imports[name][0]).constant(self._imports[name][1]) if name in self._imports else None

    def inside(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Scope:
        parameters = tuple(each.arg for each in function.args.args)
        return Scope(self, assigned(ast.walk(function)), function.name, parameters)

    def calls(self) -> Iterator[tuple[Scope, ast.Call]]:
        """The calls in the functions and methods, with what they see."""
        classes = (each for node in self.tree.body if isinstance(node, ast.ClassDef) for each in node.body)
        for function in [*self.tree.body, *classes]:
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                scope = self.inside(function)
                yield from ((scope, each) for each in ast.walk(function) if isinstance(each, ast.Call))


def assigned(nodes: "Iterator[ast.AST] | list[ast.stmt]") -> dict[str, list[ast.expr]]:
    """The values that each name is given."""
    found: dict[str, list[ast.expr]] = {}
    for node in nodes:
        match node:
            case ast.Assign([ast.Name(name)], value) | ast.AnnAssign(ast.Name(name), _, ast.expr() as value):
                found.setdefault(name, []).append(value)
            case ast.Assign([ast.Tuple(names)], ast.Tuple(values)):
                for each, value in zip(names, values, strict=True):
                    if isinstance(each, ast.Name):
                        found.setdefault(each.id, []).append(value)
    return found


@cache
def source(name: str) -> Source:
    return Source(name)


@cache
def arguments(module: str, function: str, position: int, name: str) -> list[tuple[Scope, ast.expr]]:
    """What the console's functions give a function for one of its parameters."""
    found: list[tuple[Scope, ast.expr]] = []
    for scope, call in every_call():
        if isinstance(call.func, ast.Name) and scope.module.home(call.func.id) == (module, function):
            named = [keyword.value for keyword in call.keywords if keyword.arg == name]
            found += [(scope, value) for value in [*call.args[position : position + 1], *named]]
    return found


def requests_in(call: ast.Call, scope: Scope) -> Iterator[Request]:
    """The requests of a call of a visit's `ask`, `do`, `see`, `see_list` or `export`, of a door, or of a deed."""
    methods: set[str] = {"GET"}
    model, filters = "", tuple[str, ...]()
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    match call:
        case ast.Call(ast.Attribute(attr="ask" | "do"), [service, method, path, *rest]):
            methods, model = scope.values(method), model_in(rest)
        case ast.Call(
            ast.Attribute(attr="see" | "see_then" | "see_list" | "export" | "export_as"), [service, path, *rest]
        ):
            model = model_in(rest)
            filters = tuple(str(each.value) for each in rest if isinstance(each, ast.Constant))[0 if model else 1 :]
        case ast.Call(ast.Name("Deed" | "LinesDeed" | "Call")) if "service" in given and "path" in given:
            service, path = given["service"], given["path"]
            methods = scope.values(given["method"]) if "method" in given else {"POST"}
        case _:
            return
    for each in itertools.product(scope.values(service), methods, scope.values(path)):
        if each[2].startswith("/") and "//" not in f"{each[2]}/":
            yield Request(*each, model, filters)


def model_in(arguments: list[ast.expr]) -> str:
    match arguments:
        case [ast.Name(model) | ast.Attribute(attr=model), *_]:
            return model
        case _:
            return ""


def modules() -> Iterator[str]:
    """The console's modules."""
    for file in sorted(FOLDER.rglob("*.py")):
        parts = file.relative_to(FOLDER.parent.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def every_call() -> list[tuple[Scope, ast.Call]]:
    return [each for name in modules() for each in source(name).calls()]


@cache
def every_request() -> frozenset[Request]:
    return frozenset(request for scope, call in every_call() for request in requests_in(call, scope))
