"""The services. None imports another; they know each other by `shared.events` alone."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from shared.services import SERVICES

if TYPE_CHECKING:  # the whole runtime: it comes with the first definition that is asked for
    from shared.runtime.service import Service


def migrations_of(service: str) -> Path:
    """The folder of the migrations of a service's read models."""
    return Path(__file__).parent / service / "migrations"


def definition_of(service: str) -> "Service":
    """What a service consists of, as its `__main__.py` defines it."""
    found: Service = import_module(f"services.{service}.__main__").SERVICE
    return found


def definitions() -> "tuple[Service, ...]":
    """What each declared service consists of, in the order in which they are declared."""
    return tuple(map(definition_of, SERVICES))
