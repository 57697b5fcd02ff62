"""Publishers' policies: a service's rule parameters by publisher, from a TOML file."""

import os
import tomllib
from functools import cached_property
from importlib import resources
from pathlib import Path
from types import GenericAlias
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

P = TypeVar("P")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    default: dict[str, Any] = Field(default_factory=dict)
    publisher: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Policies(Generic[P]):
    """The policies of one service: values of a dataclass `kind`, by publisher.

    The file is read when first needed: `<service>.toml` in the folder TENURE_POLICIES if it exists, otherwise the
    packaged file. Values that it does not have are the dataclass's defaults. The dataclass raises ValueError for values
    that have the right types but are not meaningful.
    """

    def __init__(self, service: str, kind: type[P], packaged: Path) -> None:
        self._service, self._kind, self._packaged = service, kind, packaged

    def of(self, publisher: str | None) -> P:
        """Return the publisher's policy, or the default one for other publishers and None.

        Raises:
            ValueError: the file is invalid; the message says what is wrong.
        """
        default, own = self._read
        return own.get(publisher or "", default)

    @property
    def file(self) -> Path:
        """The file that they are read from."""
        folder = os.environ.get("TENURE_POLICIES")
        own = Path(folder) / f"{self._service}.toml" if folder else self._packaged
        return own if own.exists() else self._packaged

    @cached_property
    def _read(self) -> tuple[P, dict[str, P]]:
        with self.file.open("rb") as file:
            content = _File.model_validate(tomllib.load(file))
        own = {name: self._policy(name, content.default | values) for name, values in content.publisher.items()}
        return self._policy("default", content.default), own

    def _policy(self, name: str, values: dict[str, Any]) -> P:
        # TypeAdapter takes no configuration for a dataclass. One for a dictionary applies to the dataclasses in it.
        named: Any = GenericAlias(dict, (str, self._kind))
        adapter: TypeAdapter[dict[str, P]] = TypeAdapter(named, config=ConfigDict(extra="forbid"))
        try:
            return adapter.validate_python({name: values})[name]
        except ValueError as wrong:
            raise ValueError(f"{self.file}: {wrong}") from None


BY_KIND: Final[dict[type, Policies[Any]]] = {}
"""The policies that were asked for, by their dataclass: each service's file is read once."""


def policies_of(kind: type[P]) -> Policies[P]:
    """Return the policies of the service whose `domain/` defines this dataclass.

    They are read from the `policies.toml` in the service's package.
    """
    if kind not in BY_KIND:
        package = kind.__module__.partition(".domain.")[0]
        packaged = Path(str(resources.files(package) / "policies.toml"))
        BY_KIND[kind] = Policies(package.rpartition(".")[2], kind, packaged)
    return BY_KIND[kind]


def policy_of(kind: type[P], publisher: str | None) -> P:
    """Return the publisher's policy, the default one for others and for None.

    Raises:
        ValueError: what is wrong with the file.
    """
    return policies_of(kind).of(publisher)
