"""A release is complete, its sums are right, and the same commit makes the same files."""

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy import ROOT, OperatorError, release
from deploy.bootstrap import RELEASE_VENV, RUNTIME_LOCK
from deploy.images import VERSIONS

VERSION: Final = release.version_of()
WORKFLOWS: Final = ROOT / ".github" / "workflows"
needs_the_tool = pytest.mark.skipif(not RELEASE_VENV.exists(), reason="`make release` installs what lists the packages")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release") / "made"
    release.make(folder, VERSIONS.images, image=False)
    return folder


@needs_the_tool
def test_a_release_has_every_part_with_its_sum(made: Path) -> None:
    names = release.parts(VERSION, image=False)
    assert {file.name for file in made.iterdir()} == {*names, "SHA256SUMS"}
    lines = (made / "SHA256SUMS").read_text().splitlines()
    assert lines == [f"{hashlib.sha256((made / name).read_bytes()).hexdigest()}  {name}" for name in names]


@needs_the_tool
def test_the_parts_are_of_this_version(made: Path) -> None:
    with zipfile.ZipFile(made / f"tenure-{VERSION}-py3-none-any.whl") as wheel:
        assert f"Version: {VERSION}\n" in wheel.read(f"tenure-{VERSION}.dist-info/METADATA").decode()
    with tarfile.open(made / f"tenure-{VERSION}.tgz") as chart:
        assert {"tenure/Chart.yaml", "tenure/values.schema.json", "tenure/files/declared.json"} <= set(chart.getnames())
        about = chart.extractfile("tenure/Chart.yaml")
        assert about and yaml.safe_load(about.read())["version"] == VERSION
    with tarfile.open(made / f"tenure-{VERSION}-documents.tar.gz") as documents:
        folder = f"tenure-{VERSION}-documents"
        assert {f"{folder}/openapi.json", f"{folder}/asyncapi.json"} <= set(documents.getnames())
    assert (made / "CHANGES.md").read_text().startswith("### ")


@needs_the_tool
def test_the_list_of_packages_is_the_images_lock(made: Path) -> None:
    listed: dict[str, Any] = json.loads((made / f"tenure-{VERSION}.cdx.json").read_text())
    assert (listed["bomFormat"], listed["metadata"]["component"]["version"]) == ("CycloneDX", VERSION)
    locked = {line.split()[0] for line in RUNTIME_LOCK.read_text().splitlines() if "==" in line and line[0] not in " #"}
    assert {f"{each['name']}=={each['version']}" for each in listed["components"]} == locked
    assert all(each["externalReferences"][0]["hashes"] for each in listed["components"])


@needs_the_tool
def test_the_same_commit_makes_the_same_files(made: Path, tmp_path: Path) -> None:
    release.make(tmp_path / "again", VERSIONS.images, image=False)
    assert (tmp_path / "again" / "SHA256SUMS").read_text() == (made / "SHA256SUMS").read_text()


@needs_the_tool
def test_a_changed_a_missing_and_a_strange_file_are_found(made: Path) -> None:
    release.check(made, VERSION, image=False)
    changes, strange = made / "CHANGES.md", made / "strange"
    text = changes.read_text()
    try:
        changes.write_text(f"{text}more")
        with pytest.raises(OperatorError, match=r"SHA256SUMS does not agree with \['CHANGES.md'\]"):
            release.check(made, VERSION, image=False)
        changes.unlink()
        with pytest.raises(OperatorError, match=r"lacks \['CHANGES.md'\]"):
            release.check(made, VERSION, image=False)
        strange.touch()
        with pytest.raises(OperatorError, match=r"has \['strange'\] besides"):
            release.check(made, VERSION, image=False)
    finally:
        changes.write_text(text)
        strange.unlink(missing_ok=True)
    with pytest.raises(OperatorError, match=rf"lacks \['tenure-{VERSION}-image.tar'\]"):
        release.check(made, VERSION, image=True)


def test_a_versions_section_counts_more_than_what_is_unreleased() -> None:
    both = "# Changelog\n\n## Unreleased\n- later\n\n## 1.2.0, 2026-12-01\n- now\n\n## 1.1.0\n- before\n"
    assert release.section(both, "1.2.0") == "- now\n"
    assert release.section(both, "1.3.0") == "- later\n"
    with pytest.raises(OperatorError, match="nothing under"):
        release.section("# Changelog\n\n## Unreleased\n\n## 1.0.0\n- first\n", "1.1.0")


def test_an_archive_depends_on_its_files_and_the_time_only() -> None:
    one = release.archive([("b", b"2"), ("a", b"1")], 1_800_000_000)
    assert one == release.archive([("a", b"1"), ("b", b"2")], 1_800_000_000)
    assert one != release.archive([("a", b"1"), ("b", b"2")], 1_800_000_001)
    with tarfile.open(fileobj=io.BytesIO(one)) as tar:
        assert [(entry.name, entry.mtime, entry.uid, entry.mode) for entry in tar] == [
            ("a", 1_800_000_000, 0, 0o644),
            ("b", 1_800_000_000, 0, 0o644),
        ]


def test_the_workflow_of_a_release_waits_for_the_checks_and_pins_what_it_uses() -> None:
    """An action is named by its commit, as a tag may be moved to another one."""
    written = (WORKFLOWS / "release.yml").read_text()
    workflow = yaml.safe_load(written)
    assert workflow[True] == {"push": {"tags": ["v*"]}}, "YAML reads the key `on` as true"
    assert workflow["jobs"]["release"]["needs"] == "checks"
    python = [
        step["with"]["python-version"] for step in workflow["jobs"]["release"]["steps"] if "python-version" in str(step)
    ]
    assert python == [VERSIONS.python]
    used = [step["uses"] for step in workflow["jobs"]["release"]["steps"] if "uses" in step]
    assert [each for each in used if len(each.partition("@")[2]) != 40] == []
    attested = [step["with"] for step in workflow["jobs"]["release"]["steps"] if "/attest@" in step.get("uses", "")]
    assert [sorted({"subject-path", "subject-digest", "sbom-path"} & set(each)) for each in attested] == [
        ["subject-path"],
        ["subject-digest"],
        ["sbom-path", "subject-digest"],
    ]
    assert "make release IMAGES=" in written and "--trial" not in written
