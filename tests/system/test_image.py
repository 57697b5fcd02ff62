"""The image, where a Docker engine builds it: the same twice, small, and content with no rights."""

import json
import subprocess
from collections.abc import Iterator
from typing import Final

import pytest

from deploy import ROOT
from deploy.images import VERSIONS, image
from shared.services import EDGES, SERVICES
from tests.system import parts

pytestmark = [
    pytest.mark.long,
    pytest.mark.slow,
    pytest.mark.skipif(not parts.containers(), reason="CONTAINERS=1 and a Docker engine build the image"),
]
NAMES: Final = ("tenure-test:first", "tenure-test:second")
OWN_MB: Final = 260
"""What the image has beside its base, of which locales, compiled extensions and bytecode are nine tenths."""


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def built() -> Iterator[str]:
    """The image, built twice with everything downloaded and compiled anew."""
    base = f"PYTHON_IMAGE={image('PYTHON_IMAGE')}"
    for name in NAMES:
        docker("build", "--no-cache", "--tag", name, "--file", "deploy/Dockerfile", "--build-arg", base, ".")
    yield NAMES[0]
    docker("image", "rm", *NAMES)


def layers(name: str) -> list[str]:
    found: list[str] = json.loads(docker("image", "inspect", name, "--format", "{{json .RootFS.Layers}}"))
    return found


def inside(name: str, *command: str) -> str:
    """Run a command as compose runs a service: nothing may be written, and no right is left."""
    options = ["--rm", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges:true", "--network=none"]
    return docker("run", *options, name, *command)


def test_two_builds_have_the_same_layers(built: str) -> None:
    """A layer's digest is that of its files with their owners, modes and times."""
    base = layers(image("PYTHON_IMAGE"))
    first, second = map(layers, NAMES)
    assert first == second
    assert first[: len(base)] == base and len(first) == len(base) + 1


def test_the_image_is_small_and_has_no_compiler(built: str) -> None:
    own, base = (
        int(docker("image", "inspect", name, "--format", "{{.Size}}")) for name in (built, image("PYTHON_IMAGE"))
    )
    assert (own - base) / 1e6 < OWN_MB
    assert inside(built, "sh", "-c", "for each in cc gcc clang make; do command -v $each; done; true") == ""


def test_every_process_can_be_imported_without_root_and_without_writing(built: str) -> None:
    modules = [*(f"services.{name}.__main__" for name in (*SERVICES, *EDGES)), "cli.serving.__main__", "deploy.topics"]
    said = inside(
        built, "python", "-c", f"import os, sys, {', '.join(modules)}; print(os.getuid(), *sys.version_info[:2])"
    )
    uid, *version = said.split()
    assert uid == "10001" and ".".join(version) == VERSIONS.python
