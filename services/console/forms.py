"""Forms: what was entered, and refusals in plain words beside their field.

The files of `refusals/`, one an area, have the words, as a rule's id occurs in the source of its service only.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from services.console.doors import Refused
from services.console.lines import fault_in
from services.console.texts import Texts, marked

REFUSALS: Final = Path(__file__).with_name("refusals")
FIELDS_AT_MOST: Final = 200
FORM_BYTES: Final = 512 * 1024
"""A form with a CSV file of a thousand lines."""
_KEY: Final = re.compile(r"[0-9a-f-]{36}")
REQUIRED: Final = marked("Fill in this field.")
NOT_TEXT: Final = marked("This file is not text in UTF-8. Export it as a CSV file in UTF-8.")
UNKNOWN_FIELD: Final = marked("This is not accepted as it is written. Correct it.")


_WHOLE: Final = re.compile("[0-9]{1,18}")


def whole_number(written: str) -> int | None:
    """Return the whole number that a field has, or None if it has none.

    A number of more than 18 digits is none: no field means it, and no service can store it.
    """
    text = written.strip()
    return int(text) if _WHOLE.fullmatch(text) else None


class Words(BaseModel):
    """How a refusal is shown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    field: str = ""
    """The field that it concerns, or "" for the whole form."""


class Refusals(BaseModel):
    """The words of refusals, by rule, and of malformed values, by field.

    A field has the name that it has in the services' routes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: Mapping[str, Words] = {}
    fields: Mapping[str, str] = {}


def refusals_of(file: Path) -> Refusals:
    """Return the words in an area's file."""
    return Refusals.model_validate(tomllib.loads(file.read_text()))


@cache
def refusals() -> Refusals:
    """Return the words of all areas.

    Raises:
        ValueError: Two areas have words for one rule or field.
    """
    rules: dict[str, Words] = {}
    fields: dict[str, str] = {}
    for file in sorted(REFUSALS.glob("*.toml")):
        found = refusals_of(file)
        if twice := (rules.keys() & found.rules.keys()) | (fields.keys() & found.fields.keys()):
            raise ValueError(f"{file.name} has words that another area has: {', '.join(sorted(twice))}")
        rules |= found.rules
        fields |= found.fields
    return Refusals(rules=rules, fields=fields)


def words_of(rule: str, otherwise: str, texts: Texts) -> str:
    """Return the words for a rule's refusal, or else the service's own."""
    words = refusals().rules.get(rule)
    return otherwise if words is None else texts.gettext(words.text)


@dataclass(slots=True, kw_only=True)
class Form:
    """A form as it is shown: values, errors by field, and errors of the whole form."""

    values: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    key: str = ""
    """The Idempotency-Key of what the form does; "" for a new one."""
    record: str = ""
    """The id under which a service has stored its refusal, or ""."""

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")

    @property
    def wrong(self) -> bool:
        return bool(self.errors or self.faults)

    def require(self, texts: Texts, *names: str) -> bool:
        """Note the fields that are empty; return whether there is none."""
        for name in names:
            if not self[name].strip():
                self.errors[name] = texts.gettext(REQUIRED)
        return not self.errors

    def refuse(self, refused: Refused, texts: Texts) -> None:
        """Note a service's refusal, beside its field if the form has that."""
        problem = refused.problem
        self.record = problem.command_id or ""
        for each in problem.fields:
            name = _last_name(each.get("field", ""))
            of_file = fault_in(name, each.get("error", ""), texts)
            self._note(
                "file" if of_file else name, of_file or texts.gettext(refusals().fields.get(name, UNKNOWN_FIELD))
            )
        if problem.fields:
            return
        self.refuse_by(problem.rule or "", " ".join(filter(None, (problem.detail, problem.remedy))), texts)

    def refuse_by(self, rule: str, otherwise: str, texts: Texts) -> None:
        """Note a refusal by a rule.

        Args:
            otherwise: What is shown if the console has no words for the rule: the service's own.
        """
        words = refusals().rules.get(rule)
        self._note(words.field if words else "", words_of(rule, otherwise, texts))

    def _note(self, name: str, text: str) -> None:
        if name in self.values:
            self.errors.setdefault(name, text)
        elif text not in self.faults:
            self.faults.append(text)


def _last_name(location: str) -> str:
    return location.rpartition(".")[2]


async def entered(request: Request) -> Form:
    """Return what a form has sent, the text of a file that it uploads included.

    A field that is repeated has its last value; a group of checkboxes has its values with a line break between them
    if its name ends in `[]`. A file that is not text in UTF-8 is an error of its field.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    form = Form()
    if kind not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        return form
    try:
        async with request.form(max_files=1, max_fields=FIELDS_AT_MOST, max_part_size=FORM_BYTES) as sent:
            for name, value in sent.multi_items():
                await _take(form, name, value)
    except HTTPException:  # what no form of the console sends
        return Form()
    key = form.values.pop("key", "")
    form.key = key if _KEY.fullmatch(key) else ""
    return form


async def _take(form: Form, name: str, value: UploadFile | str) -> None:
    if isinstance(value, str):
        before = form.values.get(name)
        text = value.encode(errors="replace").decode()  # half a surrogate pair, which some character sets have
        form.values[name] = f"{before}\n{text}" if name.endswith("[]") and before is not None else text
        return
    content = await value.read()
    if not content and form[name]:
        return  # the text that was pasted instead
    try:
        form.values[name] = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        form.values[name], form.errors[name] = "", NOT_TEXT
