"""The tree's own habits: small files, small functions, nothing unfinished, no addresses of anybody's machine."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from deploy import ROOT
from shared.eventlog.deliver.received import Reason
from shared.events import EVENTS
from shared.services import EDGES, SERVICES
from shared.sql import statements
from tests.tree import GENERATED, NAMES, SOURCES, TRACKED, for_each, name, nodes, parsed, rule_arguments

HOSTS = re.compile(
    r"\b(pypi\.(org|python)|files\.pythonhosted|npmjs|yarnpkg|(repo\d?|search)\.maven|proxy\.golang|crates\.io)\b"
    r"|https?://[^\s\"']*(pypi|pythonhosted|npm|maven|golang|crates)|(?<![\w.])/(work|farm|root)/"
)
SKIPPED = re.compile(r"#\s*fmt:\s*(skip|off)")
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b|raise NotImplemented" + "Error")


@for_each([file for file in SOURCES if file not in GENERATED])
def test_a_file_and_its_functions_fit_the_head(file: Path) -> None:
    text = file.read_text()
    lines = text.count("\n")
    assert lines <= 500, f'{name(file)} has {lines} lines: split it, as CONTRIBUTING says under "A change"'
    for node in nodes(file):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= 70, f"{name(file)}:{node.lineno} {node.name} has {lines} lines"


OF_THE_ENGINE = {"OperationPerformed", "RecordAnswered"}
BUSINESS = re.compile(rf"\b({'|'.join(sorted(EVENTS.keys() - OF_THE_ENGINE))})\b")
ENGINE = [file for file in TRACKED if ROOT / "shared/eventlog" in file.parents and file.suffix in {".py", ".sql"}]


# An applied migration is never edited: `log_0003.sql` names an event of identity.
@for_each([f for f in ENGINE if f.name != "log_0003.sql"])
def test_the_engine_names_no_event_of_the_business(file: Path) -> None:
    assert not BUSINESS.findall(file.read_text()), f"{name(file)} knows what the events are about"


@for_each(SOURCES)
def test_every_function_has_a_name_that_a_traceback_can_show(file: Path) -> None:
    functions = (n for n in nodes(file) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    nameless = [node.lineno for node in functions if not node.name.strip("_")]
    assert not nameless, f"{name(file)} has functions without a name in lines {nameless}"


@for_each(SOURCES)
def test_the_formatter_wins(file: Path) -> None:
    skipped = [n for n, line in enumerate(file.read_text().splitlines(), start=1) if SKIPPED.search(line)]
    assert not skipped, f"{name(file)} keeps lines {skipped} from the formatter"


@for_each([f for f in SOURCES if "migrations/versions" not in str(f)])
def test_every_module_says_what_it_is(file: Path) -> None:
    assert ast.get_docstring(parsed(file)), f"{name(file)} has no docstring"


MODULES = {name(file).removesuffix(".py").replace("/", ".").removesuffix(".__init__") for file in SOURCES}


def private_names_of_others(tree: ast.Module, modules: set[str]) -> list[str]:
    """The names with an underscore that a module takes from another of the tree, each with its line."""
    known, found = dict[str, str](), list[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found += [f"{node.lineno} {node.module}.{each.name}" for each in node.names if is_private(each.name)]
            known |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
        elif isinstance(node, ast.Import):
            known |= {each.asname or each.name: each.name for each in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            module = known.get(ast.unparse(node.value))
            found += [f"{node.lineno} {module}.{node.attr}"] if module in modules else []
    return found


def is_private(word: str) -> bool:
    return word.startswith("_") and not word.startswith("__")


@for_each(SOURCES)
def test_what_another_module_takes_is_public(file: Path) -> None:
    found = private_names_of_others(parsed(file), MODULES)
    assert not found, f"{name(file)} takes what is private to another module: {found}"


@pytest.mark.parametrize(
    "source",
    ["from a.b import _c", "from a import b\nb._c()", "import a.b\na.b._c", "from a import b as d\nprint(d._c)"],
)
def test_the_search_finds_private_names(source: str) -> None:
    assert private_names_of_others(ast.parse(source), {"a", "a.b"})


@pytest.mark.parametrize(
    "source", ["from a.b import C\nC._replace()", "from a import __all__", "import os\nos._exit(1)"]
)
def test_the_search_finds_no_other_names(source: str) -> None:
    assert private_names_of_others(ast.parse(source), {"a", "a.b"}) == []


PRODUCT = [file for file in SOURCES if name(file).startswith(("services/", "shared/", "cli/"))]


@for_each(PRODUCT)
def test_what_runs_logs_and_never_prints(file: Path) -> None:
    calls = (node for node in nodes(file) if isinstance(node, ast.Call))
    printed = [call.lineno for call in calls if ast.unparse(call.func) in ("print", "sys.stdout.write", "breakpoint")]
    assert not printed, f"{name(file)} prints in lines {printed}"


# ── Rules ──────────────────────────────────────────────────────────────────────────────────────────────

REFUSING = [*PRODUCT, *(file for file in SOURCES if name(file).startswith("deploy/"))]


def rule_id(value: ast.expr | None) -> str:
    """Return the id of a rule's constant: a string, or `Rule(string, status)`."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "Rule":
        value = value.args[0]
    return str(value.value) if isinstance(value, ast.Constant) else ""


