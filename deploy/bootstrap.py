"""Installation into .local, with required hashes: `python3 -m deploy.bootstrap`.

Runs on a bare Python 3.11: it imports only the standard library. pip installs uv from a locked hash, and uv installs
the rest, faster than pip; if uv fails, pip does. Both use this machine's pip configuration.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deploy import AOT_CACHE, LOCAL, ROOT, OperatorError, jars

VENV: Final = LOCAL / "venv"
PYTHON: Final = VENV / "bin" / "python"
LOCK: Final = ROOT / "requirements-dev.lock"
RUNTIME_LOCK: Final = ROOT / "requirements.lock"
UV_LOCK: Final = ROOT / "requirements-bootstrap.lock"
BROWSER_LOCK: Final = ROOT / "requirements-browser.lock"
DOCUMENTS_LOCK: Final = ROOT / "requirements-documents.lock"
DOCUMENTS_VENV: Final = LOCAL / "documents"
"""A venv of its own: the tools want other versions of some packages."""
RELEASE_LOCK: Final = ROOT / "requirements-release.lock"
RELEASE_VENV: Final = LOCAL / "release-tools"
"""The venv of what lists the image's packages."""
PEERS_LOCK: Final = ROOT / "requirements-peers.lock"
PEERS_VENV: Final = LOCAL / "peers"
"""The venv of what the benchmarks measure beside this: it has nothing in common with the services."""
_STAMP: Final = VENV / "installed"
_BROWSER_STAMP: Final = VENV / "installed-browser"
_LOG: Final = LOCAL / "logs" / "install.log"
_FULL: Final = ("no space left on device", "disk quota exceeded")
_UV_FOR_PIP: Final = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "cert": "SSL_CERT_FILE",
}


def install() -> None:
    """Install the locked packages, Kafka's jars and its class cache, where they are missing."""
    with _alone():
        if old := not _STAMP.exists() or _STAMP.read_text() != _wanted():
            _install_packages()
        if missing := sum(not jar.path.exists() for jar in jars.jars()):
            _fetch_jars(missing)
        else:
            jars.fetch()
        if old or missing or not AOT_CACHE.exists():
            _prepare_kafka()


def install_browser() -> None:
    """Install what drives a browser, where it is missing. The browser itself is the system's."""
    with _alone():
        wanted = hashlib.sha256(BROWSER_LOCK.read_bytes()).hexdigest()
        if _BROWSER_STAMP.exists() and _BROWSER_STAMP.read_text() == wanted:
            return
        pip = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet", "--no-deps"]
        if (failure := _run([*pip, "--require-hashes", "-r", str(BROWSER_LOCK)], _environment())) is not None:
            raise OperatorError(f"The packages of the browser tests could not be installed ({failure}): see {_LOG}.")
        _BROWSER_STAMP.write_text(wanted)


def install_documents() -> None:
    """Install the tools that check the OpenAPI documents, where they are missing."""
    _install_apart("The tools for the documents", DOCUMENTS_LOCK, DOCUMENTS_VENV)


def install_peers() -> None:
    """Install the event store that the benchmarks measure beside this one, where it is missing."""
    _install_apart("The peer of the benchmarks", PEERS_LOCK, PEERS_VENV)


def install_release() -> None:
    """Install the tool that lists the packages of a release, where it is missing."""
    _install_apart("The tool that lists a release's packages", RELEASE_LOCK, RELEASE_VENV)


def _install_apart(what: str, locked: Path, folder: Path) -> None:
    stamp, wanted = folder / "installed", hashlib.sha256(locked.read_bytes()).hexdigest()
    with _alone():
        if stamp.exists() and stamp.read_text() == wanted:
            return
        venv.EnvBuilder(with_pip=True, clear=True, symlinks=True).create(folder)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
        options = ["--no-input", "--quiet", "--no-deps", "--require-hashes", "-r", str(locked)]
        if (failure := _run([*pip, *options], _environment())) is not None:
            raise OperatorError(f"{what} could not be installed ({failure}): see {_LOG}.")
        stamp.write_text(wanted)


