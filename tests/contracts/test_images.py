"""One version of Python, PostgreSQL and Kafka in image, compose file, chart, local system and CI: images.toml's."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy import ROOT, OperatorError, images, jars, stack
from deploy.images import VERSIONS

COMPOSE: Final = (ROOT / "docker-compose.yml").read_text()
WORKFLOW: Final[dict[str, Any]] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CHART: Final = ROOT / "deploy" / "helm"
DIGEST: Final = "sha256:" + "0123456789abcdef" * 4


def test_the_compose_file_has_each_image_by_its_variable() -> None:
    said = dict(re.findall(r"\$\{([A-Z_]+_IMAGE):-([^}]+)\}", COMPOSE))
    assert said == {**VERSIONS.images, "TENURE_IMAGE": "tenure:development"}
    assert [line for line in COMPOSE.splitlines() if re.match(r" +image: [^$]", line)] == []


def test_the_dockerfile_has_the_images_python_and_no_other_base() -> None:
    written = (ROOT / "deploy" / "Dockerfile").read_text()
    assert re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", written, re.MULTILINE) == [VERSIONS.images["PYTHON_IMAGE"]]
    assert set(re.findall(r"^FROM (\S+)", written, re.MULTILINE)) == {"${PYTHON_IMAGE}"}


def test_an_images_tag_is_its_version() -> None:
    assert VERSIONS.images["PYTHON_IMAGE"].startswith(f"python:{VERSIONS.python}-")
    assert VERSIONS.images["POSTGRES_IMAGE"] == f"postgres:{VERSIONS.postgres}"
    assert VERSIONS.images["KAFKA_IMAGE"] == f"apache/kafka:{VERSIONS.kafka}"
    assert f"PGDATA: /var/lib/postgresql/{VERSIONS.postgres}/docker " in COMPOSE
    assert not [name for name in VERSIONS.images.values() if name.partition(":")[2] in ("", "latest")]


def test_the_local_system_has_the_same_postgresql_and_kafka() -> None:
    assert (stack.postgres_bin() / "postgres").exists()
    assert {jar.path.name for jar in jars.jars()} >= {f"kafka-server-{VERSIONS.kafka}.jar"}


def test_the_chart_has_the_same_postgresql_and_kafka() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values["kafka"]["version"] == VERSIONS.kafka
    for file in ("README.md", "values.yaml", "ci/values.yaml"):
        named = re.findall(r"PostgreSQL (\d+)|postgresql:(\d+)", (CHART / file).read_text())
        assert {"".join(each) for each in named} == {VERSIONS.postgres}, file


def test_ci_runs_every_python_that_the_package_allows() -> None:
    """The oldest has all checks, the others the tests."""
    jobs = WORKFLOW["jobs"]
    steps = [step["with"] for step in jobs["run"]["steps"] if "python-version" in step.get("with", {})]
    assert [step["python-version"] for step in steps] == [VERSIONS.pythons[0]]
    assert jobs["tests"]["strategy"]["matrix"]["python"] == VERSIONS.pythons[1:]
    assert VERSIONS.python in VERSIONS.pythons
    assert PROJECT["requires-python"] == f">={VERSIONS.pythons[0]}"
    assert PROJECT["classifiers"] == [f"Programming Language :: Python :: {version}" for version in VERSIONS.pythons]


def test_an_environment_variable_names_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_IMAGE", "postgres:17")
    assert images.image("POSTGRES_IMAGE") == "postgres:17"
    monkeypatch.setenv("POSTGRES_IMAGE", "")
    assert images.image("POSTGRES_IMAGE") == VERSIONS.images["POSTGRES_IMAGE"]


def test_resolved_images_are_pinned(tmp_path: Path) -> None:
    file = tmp_path / "images.env"
    file.write_text(images.resolved(VERSIONS.images, lambda _: DIGEST))
    assert images.pinned(file) == {variable: f"{name}@{DIGEST}" for variable, name in VERSIONS.images.items()}


@pytest.mark.parametrize("wrong", ["", "postgres:18", f"postgres:17@{DIGEST}", f"postgres:18@{DIGEST[:-1]}"])
def test_a_release_refuses_an_image_without_its_digest(wrong: str, tmp_path: Path) -> None:
    file = tmp_path / "images.env"
    right = images.resolved(VERSIONS.images, lambda _: DIGEST)
    file.write_text(right.replace(f"POSTGRES_IMAGE=postgres:18@{DIGEST}", f"POSTGRES_IMAGE={wrong}"))
    with pytest.raises(OperatorError, match="does not name POSTGRES_IMAGE by tag and digest"):
        images.pinned(file)


def test_an_answer_that_is_no_digest_is_refused() -> None:
    with pytest.raises(OperatorError, match="has no digest"):
        images.resolved({"POSTGRES_IMAGE": "postgres:18"}, lambda _: "<nil>")