RULES = {
    rule_id(statement.value): f"{name(file)} {statement.target.id}"
    for file in PRODUCT
    if file.name == "rules.py"
    for statement in parsed(file).body
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and rule_id(statement.value)
}
"""Where each rule's id is defined."""


@for_each(REFUSING)
def test_refusals_name_their_rule_by_its_constant(file: Path) -> None:
    calls = (node for node in nodes(file) if isinstance(node, ast.Call))
    literal = [arg.lineno for call in calls for arg in rule_arguments(call) if isinstance(arg, ast.Constant)]
    assert not literal, f"{name(file)} spells a rule's id in lines {literal}"


def test_a_rules_id_stands_once() -> None:
    """An id of one word may also be an ordinary word; as a rule it is checked above.

    So is the id of a rule for publishers' events: it is the reason that a record is parked for.
    """
    once = {rule for rule in RULES if "-" in rule} - {*get_args(Reason)}
    every = (node for file in REFUSING for node in nodes(file))
    literals = (node.value for node in every if isinstance(node, ast.Constant) and isinstance(node.value, str))
    found = Counter(literal for literal in literals if literal in once)
    assert found.keys() == once
    assert [f"{rule} ({RULES[rule]}) {times} times" for rule, times in found.items() if times > 1] == []


@for_each([file for file in PRODUCT if file.name == "rules.py"])
def test_every_rule_says_what_it_demands(file: Path) -> None:
    body = parsed(file).body
    documented = [isinstance(after, ast.Expr) for after in (*body[1:], None)]
    bare = [
        ast.unparse(rule)
        for rule, said in zip(body, documented, strict=True)
        if isinstance(rule, ast.AnnAssign) and not said
    ]
    assert not bare, f"{name(file)} does not say what these demand: {bare}"


@pytest.mark.parametrize("rule", RULES)
def test_something_refuses_by_every_rule(rule: str) -> None:
    defined_in, constant = RULES[rule].split()
    users = [file for file in PRODUCT if name(file) != defined_in and constant in file.read_text()]
    assert users, f"nothing refuses by {rule}"


def test_one_stem_shows_the_walk_from_the_route_to_the_table() -> None:
    files = {name(file): file for file in TRACKED if name(file).startswith("services/")}
    walk = {named for named, file in files.items() if "disable_auto_renew" in file.read_text()}
    assert {f"services/marketplace/{part}" for part in ("api.py", "domain/auto_renew.py", "projections.sql")} <= walk
    assert len(walk) <= 6, f"too long a walk: {sorted(walk)}"


# ── SQL ────────────────────────────────────────────────────────────────────────────────────────────────

