"""The README's lists are true: every rule, command and event of the rule files stands in it, and no rule besides."""

import re
from pathlib import Path
from typing import get_args

from services.marketplace.domain import cart, plan, standing, subscription

HOME = Path("services/marketplace")
README = (HOME / "README.md").read_text()
SHARED_WITH_OTHERS = {"role-missing", "agreement-missing"}
"""Refusals of administrative access, which shared.runtime words."""


def rules() -> set[str]:
    sources = [*(HOME / "domain").glob("*.py"), HOME / "api.py"]
    found = re.compile(r'(?:Rejected\(\s*|rule=)"([a-z0-9-]+)"')
    return {rule for source in sources for rule in found.findall(source.read_text())}


def test_every_rule_is_named_and_no_other() -> None:
    section = README[README.index("## Rules") : README.index("## Events in")]
    assert set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", section)) == rules() | SHARED_WITH_OTHERS


def test_every_command_and_fact_stands_in_the_table() -> None:
    table = README[README.index("| stream") : README.index("Tenant:")]
    for stream in (plan, standing, cart, subscription):
        for kind in (*get_args(stream.Command), *get_args(stream.Event)):
            assert re.search(rf"\b{kind.__name__}\b", table), kind
