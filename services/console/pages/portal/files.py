"""Files of people: a CSV file that was chosen, or a list that was pasted."""

from typing import Final, NamedTuple

from services.console.lines import lines_in
from services.console.texts import marked
from services.console.visits import Visit

EMPTY: Final = marked("Choose a file, or paste a list of addresses.")


class Lines(NamedTuple):
    """A CSV file as it is sent, and how many lines were put before those given."""

    text: str
    added: int


def lines_of(visit: Visit) -> Lines | None:
    """Return what a form has as a file or as pasted text, or note that there is nothing.

    A list of addresses without a heading gets one.
    """
    form = visit.form
    text = form["file"] if form["file"].strip() else form["pasted"].strip()
    if not text.strip():
        form.errors.setdefault("file", visit.texts.gettext(EMPTY))
    if form.wrong:
        return None
    heading = lines_in(text.lstrip())[0]
    return Lines(f"email\n{text}", 1) if "@" in heading else Lines(text, 0)