STATEMENT = re.compile(
    r"\s*(select\s|insert\s+into\s|update\s+[\w.{}\"]+\s+(as\s+\w+\s+)?set\s|delete\s+from\s|with\s+(recursive\s+)?\w+\s*(\(.*\)\s*)?as\s*\("
    r"|(create|alter|drop)\s+(table|index|unique|schema|database|role|function|view|type)\s"
    r"|(lock|truncate)\s+table\s|set\s+local\s|(grant|revoke)\s+\w+\s+on\s|do\s+\$\$|merge\s+into\s|copy\s+\w+\s+(from|to)\s)"
)
DEPLOYED = [*PRODUCT, *(file for file in SOURCES if name(file).startswith("deploy/"))]
WITH_SQL = [file for file in DEPLOYED if "statements(__file__)" in file.read_text()]


def starts_a_statement(text: str) -> bool:
    """Whether this begins as SQL does, in small letters or in capitals: a sentence does in neither way."""
    words = text.split(maxsplit=1)
    return bool(words) and STATEMENT.match(text.lower() if words[0].isupper() else text) is not None


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the string literals of a module with their lines, of an f-string what is before its first value."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(str(p.value) if isinstance(p, ast.Constant) else "{}" for p in node.values)


@for_each([f for f in DEPLOYED if "migrations" not in f.parts])
def test_sql_stands_in_named_files(file: Path) -> None:
    found = [line for line, text in texts(parsed(file)) if starts_a_statement(text)]
    assert not found, f"{name(file)} has SQL in lines {found}: put it into {file.stem}.sql"


@pytest.mark.parametrize(
    "text",
    [
        "select 1",
        "\n    SELECT a FROM b",
        "insert into a values ($1)",
        "update a set b = 1",
        'update "{}".a as t set b = 1',
        "delete from a",
        "with a as (select 1) select * from a",
        "create table a ()",
        "alter table {} set schema b",
        "drop schema {} cascade",
        "set local search_path = {}",
    ],
)
def test_the_search_finds_statements(text: str) -> None:
    assert starts_a_statement(text)


@pytest.mark.parametrize(
    "text", ["update", "DELETE", "Select a plan.", "drop", "Drop the table.", "with the folders ca and broker", "lock"]
)
def test_the_search_finds_no_other_texts(text: str) -> None:
    assert not starts_a_statement(text)


def statements_used(file: Path) -> Iterator[tuple[Path, str]]:
    """Yield the statements that a module uses, by file and name: its own and other modules'."""
    tree = parsed(file)
    owners = {"SQL": file} if file in WITH_SQL else {}
    modules: dict[str, Path] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if alias.name == "SQL":
                    owners[alias.asname or "SQL"] = ROOT / f"{node.module.replace('.', '/')}.py"
                else:
                    modules[alias.asname or alias.name] = ROOT / f"{node.module.replace('.', '/')}/{alias.name}.py"
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript):
            match node.value:
                case ast.Name(id=local) if local in owners:
                    owner = owners[local]
                case ast.Attribute(value=ast.Name(id=module), attr="SQL") if module in modules:
                    owner = modules[module]
                case _:
                    continue
            for each in [node.slice.body, node.slice.orelse] if isinstance(node.slice, ast.IfExp) else [node.slice]:
                assert isinstance(each, ast.Constant), f"{name(file)}:{node.lineno} names no statement"
                yield owner, str(each.value)


@cache
def all_statements_used() -> set[tuple[Path, str]]:
    return {used for file in DEPLOYED for used in statements_used(file)}


@for_each(WITH_SQL)
def test_a_modules_statements_are_those_that_are_used(file: Path) -> None:
    """A name that is used and not there would be met when it is asked for only."""
    assert {used for owner, used in all_statements_used() if owner == file} == statements(str(file)).keys()


