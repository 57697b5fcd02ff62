"""Alert rules and dashboards name metrics that exist, and each alert has its entry in the runbook."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import httpx
import pytest

from deploy import ROOT
from services import definition_of
from shared.runtime.service import ServiceProcess
from shared.runtime.settings import Settings
from shared.services import SERVICES
from tests.contracts.dashboards import DASHBOARDS, FOLDER, dashboard, queries, without_variables

RULES: Final = (FOLDER / "rules.yml").read_text()
RUNBOOK: Final = (ROOT / "docs" / "RUNBOOK.md").read_text()
FOREIGN: Final = {"up", "node_filesystem_avail_bytes", "node_filesystem_size_bytes"}
"""The metrics of Prometheus itself and of node_exporter."""
METRIC: Final = re.compile(r"\b(?:up|(?:tenure|kafka|messaging|node)_[a-z0-9_]+)\b")
DECLARED: Final = re.compile(r'metrics\.(watch|count)\(\s*"(\w+)"')
LABELS: Final = re.compile(r'\w+\s*(?:=~|!~|!=|=)\s*"[^"]*"|\b(?:by|without)\s*\([^)]*\)')
PROMTOOL: Final = shutil.which("promtool")


async def exposed() -> set[str]:
    """Return the names on the pages of all services without a database or Kafka, and those that services add later."""
    names = set[str]()
    for service in SERVICES:
        process = ServiceProcess(service=definition_of(service), settings=Settings())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(process.app), base_url="http://test") as client:
            page = (await client.get("/metrics")).text
        for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE):
            names |= {f"{name}_{end}" for end in ("bucket", "count", "sum")} if kind == "histogram" else {name}
    for file in (*(ROOT / "services").rglob("*.py"), *(ROOT / "cli").rglob("*.py")):
        names |= {name if kind == "watch" else f"{name}_total" for kind, name in DECLARED.findall(file.read_text())}
    return names


def asked(query: str) -> set[str]:
    """Return the metrics that a query names."""
    return set(METRIC.findall(LABELS.sub("", query)))


def alerts() -> dict[str, str]:
    """Return the text of each rule, by the alert's name."""
    parts = re.split(r"^ +- alert: (\w+)$", RULES, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def expression(rule: str) -> str:
    (found,) = re.finditer(r"^ +expr: (.*?)^ +(?:for|labels):", rule, re.MULTILINE | re.DOTALL)
    return found[1]


def test_a_query_names_its_metrics_only() -> None:
    assert asked('max by (service_name) (tenure_x{part="tenure_y"}) > rate(up[5m])') == {"tenure_x", "up"}


async def test_rules_and_dashboards_name_metrics_that_exist() -> None:
    wanted = {(name, metric) for name, rule in alerts().items() for metric in asked(expression(rule))}
    wanted |= {(file.stem, metric) for file in DASHBOARDS for query in queries(file) for metric in asked(query)}
    assert len(wanted) > len(alerts())
    known = await exposed() | FOREIGN
    assert sorted(f"{where}: {metric}" for where, metric in wanted if metric not in known) == []


async def test_the_readme_lists_every_metric() -> None:
    own = {re.sub("_(bucket|count|sum)$", "", name) for name in await exposed()}
    listed = set(re.findall(r"`([a-z0-9_]+)`", (FOLDER / "README.md").read_text()))
    assert sorted(name for name in own - listed if not name.endswith("_created")) == []


def test_each_alert_has_its_entry_in_the_runbook_and_each_entry_its_alert() -> None:
    headings = re.findall(r"^## (Tenure\w+)$", RUNBOOK, re.MULTILINE)
    assert headings == sorted(set(headings), key=headings.index)
    assert set(headings) == set(alerts())


@pytest.mark.parametrize("heading", sorted(alerts()))
def test_an_entry_says_what_it_means_how_to_see_and_mend_it_and_what_to_check(heading: str) -> None:
    entry = re.findall(rf"^## {heading}\n(.*?)(?=^## )", RUNBOOK, re.MULTILINE | re.DOTALL)[0]
    assert re.findall(r"^\*\*(\w+)\*\*: \S", entry, re.MULTILINE) == ["Means", "See", "Mend", "Then"]


def test_the_runbook_names_tests_of_each_alert_that_exist() -> None:
    rows = dict(re.findall(r"^\| (Tenure\w+) \| (.*) \|$", RUNBOOK, re.MULTILINE))
    assert set(rows) == set(alerts())
    for named in rows.values():
        files = re.findall(r"`((?:tests|deploy)/[\w/.]+)`", named)
        assert files and all((ROOT / file).is_file() for file in files), named


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_alert_has_all_its_parts(name: str) -> None:
    rule = alerts()[name]
    assert re.findall(r"^ +severity: (?:critical|warning)$", rule, re.MULTILINE)
    assert re.findall(r'^ +summary: "[^"]+"$', rule, re.MULTILINE)
    assert f"runbook_url: docs/RUNBOOK.md#{name.lower()}\n" in rule
    text = expression(rule)
    assert text.count("(") == text.count(")") and text.count("{") == text.count("}")


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_loads_anywhere_and_names_its_axes(file: Path) -> None:
    board = dashboard(file)
    assert (board["uid"], board["panels"] != []) == (file.stem, True)
    variables = {each["name"]: each["type"] for each in board["templating"]["list"]}
    assert variables == {"datasource": "datasource", "service": "query"}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        field = panel["fieldConfig"]["defaults"]
        assert panel["title"] and panel["description"] and field["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        if panel["type"] == "timeseries":
            assert field["custom"]["axisLabel"], panel["title"]


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "check",
    [
        "check rules rules.yml",
        "test rules rules.test.yml",
        "check config prometheus.yml",
        "check config prometheus.compose.yml",
    ],
)
def test_promtool_accepts(check: str) -> None:
    ended = subprocess.run([str(PROMTOOL), *check.split()], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_promtool_accepts_the_queries_of_dashboards(tmp_path: Path) -> None:
    found = [without_variables(query) for file in DASHBOARDS for query in queries(file)]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(found)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboards", "rules": rules}]}))
    command = [str(PROMTOOL), "check", "rules", "--lint=none", str(file)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_promtool_accepts_the_page() -> None:
    process = ServiceProcess(service=definition_of("identity"), settings=Settings())
    page = process.metrics.page()
    ended = subprocess.run([str(PROMTOOL), "check", "metrics"], input=page, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
