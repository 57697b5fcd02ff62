"""Files of lines: what is wrong with one, in plain words.

The services say it in English sentences of `shared/runtime/csv_items.py`, which a test compares with these.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from services.console.texts import Texts, marked

UNREADABLE: Final = marked("This file can't be read as CSV. Check it from line %(line)s on.")
FAULTS: Final[Mapping[str, str]] = {
    "it is empty: begin it with a header row of (?P<columns>.+)": marked(
        "The file is empty. Its first line names the columns: %(columns)s."
    ),
    "there is no column '(?P<column>.*)': the columns are (?P<columns>.+)": marked(
        "The first line of the file names the columns: %(columns)s. It has “%(column)s”, which is none of them."
    ),
    "it has a column twice": marked("The first line of the file names a column twice."),
    "it has more than (?P<most>[0-9]+) lines after the header: send several files": marked(
        "A file has at most %(most)s lines. Split it into several files."
    ),
    "it has no line after the header": marked("The file has the names of its columns and nothing else. Add a line."),
    "it has (?P<cells>[0-9]+) cells, and the header has (?P<columns>[0-9]+)": marked(
        "This line has %(cells)s cells, and the first line names %(columns)s columns."
    ),
}
"""The words by the sentence of a service."""
_BREAK: Final = re.compile("\r\n|\r|\n")


def lines_in(text: str) -> Sequence[str]:
    """Return a file's lines as its reader counts them: no other character ends a line."""
    return _BREAK.split(text)


def fault_in(place: str, error: str, texts: Texts) -> str:
    """Return what is wrong with a file or one of its lines; "" if it is something else.

    Args:
        place: the name of the malformed field: "line", with its number where the whole file is refused.
    """
    word, _, line = place.partition(" ")
    if word != "line":
        return ""
    for pattern, sentence in FAULTS.items():
        if found := re.fullmatch(pattern, error):
            return texts.gettext(sentence) % found.groupdict()
    return texts.gettext(UNREADABLE) % {"line": line} if line else ""