@for_each(DEPLOYED)
def test_statements_are_constants(file: Path) -> None:
    """`with_names` alone puts something into one."""
    tree = parsed(file)
    inside = [
        each
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp | ast.JoinedStr | ast.Attribute)
        for each in ([node.value] if isinstance(node, ast.Attribute) else ast.walk(node))
    ]
    built = [
        node.lineno for node in inside if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("SQL")
    ]
    assert not built, f"{name(file)} builds SQL in lines {built}: see shared/sql.py"


# ── Records ────────────────────────────────────────────────────────────────────────────────────────────


def dataclass_of(node: ast.ClassDef) -> ast.expr | None:
    """The decorator that makes the class a dataclass."""
    return next((d for d in node.decorator_list if re.match(r"(dataclasses\.)?dataclass\b", ast.unparse(d))), None)


@for_each(DEPLOYED)
def test_long_records_are_built_by_keywords(file: Path) -> None:
    """Of more than four fields: two of the same type would change places unseen."""
    by_place = []
    for node in nodes(file):
        if isinstance(node, ast.ClassDef) and (made := dataclass_of(node)) is not None:
            fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
            fields = [each for each in fields if "ClassVar" not in ast.unparse(each.annotation)]
            if len(fields) > 4 and "kw_only=True" not in ast.unparse(made):
                by_place.append(f"{node.name} ({len(fields)} fields, line {node.lineno})")
    assert not by_place, f"{name(file)}: {', '.join(by_place)} should be keyword-only"


# ── Tests ──────────────────────────────────────────────────────────────────────────────────────────────

TESTS = [file for file in SOURCES if name(file).startswith("tests/")]
HELPERS = [file for file in TESTS if not file.name.startswith("test_") and "examples" not in file.parts]


@for_each(TESTS)
def test_nothing_is_imported_from_a_test_module(file: Path) -> None:
    """What several tests use stands in a module of its own, or in tests/examples where it is example data."""
    modules = [node.module or "" for node in nodes(file) if isinstance(node, ast.ImportFrom)]
    modules += [each.name for node in nodes(file) if isinstance(node, ast.Import) for each in node.names]
    found = [module for module in modules if re.search(r"^tests\..*\btest_\w+$", module)]
    assert not found, f"{name(file)} imports from {found}"


SPOKEN = re.compile(r"given|when|then(_\w+)?|refused|accepted")


