"""Grafana's dashboards, as the tests read them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from deploy import ROOT

FOLDER: Final = ROOT / "deploy" / "observability"
DASHBOARDS: Final = sorted((FOLDER / "dashboards").glob("*.json"))


def dashboard(file: Path) -> Any:
    return json.loads(file.read_text())


def queries(file: Path) -> Iterator[str]:
    """Yield the queries of a dashboard: PromQL, and what its variables ask."""
    board = dashboard(file)
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"].removeprefix("label_values(").partition(",")[0]


def without_variables(query: str) -> str:
    """Return a query with a value in the place of each of Grafana's variables."""
    return query.replace("$__rate_interval", "5m").replace("$__range", "1h").replace("$service", "identity")
