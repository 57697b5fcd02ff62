"""Every `type` of a problem leads to a page about its rule, at whichever process has answered.

The rules that a process can answer are read from the code that it loads.
"""

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

import cli.serving
import cli.verbs
import services
import services.console
from deploy import ROOT
from shared.rule_status import Rule
from shared.runtime.rule_pages import SHARED, rules_in
from shared.services import OPERATIONS, SERVICES
from tests.tree import rule_arguments

REFUSING: Final = ("Problem", "Rejected", "super().__init__")
"""What is called with a rule that is answered; other calls only keep or show one."""
VERBS: Final = sorted(f"cli.verbs.{file.stem}" for file in Path(str(cli.verbs.__file__)).parent.glob("[!_]*.py"))
PROCESSES: Final = {
    **{name: ([f"services.{name}.__main__"], Path(str(services.__file__)).parent / name) for name in SERVICES},
    "console": (["services.console.__main__"], Path(str(services.console.__file__)).parent),
    OPERATIONS: (["cli.serving.__main__", *VERBS], Path(str(cli.serving.__file__)).parent),
}
"""Of each process, the modules that it begins with, and the folder of its own rules."""


@cache
def file_of(module: str) -> Path | None:
    at = ROOT / module.replace(".", "/")
    return next((file for file in (at / "__init__.py", at.with_suffix(".py")) if file.exists()), None)


@cache
def parsed(module: str) -> ast.Module | None:
    file = file_of(module)
    return None if file is None else ast.parse(file.read_text())


@cache
def imported(module: str) -> frozenset[str]:
    found = set[str]()
    for node in ast.walk(parsed(module) or ast.Module([], [])):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return frozenset(name for name in found if file_of(name) is not None)


def loaded(begin: Sequence[str]) -> set[str]:
    """The modules of the product that these lead to."""
    found, following = set[str](), set(begin)
    while following:
        found |= following
        following = set().union(*map(imported, following)) - found
    return found


def named_rules(value: object) -> Iterator[str]:
    """The rules among a module's constants, also those of its tables."""
    if isinstance(value, Rule):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from named_rules(each)


def answered(name: str, module: ModuleType) -> Iterator[str]:
    """The rules that a module's code answers by, as far as it names them."""
    calls = (node for node in ast.walk(parsed(name) or ast.Module([], [])) if isinstance(node, ast.Call))
    for call in (call for call in calls if ast.unparse(call.func) in REFUSING):
        for argument in rule_arguments(call):
            named = ast.unparse(argument).split(".")
            found: object = module
            for part in named:
                found = getattr(found, part, None)
            if isinstance(found, str):
                yield found
    for constant, value in vars(module).items():
        if constant.isupper():
            yield from named_rules(value)


@pytest.mark.parametrize("process", PROCESSES)
def test_every_rule_that_a_process_may_answer_has_a_page_there(process: str) -> None:
    begin, folder = PROCESSES[process]
    pages = rules_in((SHARED, folder))
    modules = loaded(begin)
    if process == OPERATIONS:  # what services decide there is answered as the operations server's own refusal
        modules = {name for name in modules if not name.startswith("services.")}
    rules = {rule: name for name in sorted(modules) for rule in answered(name, import_module(name))}
    assert len(rules) > 20 and {"not-signed-in", "malformed"} <= rules.keys()
    assert {rule: name for rule, name in rules.items() if rule not in pages} == {}
    assert [rule for rule in rules if not pages[rule].demands] == []