def lock(upgrade: bool) -> None:
    """Write the lock files from pyproject.toml, with hashes, for all platforms."""
    environment = _environment()
    common = ["--universal", "--python-version=3.11", "--generate-hashes", "--no-header", "--quiet"]
    common += ["--upgrade"] if upgrade else []
    compile_ = [str(VENV / "bin" / "uv"), "pip", "compile", *common]
    base = [*compile_, "pyproject.toml", f"--output-file={RUNTIME_LOCK.name}"]
    more = [*compile_, "pyproject.toml", "--extra=local", "--extra=dev", f"--constraint={RUNTIME_LOCK.name}"]
    most = [*compile_, "pyproject.toml", "--extra=browser", f"--constraint={LOCK.name}"]
    browser = [*most, "--no-emit-package=tenure", f"--output-file={BROWSER_LOCK.name}"]
    documents = [*compile_, "--group=documents", f"--output-file={DOCUMENTS_LOCK.name}"]
    peers = [*compile_, "--group=peers", f"--output-file={PEERS_LOCK.name}"]
    release = [*compile_, "--group=release", f"--output-file={RELEASE_LOCK.name}"]
    for command in (base, [*more, f"--output-file={LOCK.name}"], browser, documents, peers, release):
        if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0:
            raise OperatorError("The lock files could not be written: see uv's message above.")
    UV_LOCK.write_text(_entry("uv", LOCK.read_text()))


def _entry(name: str, text: str) -> str:
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"{name}=="))
    rest = (number for number, line in enumerate(lines) if number > first and not line.startswith("    --hash"))
    return "\n".join(lines[first : next(rest)]) + "\n"


def _wanted() -> str:
    """Return the stamp of a venv that was made from these lock files by this Python."""
    digest = hashlib.sha256(LOCK.read_bytes() + UV_LOCK.read_bytes()).hexdigest()
    return f"{digest} {sys.version_info.major}.{sys.version_info.minor} {VENV}\n"


def _install_packages() -> None:
    count = sum("==" in line for line in LOCK.read_text().splitlines())
    started = time.monotonic()
    _say(f"Installing {count} Python packages into {VENV} (about half a minute the first time)")
    for stamp in (_STAMP, _BROWSER_STAMP):
        stamp.unlink(missing_ok=True)
    _make_venv()
    environment = _environment()
    requirements = ("--require-hashes", "-r")
    pip = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet", "--no-deps"]
    uv = [str(VENV / "bin" / "uv"), "pip", "sync", "--quiet", f"--python={PYTHON}"]
    by_uv = _run([*pip, *requirements, str(UV_LOCK)], environment) is None
    if by_uv and (failure := _run([*uv, *requirements[:1], str(LOCK)], environment)) is not None:
        by_uv = False
        _say(f"uv could not install them ({failure}); installing with pip, which is slower")
    if not by_uv and (failure := _run([*pip, *requirements, str(LOCK)], environment)) is not None:
        raise OperatorError(
            f"The Python packages could not be installed ({failure}): check the network and pip's configuration "
            f"(`pip config list`: index, proxy, cert), then run the command again. Details: {_LOG}"
        )
    _STAMP.write_text(_wanted())
    _say(f"Installed in {time.monotonic() - started:.0f} s")


def _make_venv() -> None:
    """Create the venv with pip, unless there is one of this Python version."""
    question = [str(PYTHON), "-c", "import pip, sys; print(*sys.version_info[:2])"]
    with contextlib.suppress(OSError):
        answer = subprocess.run(question, capture_output=True, text=True, check=False).stdout
        if answer.split() == [str(part) for part in sys.version_info[:2]]:
            return
    try:
        venv.EnvBuilder(with_pip=True, clear=True, symlinks=True).create(VENV)
    except subprocess.CalledProcessError:
        raise OperatorError(
            "This Python has no ensurepip, so no virtual environment could be created: install it (Debian: "
            "`apt-get install python3-venv`), then run the command again."
        ) from None


