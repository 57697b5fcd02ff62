"""A release of the last commit: `python -m deploy.release --images FILE`, or `make release`.

Writes `.local/release/tenure-VERSION`: the wheel, the image (if a Docker engine answers), the Helm chart, the list of
packages (CycloneDX: those of the lock and, with the image, of its operating system), the documents of the contracts,
the section of the changelog, the images' digests and SHA256SUMS. The same commit makes the same files on the same day,
as the documents' examples have times of the months ahead; but for the image of an engine without BuildKit, of which
only the layers are the same.

FILE is from `python -m deploy.images resolve FILE`. A release is made of images by digest only; `--trial` takes their
tags, to try it.
"""

import argparse
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from deploy import LOCAL, ROOT, OperatorError, documents, sbom
from deploy.bootstrap import RELEASE_VENV, RUNTIME_LOCK
from deploy.images import VERSIONS, pinned

FOLDER: Final = LOCAL / "release"
SUMS: Final = "SHA256SUMS"
_UNRELEASED: Final = "Unreleased"


def version_of(source: Path = ROOT) -> str:
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def parts(version: str, *, image: bool) -> list[str]:
    """Return the names of the files that a release consists of, besides SHA256SUMS."""
    name = f"tenure-{version}"
    made = [f"{name}-py3-none-any.whl", f"{name}.tgz", f"{name}.cdx.json", f"{name}-documents.tar.gz"]
    return sorted([*made, "CHANGES.md", "images.env", *([f"{name}-image.tar"] if image else [])])


