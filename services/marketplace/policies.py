"""Each publisher's particulars, read from policies.toml (or the file that TENURE_POLICIES names) when first needed."""

import os
import re
import tomllib
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from services.marketplace.domain.policy import Policy

_PACKAGED: Final = Path(__file__).with_name("policies.toml")
_SOURCE: Final = re.compile(r"urn:publisher:([a-z0-9][a-z0-9-]{0,62})")
_POLICY: Final = TypeAdapter(Policy)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    default: dict[str, Any] = Field(default_factory=dict)
    publisher: dict[str, dict[str, Any]] = Field(default_factory=dict)


@cache
def _read() -> tuple[Policy, dict[str, Policy]]:
    with Path(os.environ.get("TENURE_POLICIES") or _PACKAGED).open("rb") as file:
        found = _File.model_validate(tomllib.load(file))
    return _policy(found.default), {name: _policy(found.default | own) for name, own in found.publisher.items()}


def _policy(values: dict[str, Any]) -> Policy:
    unknown = values.keys() - Policy.__dataclass_fields__.keys()
    if unknown:
        raise ValueError(f"a policy has no {', '.join(sorted(unknown))}")
    if "ask_again_after" in values:
        values = values | {"ask_again_after": timedelta(seconds=values["ask_again_after"])}
    policy = _POLICY.validate_python(values)
    re.compile(policy.csn_pattern)
    return policy


def policy_of(publisher: str | None) -> Policy:
    """The publisher's policy, the default one for others and for None. Raises what is wrong with the file."""
    default, own = _read()
    return own.get(publisher or "", default)


def publisher_of(source: str) -> str:
    """The publisher whose system a foreign event's source is; "" where it is no publisher's."""
    match = _SOURCE.fullmatch(source)
    return match.group(1) if match else ""
