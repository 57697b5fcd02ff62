"""Each publisher's particulars in distribution: `policies.toml`, or `distribution.toml` in TENURE_POLICIES."""

from pathlib import Path
from typing import Final

from services.distribution.domain.policy import Policy, check
from shared.runtime.policies import Policies

POLICIES: Final = Policies("distribution", Policy, Path(__file__).with_name("policies.toml"), check)


def policy_of(publisher: str | None) -> Policy:
    """The publisher's policy, the default one for others and for None. Raises what is wrong with the file."""
    return POLICIES.of(publisher)