def _fetch_jars(missing: int) -> None:
    started = time.monotonic()
    _say(f"Downloading {missing} of Kafka's {len(jars.jars())} jars (45 MB in total)")
    done = subprocess.run(
        [str(PYTHON), "-m", "deploy.jars"], cwd=ROOT, env=_environment(), stderr=subprocess.PIPE, check=False
    )
    if done.returncode != 0:
        raise OperatorError(
            (done.stderr.decode(errors="replace").strip().splitlines() or ["The jars could not be downloaded."])[-1]
        )
    _say(f"Downloaded and checked in {time.monotonic() - started:.0f} s")


def _prepare_kafka() -> None:
    """Write Kafka's class cache; without it, Kafka only starts slower."""
    started = time.monotonic()
    _say("Writing a cache of Kafka's classes, for faster starts")
    if (failure := _run([str(PYTHON), "-m", "deploy.aot"], _environment())) is not None:
        _say(f"It could not be written ({failure}): each start of Kafka takes a little longer")
    else:
        _say(f"Written in {time.monotonic() - started:.0f} s")


def _environment() -> dict[str, str]:
    """Return this environment with pip's configuration translated for uv and jgo.

    Variables that are set are kept; every cache is under .local.
    """
    settings = _pip_settings()
    translated = {uv: " ".join(settings[pip].split()) for pip, uv in _UV_FOR_PIP.items() if pip in settings}
    if "extra-index-url" in settings:
        translated["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as pip does; the hashes keep this safe
    if "proxy" in settings:
        translated |= {"HTTPS_PROXY": settings["proxy"], "HTTP_PROXY": settings["proxy"]}
    links = [link for link in settings.get("find-links", "").split() if "://" in link or Path(link).exists()]
    if links:
        translated["UV_FIND_LINKS"] = ",".join(links)
    certificates = os.environ.get("SSL_CERT_FILE") or translated.get("SSL_CERT_FILE")
    if certificates:
        translated["REQUESTS_CA_BUNDLE"] = certificates
    caches = {name: str(LOCAL / "cache" / tool) for name, tool in (("PIP_CACHE_DIR", "pip"), ("UV_CACHE_DIR", "uv"))}
    return {**translated, **os.environ, **caches, "UV_NO_PROGRESS": "1"}


def _pip_settings() -> dict[str, str]:
    """Return pip's effective settings, such as "index-url", without their sections."""
    asked = subprocess.run([str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    pairs = (line.split("=", 1) for line in asked.stdout.splitlines() if "=" in line)
    return {key.rsplit(".", 1)[-1]: value.strip().strip("'\"").replace("\\n", " ") for key, value in pairs}


def _run(command: list[str], environment: dict[str, str]) -> str | None:
    """Run a command with its output to the log; return None, or the reason of the failure."""
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as child:
        try:
            said = child.communicate()[0].decode(errors="replace")
        except KeyboardInterrupt:  # the child got the signal, too, and cleans up
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(5)
            child.kill()
            raise
    _LOG.parent.mkdir(parents=True, exist_ok=True)
    with _LOG.open("a") as log:
        log.write(f"$ {' '.join(command)}\n{said}")
    if child.returncode == 0:
        return None
    if any(sign in said.lower() for sign in _FULL):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if line.lower().startswith(("error", "caused by", "×", "╰"))]
    return (telling or lines or [f"exit {child.returncode}"])[-1][:200]


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Hold the lock that allows one installation at a time."""
    LOCAL.mkdir(parents=True, exist_ok=True)
    with (LOCAL / "install.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("Waiting for another installation in this folder")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    try:
        if sys.argv[1:2] == ["lock"]:
            lock(upgrade="--upgrade" in sys.argv)
        elif sys.argv[1:2] == ["browser"]:
            install_browser()
        elif sys.argv[1:2] == ["documents"]:
            install_documents()
        elif sys.argv[1:2] == ["peers"]:
            install_peers()
        elif sys.argv[1:2] == ["release"]:
            install_release()
        else:
            install()
    except OperatorError as error:
        sys.exit(str(error))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sys.exit(f"The disk is full under {LOCAL}: free about 1 GB and run the command again.")
        sys.exit(f"{error.filename or LOCAL} can't be used ({error.strerror}): correct that and run the command again.")
    except KeyboardInterrupt:
        sys.exit("Interrupted; run the command again to continue.")


if __name__ == "__main__":
    main()
