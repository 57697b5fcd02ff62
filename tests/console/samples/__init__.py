"""An address and the services' answers for the pages that need some: a module an area, with its `SAMPLES`."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.console.fakes import Answer


@dataclass(frozen=True)
class Sample:
    """An address of a page, and what the services answer to what it asks."""

    address: str
    answers: Mapping[str, Answer] = field(default_factory=dict)
    """By method and path, as `Services.answers`."""


def _collected() -> Mapping[str, Sample]:
    found: dict[str, Sample] = {}
    for module in pkgutil.iter_modules(__path__):
        found |= importlib.import_module(f"{__name__}.{module.name}").SAMPLES
    return found


SAMPLES: Final = _collected()
"""By the path of the page as its area has it."""
