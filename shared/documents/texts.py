"""What the docstrings of the contract's models say about their fields.

Only the documents need these texts. Pydantic would read them for every process that starts.
"""

import ast
import inspect
import textwrap
from collections.abc import Mapping
from functools import cache
from itertools import pairwise

from shared.events.base import Record


@cache
def _models() -> Mapping[str, type[Record]]:
    """Return the models of the event contract by name."""
    found: dict[str, type[Record]] = {}
    waiting = [Record]
    while waiting:
        model = waiting.pop()
        waiting += model.__subclasses__()
        if model.__module__.startswith("shared.events."):
            found[model.__name__] = model
    return found


@cache
def texts_of(name: str) -> Mapping[str, str]:
    """Return the docstrings of a model's fields, where there are any, each in one line."""
    model = _models().get(name)
    if model is None:
        return {}
    (class_,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    fields = class_.body if isinstance(class_, ast.ClassDef) else []
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairwise(fields)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
