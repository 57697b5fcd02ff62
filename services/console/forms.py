"""Forms: what was entered, and refusals in plain words beside their field.

`refusals.toml` has the words, as a rule's id occurs in the source of its service only.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request

from services.console.doors import Refused
from services.console.texts import Texts, marked

REFUSALS: Final = Path(__file__).with_name("refusals.toml")
FIELDS_AT_MOST: Final = 60
_KEY: Final = re.compile(r"[0-9a-f-]{36}")
REQUIRED: Final = marked("Fill in this field.")
UNKNOWN_FIELD: Final = marked("This is not accepted as it is written. Correct it.")


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

    rules: Mapping[str, Words]
    fields: Mapping[str, str]


@cache
def refusals() -> Refusals:
    return Refusals.model_validate(tomllib.loads(REFUSALS.read_text()))


@dataclass(slots=True)
class Form:
    """A form as it is shown: values, errors by field, and errors of the whole form."""

    values: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    key: str = ""
    """The Idempotency-Key of what the form does; "" for a new one."""

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
        if malformed := [_last_name(each.get("field", "")) for each in problem.fields]:
            for name in malformed:
                text = texts.gettext(refusals().fields.get(name, UNKNOWN_FIELD))
                self._note(name, text)
            return
        words = refusals().rules.get(problem.rule or "")
        if words is None:  # a rule that has no words of the console's: the service's own, in English
            self.faults.append(" ".join(filter(None, (problem.detail, problem.remedy))))
        else:
            self._note(words.field, texts.gettext(words.text))

    def _note(self, name: str, text: str) -> None:
        if name in self.values:
            self.errors.setdefault(name, text)
        elif text not in self.faults:
            self.faults.append(text)


def _last_name(location: str) -> str:
    return location.rpartition(".")[2]


async def entered(request: Request) -> Form:
    """Return what a form has sent.

    A field that is repeated, as no form does, has its last value.
    """
    body = (await request.body()).decode("utf-8", "replace")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        body = ""
    try:
        values = dict(parse_qsl(body, keep_blank_values=True, max_num_fields=FIELDS_AT_MOST))
    except ValueError:
        values = {}
    key = values.pop("key", "")
    return Form(values, key=key if _KEY.fullmatch(key) else "")
