"""Versions of Python, PostgreSQL and Kafka, and the images of others, as images.toml says.

    python -m deploy.images resolve FILE    ask the registries for the images' digests, and write FILE

FILE is for `docker compose --env-file FILE` and for `python -m deploy.release --images FILE`.
"""

import argparse
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy import OperatorError

PAGE: Final = Path(__file__).with_name("images.toml")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_LINE: Final = re.compile(r"(?P<variable>[A-Z_]+_IMAGE)=(?P<image>\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    python: str
    """Of the image."""
    pythons: Sequence[str]
    """Those that CI tests, oldest first."""
    postgres: str
    kafka: str
    images: Mapping[str, str]
    """Others' images, by the variable of the compose file that replaces each."""


def read(page: Path = PAGE) -> Versions:
    return Versions(**tomllib.loads(page.read_text()))


VERSIONS: Final = read()


def image(variable: str) -> str:
    """Return the image that a variable of the environment names, or else images.toml."""
    return os.environ.get(variable) or VERSIONS.images[variable]


def is_pinned(name: str) -> bool:
    """Return whether an image is named by its digest."""
    _, at, digest = name.partition("@")
    return bool(at) and _DIGEST.fullmatch(digest) is not None


def resolved(names: Mapping[str, str], digest_of: Callable[[str], str]) -> str:
    """Return the lines of a file with each image by tag and digest.

    Raises:
        OperatorError: A registry answered with something else than a digest.
    """
    lines = []
    for variable, name in names.items():
        digest = digest_of(name)
        if not _DIGEST.fullmatch(digest):
            raise OperatorError(f"{name} has no digest: the answer was {digest[:80]!r}.")
        lines.append(f"{variable}={name}@{digest}\n")
    return "".join(lines)


def pinned(file: Path) -> dict[str, str]:
    """Return the images that a file of `resolve` names.

    Raises:
        OperatorError: An image of images.toml is missing, is another, or has no digest.
    """
    found = {
        match["variable"]: match["image"] for match in map(_LINE.fullmatch, file.read_text().splitlines()) if match
    }
    wrong = [
        variable
        for variable, name in VERSIONS.images.items()
        if not is_pinned(found.get(variable, "")) or found[variable].partition("@")[0] != name
    ]
    if wrong:
        raise OperatorError(
            f"{file} does not name {', '.join(wrong)} by tag and digest: write it by `python -m deploy.images resolve`."
        )
    return found


def _asked(name: str) -> str:
    """Return the digest of an image, or of its list of platforms, in its registry."""
    command = ["docker", "buildx", "imagetools", "inspect", name, "--format", "{{.Manifest.Digest}}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        raise OperatorError(f"The registry did not say the digest of {name}: {said[-1][:200]}")
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.images", description="Find the digests of the images.")
    parser.add_argument("action", choices=["resolve"])
    parser.add_argument("file", type=Path)
    chosen = parser.parse_args()
    try:
        chosen.file.write_text(resolved(VERSIONS.images, _asked))
    except OperatorError as error:
        sys.exit(str(error))
    print(f"{chosen.file} names {len(VERSIONS.images)} images by digest")


if __name__ == "__main__":
    main()
