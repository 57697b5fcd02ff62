"""The sentences of the pages: `python -m tests.console.catalogue` adds those that a catalogue lacks, untranslated."""

import tomllib
from io import BytesIO
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po
from jinja2.ext import babel_extract

from services.console.forms import REFUSALS
from services.console.rendering import HERE, TEMPLATES
from services.console.texts import FOLDER, LANGUAGES, SOURCE


def sentences() -> set[str]:
    """Every sentence that a page may show."""
    found = set[str]()
    for file in TEMPLATES.glob("*.html"):
        told = babel_extract(BytesIO(file.read_bytes()), ("_", "gettext", "ngettext"), [], {})
        found |= {_key(message) for _, _, message, _ in told}
    for file in HERE.rglob("*.py"):
        words = {"marked": None, "gettext": None}
        found |= {_key(message) for _, message, _, _ in extract("python", BytesIO(file.read_bytes()), words, [], {})}
    shown = tomllib.loads(REFUSALS.read_text())
    return found | {words["text"] for words in shown["rules"].values()} | {*shown["fields"].values()}


def _key(message: object) -> str:
    return str(message[0] if isinstance(message, tuple) else message)


def translations(language: str) -> Catalog:
    with (FOLDER / f"{language}.po").open("rb") as file:
        return read_po(file, locale=language)


HEADER: Final = """\
# The sentences of the console's pages. `python -m tests.console.catalogue` adds those that are missing.
msgid ""
msgstr ""
"Language: {language}\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"
"Content-Type: text/plain; charset=utf-8\\n"

"""


def completed(language: str) -> bytes:
    """The catalogue's file with every sentence, and no other."""
    known, made, out = translations(language), Catalog(language, fuzzy=False), BytesIO()
    for sentence in sorted(sentences()):
        before = known.get(sentence)
        flags = ("python-format",) if "%(" in sentence else ()
        made.add(sentence, before.string if before else "", flags=flags)
    write_po(out, made, width=110, omit_header=True, sort_output=True)
    return HEADER.format(language=language).encode() + out.getvalue()


def main() -> None:
    for language in LANGUAGES:
        if language != SOURCE:
            (FOLDER / f"{language}.po").write_bytes(completed(language))


if __name__ == "__main__":
    main()
