"""Kafka's jars, or another manifest's: downloaded from Maven, checked by their SHA-256."""

import contextlib
import errno
import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy import LOCAL, OperatorError
from deploy.images import VERSIONS

_MANIFEST: Final = Path(__file__).with_name(f"kafka-{VERSIONS.kafka}.txt")
_FOLDER: Final = LOCAL / "jars"
_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Jar:
    coordinate: str  # group:artifact:version
    sha256: str

    @property
    def path(self) -> Path:
        """The jar's path, in Maven's layout."""
        group, artifact, version = self.coordinate.split(":")
        return _FOLDER / group.replace(".", "/") / artifact / version / f"{artifact}-{version}.jar"


def jars(manifest: Path = _MANIFEST) -> list[Jar]:
    """Return all jars of a manifest by name, as jgo's own resolution mixes versions."""
    lines = manifest.read_text().splitlines()
    return [Jar(name, digest.removeprefix("sha256:")) for name, digest in (line.split() for line in lines if line)]


def classpath() -> str:
    """Return Kafka's class path: exactly the checked jars, no folder."""
    missing = [jar.coordinate for jar in jars() if not jar.path.exists()]
    if missing:
        raise OperatorError(f"{len(missing)} of Kafka's jars are missing, such as {missing[0]}: run `make install`.")
    return os.pathsep.join(str(jar.path) for jar in jars())


def fetch(manifest: Path = _MANIFEST) -> None:
    """Download a manifest's missing jars and check all of them.

    Raises:
        OperatorError: A download failed, or a checksum is wrong; that jar was deleted.
    """
    everything = jars(manifest)
    missing = [jar for jar in everything if not jar.path.exists()]
    if missing:
        _download(missing)
    with ThreadPoolExecutor(2) as pool:
        wrong = [jar for jar, right in zip(everything, pool.map(_is_right, everything), strict=True) if not right]
    for jar in wrong:
        jar.path.unlink(missing_ok=True)
    if wrong:
        names = ", ".join(jar.coordinate for jar in wrong)
        raise OperatorError(f"The SHA-256 of {names} is not the expected one; it was deleted: run the command again.")


def _is_right(jar: Jar) -> bool:
    with jar.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256


def _download(missing: list[Jar]) -> None:
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext

    # Mirrors that this machine's jgo configuration names come before Maven's central repository.
    mirrors = dict(GlobalSettings.load().repositories)
    context = MavenContext(repo_cache=_FOLDER, remote_repos=None, timeout=30)
    context.remote_repos = {**mirrors, **context.remote_repos}

    def one(jar: Jar) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                context.create_dependency(jar.coordinate).artifact.resolve()
            except Exception as error:
                # A partly written file would be taken for the complete jar next time.
                jar.path.unlink(missing_ok=True)
                if attempt == _ATTEMPTS or _disk_full(error):
                    raise _trouble(jar, error) from error
            else:
                return

    _FOLDER.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(8, "jar") as pool:
        try:
            list(pool.map(one, missing))
        except OperatorError:
            pool.shutdown(cancel_futures=True)
            raise


def _disk_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _trouble(jar: Jar, error: Exception) -> OperatorError:
    if _disk_full(error):
        return OperatorError(f"The disk is full under {_FOLDER}: free about 1 GB and run the command again.")
    reason = str(error).rsplit(": ", 1)[-1].strip("()\"' ")[:160] or type(error).__name__
    return OperatorError(
        f"The jar {jar.coordinate} could not be downloaded ({reason}): check the network, the proxy and the "
        "certificates (REQUESTS_CA_BUNDLE), then run the command again."
    )


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        try:
            fetch(*map(Path, sys.argv[1:2]))
        except OperatorError as error:
            sys.exit(str(error))
