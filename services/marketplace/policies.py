"""Each publisher's particulars in marketplace: `policies.toml`, or `marketplace.toml` in TENURE_POLICIES."""

import re
from pathlib import Path
from typing import Final

from services.marketplace.domain.policy import Policy
from shared.runtime.policies import Policies

POLICIES: Final = Policies(
    "marketplace",
    Policy,
    Path(__file__).with_name("policies.toml"),
    check=lambda policy: re.compile(policy.csn_pattern),
)


def policy_of(publisher: str | None) -> Policy:
    """The publisher's policy, the default one for others and for None. Raises what is wrong with the file."""
    return POLICIES.of(publisher)
