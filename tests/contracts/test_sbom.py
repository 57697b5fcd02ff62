"""The list of packages has what an image has besides the lock: Debian's packages, and Python's in /usr/local."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from deploy import OperatorError, sbom
from deploy.bootstrap import RELEASE_VENV

STATUS: Final = """\
Package: libstdc++6
Status: install ok installed
Architecture: amd64
Source: gcc-14 (14.2.0-19)
Version: 14.2.0-19+b1
Description: a library
 of more than one line

Package: apt
Status: install ok installed
Architecture: amd64
Version: 1:3.0.4~x

Package: removed
Status: deinstall ok config-files
Architecture: all
Version: 1.0
"""
RELEASE: Final = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\nVERSION_ID="13"\n'
PATCHLEVEL: Final = '#define PY_MAJOR_VERSION 3\n#define PY_VERSION      "3.13.9"\n'
METADATA: Final = "Metadata-Version: 2.4\nName: Pip_Tools\nVersion: 25.3\n\nName: another\n"
PACKAGES: Final = "usr/local/lib/python3.13/site-packages"
BASE: Final = {
    "var/lib/dpkg/status": STATUS,
    "usr/lib/os-release": RELEASE,
    "usr/local/include/python3.13/patchlevel.h": PATCHLEVEL,
    f"{PACKAGES}/pip_tools-25.3.dist-info/METADATA": METADATA,
    "usr/local/bin/python": "no list of anything",
}
FOUND: Final = [
    "debian-13",
    "pkg:deb/debian/apt@1:3.0.4~x?arch=amd64&distro=debian-13",
    "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19%2Bb1?arch=amd64&distro=debian-13&upstream=gcc-14%4014.2.0-19",
    "pkg:generic/python@3.13.9",
    "pkg:pypi/pip-tools@25.3",
]


def packed(files: Mapping[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            text = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
    return out.getvalue()


def saved(file: Path, layers: Sequence[Mapping[str, str]]) -> Path:
    """Write an archive as `docker save` does."""
    parts = {f"{number}/layer.tar": packed(layer) for number, layer in enumerate(layers)}
    file.write_bytes(packed({**parts, "manifest.json": json.dumps([{"Config": "c.json", "Layers": list(parts)}])}))
    return file


def of_buildkit(file: Path, layers: Sequence[Mapping[str, str]]) -> Path:
    """Write an OCI archive, whose index names an index."""
    blobs: dict[str, str | bytes] = {}

    def blob(content: bytes) -> dict[str, str]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"digest": f"sha256:{digest}"}

    manifest = blob(json.dumps({"layers": [blob(gzip.compress(packed(layer))) for layer in layers]}).encode())
    inner = blob(json.dumps({"manifests": [manifest]}).encode())
    file.write_bytes(packed({**blobs, "index.json": json.dumps({"manifests": [inner]})}))
    return file


@pytest.mark.parametrize("written", [saved, of_buildkit])
def test_an_images_packages_are_those_of_its_base(written: Callable[..., Path], tmp_path: Path) -> None:
    image = written(tmp_path / "image.tar", [BASE, {"venv/bin/python": "", "var/lib/tenure/status": ""}])
    assert [each["bom-ref"] for each in sbom.components(sbom.files_of(image))] == FOUND


def test_a_layer_replaces_and_removes_what_is_below(tmp_path: Path) -> None:
    upgraded = {
        "./var/lib/dpkg/status": STATUS.replace("1:3.0.4~x", "1:3.1"),
        f"{PACKAGES}/.wh.pip_tools-25.3.dist-info": "",
    }
    without = {"usr/local/include/.wh..wh..opq": "", "usr/local/include/python3.13/pyconfig.h": ""}
    files = sbom.files_of(saved(tmp_path / "image.tar", [BASE, upgraded, without]))
    assert [each["bom-ref"] for each in sbom.components(files)] == [
        FOUND[0],
        FOUND[1].replace("3.0.4~x", "3.1"),
        FOUND[2],
    ]


def test_an_image_without_dpkg_keeps_its_packages_a_file_each() -> None:
    """As images without a shell do, whose files have no `Status`."""
    one = STATUS.partition("\n\n")[0].replace("Status: install ok installed\n", "")
    files = {"var/lib/dpkg/status.d/libstdc++6": one.encode(), "usr/lib/os-release": RELEASE.encode()}
    assert [each["bom-ref"] for each in sbom.components(files)] == [FOUND[0], FOUND[2]]


def test_an_image_that_names_no_packages_makes_no_list(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="no list of its operating system's packages"):
        sbom.components(sbom.files_of(saved(tmp_path / "image.tar", [{"usr/lib/os-release": RELEASE}])))
    (tmp_path / "other.tar").write_bytes(packed({"a": "b"}))
    with pytest.raises(OperatorError, match="no archive of an image"):
        sbom.files_of(tmp_path / "other.tar")


@pytest.mark.skipif(not RELEASE_VENV.exists(), reason="`make release` installs what checks the document")
def test_the_document_is_valid_and_the_same_again(tmp_path: Path) -> None:
    image = saved(tmp_path / "image.tar", [BASE])
    begun = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "components": [{"bom-ref": "requirements-L1", "type": "library", "name": "aiokafka", "version": "0.14.0"}],
        "dependencies": [{"ref": "requirements-L1"}],
    }
    documents = [tmp_path / "one.cdx.json", tmp_path / "two.cdx.json"]
    for document in documents:
        document.write_text(json.dumps(begun))
        sbom.add(document, image)
        sbom.validate(document, RELEASE_VENV / "bin" / "python")
    assert documents[0].read_text() == documents[1].read_text()
    listed = json.loads(documents[0].read_text())
    refs = ["requirements-L1", *FOUND]
    assert [each["bom-ref"] for each in listed["components"]] == refs
    assert [each["ref"] for each in listed["dependencies"]] == refs
    documents[0].write_text(json.dumps(listed | {"components": [{"name": "without a type"}]}))
    with pytest.raises(OperatorError, match=r"one\.cdx\.json is no CycloneDX document"):
        sbom.validate(documents[0], RELEASE_VENV / "bin" / "python")