def section(changelog: str, version: str) -> str:
    """Return the changelog's section of a version, or else of what is unreleased.

    Raises:
        OperatorError: There is neither, or it is empty.
    """
    headed = re.finditer(r"^## ([^\s,]+)[^\n]*\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    found = {each[1]: each[2].strip() for each in headed}
    text = found.get(version) or found.get(_UNRELEASED)
    if not text:
        raise OperatorError(f"CHANGELOG.md has nothing under {version} or {_UNRELEASED}.")
    return f"{text}\n"


def archive(files: Iterable[tuple[str, bytes]], time: int) -> bytes:
    """Return a tar.gz of these files that depends on nothing but them and the time."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=time, filename="") as out,
        tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, content in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(content), time, 0o644
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def files_below(folder: Path, prefix: str, without: tuple[str, ...] = ()) -> Iterator[tuple[str, bytes]]:
    """Yield the files in a folder by their names in an archive."""
    for file in folder.rglob("*"):
        place = file.relative_to(folder)
        if file.is_file() and place.parts[0] not in without:
            yield f"{prefix}/{place.as_posix()}", file.read_bytes()


def make(folder: Path, images: Mapping[str, str], *, image: bool) -> list[str]:
    """Write the release of the last commit into a new folder; return the names of its files.

    Raises:
        OperatorError: A tool failed, or the changelog has no section.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    time = int(_run(["git", "log", "-1", "--format=%ct"]))
    with tempfile.TemporaryDirectory(prefix="release-") as place:
        source = Path(place) / "source"
        _check_out(source)
        version = version_of(source)
        name = f"tenure-{version}"
        epoch = {"SOURCE_DATE_EPOCH": str(time)}
        uv = [str(Path(sys.executable).with_name("uv")), "build", "--offline", "--no-cache", "--quiet", "--wheel"]
        _run([*uv, "--out-dir", str(folder), str(source)], epoch)
        (folder / ".gitignore").unlink(missing_ok=True)  # which uv writes
        chart = files_below(source / "deploy" / "helm", "tenure", without=("ci",))
        (folder / f"{name}.tgz").write_bytes(archive(chart, time))
        written = Path(place) / "documents"
        documents.write(written)
        (folder / f"{name}-documents.tar.gz").write_bytes(archive(files_below(written, f"{name}-documents"), time))
        (folder / "CHANGES.md").write_text(section((source / "CHANGELOG.md").read_text(), version))
        (folder / "images.env").write_text("".join(f"{variable}={value}\n" for variable, value in images.items()))
        if image:
            _build_image(source, folder / f"{name}-image.tar", f"tenure:{version}", images["PYTHON_IMAGE"], epoch)
        built = folder / f"{name}-image.tar" if image else None
        _list_packages(source, folder / f"{name}.cdx.json", built, epoch)
    names = sorted(file.name for file in folder.iterdir())
    (folder / SUMS).write_text("".join(f"{_digest(folder / each)}  {each}\n" for each in names))
    check(folder, version, image=image)
    return names


def check(folder: Path, version: str, *, image: bool) -> None:
    """Check that a release has every part, nothing else, and the sums of its files.

    Raises:
        OperatorError: It differs.
    """
    has, wanted = {file.name for file in folder.iterdir()} - {SUMS}, set(parts(version, image=image))
    if has != wanted:
        raise OperatorError(f"{folder} lacks {sorted(wanted - has)} or has {sorted(has - wanted)} besides.")
    lines = (line.partition("  ") for line in (folder / SUMS).read_text().splitlines())
    said = {name: digest for digest, _, name in lines}
    wrong = sorted(each for each in wanted if said.get(each) != _digest(folder / each))
    if wrong or set(said) != wanted:
        raise OperatorError(f"{SUMS} does not agree with {wrong or sorted(set(said) ^ wanted)} in {folder}.")


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _check_out(source: Path) -> None:
    packed = source.with_suffix(".tar")
    _run(["git", "archive", "--format=tar", f"--output={packed}", "HEAD"])
    with tarfile.open(packed) as tar:
        tar.extractall(source, filter="data")


def _list_packages(source: Path, file: Path, image: Path | None, environment: Mapping[str, str]) -> None:
    """Write the CycloneDX document of the lock and of what else the image has."""
    tool = RELEASE_VENV / "bin" / "cyclonedx-py"
    if not tool.exists():
        raise OperatorError("cyclonedx-py is missing: run `make release`, or `python -m deploy.bootstrap release`.")
    lock, project = source / RUNTIME_LOCK.name, source / "pyproject.toml"
    options = ["--output-reproducible", "--spec-version", "1.6", "--output-file", str(file)]
    _run([str(tool), "requirements", str(lock), "--pyproject", str(project), *options], environment)
    if image is not None:
        sbom.add(file, image)
    sbom.validate(file, tool.with_name("python"))


def _build_image(source: Path, file: Path, tag: str, base: str, environment: Mapping[str, str]) -> None:
    """Build the image into a file: as an OCI archive by BuildKit, or else as Docker saves it."""
    arguments = ["--build-arg", f"PYTHON_IMAGE={base}"]
    arguments += ["--build-arg", f"SOURCE_DATE_EPOCH={environment['SOURCE_DATE_EPOCH']}"]
    arguments += ["--file", str(source / "deploy" / "Dockerfile"), "--tag", tag, str(source)]
    if _answers("docker", "buildx", "version"):
        output = f"type=oci,dest={file},rewrite-timestamp=true"
        _run(["docker", "buildx", "build", "--provenance=false", "--output", output, *arguments], environment)
        return
    _run(["docker", "build", "--quiet", *arguments])
    _run(["docker", "save", "--output", str(file), tag])


def _answers(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _run(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    variables = {**os.environ, **(environment or {})}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        raise OperatorError(f"`{' '.join(command[:3])}` failed: {said[-1][:300]}")
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.release", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="a file of `python -m deploy.images resolve`")
    parser.add_argument("--trial", action="store_true", help="make it of images by tag, from whatever is committed")
    parser.add_argument("--without-image", action="store_true", help="leave the image out, also if an engine answers")
    chosen = parser.parse_args()
    folder = FOLDER / f"tenure-{version_of()}"
    try:
        if chosen.images is None and not chosen.trial:
            raise OperatorError("Name the images by digest with --images FILE, or try it with --trial.")
        if not chosen.trial and _run(["git", "status", "--porcelain"]):
            raise OperatorError("There are uncommitted changes, which a release would not have: commit them first.")
        images = VERSIONS.images if chosen.images is None else pinned(chosen.images)
        image = not chosen.without_image and _answers("docker", "info")
        for name in make(folder, images, image=image):
            print(folder / name)
        print(folder / SUMS)
        if not image:
            print("without the image" if chosen.without_image else "without the image: no Docker engine answers")
    except OperatorError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