@for_each([file for file in TESTS if file.name.startswith("test_")])
def test_the_words_of_a_spec_are_those_of_the_language(file: Path) -> None:
    """A helper of a test module's own by such a name would check something else: see tests/spec."""
    defined = [node for node in parsed(file).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = [node.name for node in defined if SPOKEN.fullmatch(node.name)]
    assert not found, f"{name(file)} defines {found}"


@for_each(HELPERS)
def test_example_events_stand_with_the_examples(file: Path) -> None:
    """A test module may name events for itself; what others import is in tests/examples."""
    named = [
        node.lineno
        for node in parsed(file).body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
        for each in ast.walk(node.value)
        if isinstance(each, ast.Call) and ast.unparse(each.func) in EVENTS
    ]
    assert not named, f"{name(file)} names example events in lines {named}"


# ── The rooms of a service ─────────────────────────────────────────────────────────────────────────────

ROOMS = {
    *("README.md", "__init__.py", "__main__.py", "api.py", "domain", "migrations"),
    *("projections.py", "projections.sql", "queries.py", "queries.sql", "reactions.py", "timers.py"),
}
"""What every service has, by the same names."""
FURTHER = {
    "views.py": "the shapes of what queries.py answers, where it would be too long with them",
    "lists.py": "queries with many rows as their answer, which filter, search, sort, page and export",
    "lookups.py": "what routes and reactions find in the read models for the deciders, as a protocol with a twin",
    "past.py": "what one of the service's things was at a time, from its own events, in the shape of the present view",
    "policies.toml": "each publisher's own figures, where domain/policy.py has some",
}
"""What a service may have, and why."""
OWN_ROOMS = {
    "identity": {
        "signin": "whatever signing in needs that is no business fact: passwords, keys, sessions, other issuers",
        "mail": "the outbox, the letters and whoever sends them",
        "webhooks": "addresses that events are sent to, their signatures and whoever sends them",
        "notifications": "what people are told: reactions without commands, texts in their languages, the inbox",
        "names.py": "the names behind account ids, for those who may know them",
        "persons.py": "the keys under which personal fields of the log are readable",
        "restored.py": "puts the private tables right after a restore: no event makes them again",
        "everywhere.py": "asks the other services whether they have a clock's new time",
    },
    "marketplace": {
        "calendars.py": "business days by country, from a library that domain/ must not import",
        "calendars.toml": "what it corrects in that library",
        "publisher.py": "what a publisher's people do themselves, which its systems send as events",
        "partners.py": "engagements and requests for seats: api.py and queries.py would be too long with them",
    },
    "distribution": {
        "publisher.py": "what a publisher's people do themselves, which its systems send as events",
        "windows.py": "time zones of maintenance windows, which domain/ must not look up",
    },
}
"""What one service has and no other, and why."""


def rooms_of(service: str) -> set[str]:
    """The files and folders directly below a service's folder; statements belong to the module of their name."""
    below = {
        Path(each).parts[2] for each in NAMES if each.startswith(f"services/{service}/") and (ROOT / each).is_file()
    }
    modules = {Path(each).stem for each in below if each.endswith(".py")}
    optional = {f"{module}.sql" for module in modules} - ROOMS
    return below - optional


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_the_rooms_of_every_service_and_a_reason_for_each_other(service: str) -> None:
    own = OWN_ROOMS.get(service, {})
    rooms = rooms_of(service)
    assert ROOMS - rooms == set(), f"services/{service} lacks a room that every service has"
    assert rooms - ROOMS - FURTHER.keys() - own.keys() == set(), (
        f"services/{service} has a room of its own, unexplained"
    )
    assert own.keys() - rooms == set(), f"services/{service} has lost a room that is explained"


EDGE_ROOMS = {
    *("README.md", "__init__.py", "__main__.py", "app.py", "pages", "templates", "static", "locale"),
    *("areas.py", "cookies.py", "deeds.py", "doors.py", "forms.py", "notices.py", "refusals", "rendering.py", "shapes"),
    *("limited.py", "lines.py", "live", "names.py", "products.py", "providers.py", "texts.py", "verbs.py", "visits.py"),
}
"""What an edge has: pages and their parts, and nothing of a service's."""


@pytest.mark.parametrize("edge", EDGES)
def test_an_edge_has_the_rooms_of_an_edge_and_none_of_a_service(edge: str) -> None:
    assert rooms_of(edge) == EDGE_ROOMS


# ── The rest ───────────────────────────────────────────────────────────────────────────────────────────


def test_every_folder_of_sources_is_a_package() -> None:
    folders = {file.parent for file in SOURCES if "migrations" not in file.parts}
    assert len(folders) > 10
    assert [name(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_nothing_is_unfinished_and_nothing_names_a_machine() -> None:
    found = []
    for file in TRACKED:
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            continue
        lines = enumerate(text.splitlines(), start=1)
        found += [
            f"{name(file)}:{number} {line.strip()[:80]}"
            for number, line in lines
            if file != Path(__file__) and (UNFINISHED.search(line) or HOSTS.search(line))
        ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "parts",
    [
        ("pypi", ".", "org"),
        ("files.python", "hosted", ".org"),
        ("cd /wo", "rk/", "main"),
        ("x = '/ro", "ot/", ".cache'"),
        ("registry.npm", "js", ".org"),
        ("repo1.", "maven", ".org"),
    ],
)
def test_the_search_finds_addresses(parts: tuple[str, ...]) -> None:
    """They are put together here, so that this file has no address either."""
    assert HOSTS.search(f"see {''.join(parts)}/")


@pytest.mark.parametrize("line", ["a network/worker", "https://kafka.apache.org", "from jgo.maven import MavenContext"])
def test_the_search_finds_no_others(line: str) -> None:
    assert not HOSTS.search(line)
