"""The sentences of the pages: `python -m tests.console.catalogue` adds those that a catalogue lacks, untranslated."""

import ast
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Final, TypeAlias

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po
from jinja2.ext import babel_extract

import cli
from cli.app import NOTHING_CHANGED, load_verbs
from cli.serving.app import listed_verbs
from services.console.forms import REFUSALS, refusals_of
from services.console.rendering import HERE, TEMPLATES
from services.console.texts import FOLDER, LANGUAGES, SOURCE

COMMON: Final = "common"
CLI: Final = Path(cli.__file__).parent
OF_VERBS: Final = "operating"
"""The area whose pages show the verbs of `tenure`."""
Sentence: TypeAlias = str | tuple[str, str]
"""A sentence, or those for one and for many."""


@cache
def areas() -> Sequence[str]:
    """The areas whose pages have sentences, the common one first."""
    folders = {each.name for place in (TEMPLATES, HERE / "pages") for each in place.iterdir() if each.is_dir()}
    return (COMMON, *sorted(name for name in folders if not name.startswith("_")))


def sentences(area: str) -> set[Sentence]:
    """Every sentence that the pages of an area may show; one of the common area is in no other."""
    if area == COMMON:
        templates, modules = TEMPLATES.glob("*.html"), [*HERE.glob("*.py"), *(HERE / "pages").glob("*.py")]
    else:
        templates, modules = (TEMPLATES / area).glob("*.html"), [*(HERE / "pages" / area).rglob("*.py")]
    found = {each for file in templates for each in _of_template(file)}
    found |= {each for file in modules for each in _of_module(file)}
    if area == OF_VERBS:
        found |= of_verbs()
    if (file := REFUSALS / f"{area}.toml").is_file():
        shown = refusals_of(file)
        found |= {words.text for words in shown.rules.values()} | {*shown.fields.values()}
    return found if area == COMMON else found - sentences(COMMON)


@cache
def of_verbs() -> set[Sentence]:
    """What the declarations of the verbs say, which the pages show in the person's language."""
    load_verbs()
    listed = listed_verbs()
    found = {NOTHING_CHANGED, *(each.why for each in listed.not_served)}
    for verb in listed.items:
        found |= {verb.summary, verb.if_cancelled, *verb.description.split("\n\n")}
        properties = verb.parameters["properties"]
        assert isinstance(properties, dict)
        found |= {str(each["description"]) for each in properties.values() if isinstance(each, dict)}
    return {each for each in found if each} | {each for file in sorted(CLI.rglob("*.py")) for each in _said(file)}


def _said(file: Path) -> set[Sentence]:
    """The templates of `say`, and the things that `Count` counts, in a module of the command."""
    source = file.read_text()
    told = extract("python", BytesIO(source.encode()), {"say": None}, [], {})
    found = {_sentence(message) for _, message, _, _ in told if message}
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        if isinstance(call.func, ast.Name) and call.func.id == "Count":
            thing = call.args[1]
            assert isinstance(thing, ast.Constant), f"{file}:{call.lineno}: no translation is found for what is counted"
            found.add((f"%(number)s {thing.value!s}", f"%(number)s {thing.value!s}s"))
    return found


def _of_template(file: Path) -> set[Sentence]:
    told = babel_extract(BytesIO(file.read_bytes()), ("_", "gettext", "ngettext"), [], {})
    return {_sentence(message) for _, _, message, _ in told if message}


def _of_module(file: Path) -> set[Sentence]:
    words = {"marked": None, "gettext": None, "ngettext": (1, 2)}
    told = extract("python", BytesIO(file.read_bytes()), words, [], {})
    return {_sentence(message) for _, message, _, _ in told if message}


def _sentence(message: str | Sequence[str | None]) -> Sentence:
    if isinstance(message, str):
        return message
    one, many, *_ = message
    return (str(one), str(many)) if many is not None else str(one)


def translations(language: str, area: str) -> Catalog:
    """The catalogue of an area; an empty one where it has no file yet."""
    file = FOLDER / language / f"{area}.po"
    return read_po(BytesIO(file.read_bytes()), locale=language) if file.is_file() else Catalog(language)


def is_translated(catalogue: Catalog, sentence: Sentence) -> bool:
    message = catalogue.get(sentence)
    strings = () if message is None else message.string if isinstance(message.string, tuple) else (message.string,)
    return bool(strings) and all(strings)


HEADER: Final = """\
# The sentences of the console's pages. `python -m tests.console.catalogue` adds those that are missing.
msgid ""
msgstr ""
"Language: {language}\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"
"Content-Type: text/plain; charset=utf-8\\n"

"""


def completed(language: str, area: str) -> bytes:
    """The file of an area with every sentence, and no other."""
    known, made, out = translations(language, area), Catalog(language, fuzzy=False), BytesIO()
    for sentence in sorted(sentences(area), key=lambda each: each if isinstance(each, str) else each[0]):
        before = known.get(sentence)
        flags = ("python-format",) if "%(" in str(sentence) else ()
        empty = "" if isinstance(sentence, str) else ("", "")
        made.add(sentence, before.string if before else empty, flags=flags)
    write_po(out, made, width=110, omit_header=True, sort_output=True)
    return HEADER.format(language=language).encode() + out.getvalue()


def main() -> None:
    for language in LANGUAGES:
        for area in areas() if language != SOURCE else ():
            (FOLDER / language / f"{area}.po").write_bytes(completed(language, area))


if __name__ == "__main__":
    main()
