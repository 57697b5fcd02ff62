"""Installs what the project needs into .local, with hashes required: `python3 -m deploy.bootstrap`.

Runs on a bare Python 3.11: only the standard library is imported. pip installs uv from a hashed line, uv installs the
rest in a fraction of pip's time; where uv fails, pip does it. Both follow this machine's configuration of pip.
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
_STAMP: Final = VENV / "installed"
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
    """Have the venv as the lock says and Kafka's jars as their checksums say, and its classes ready; a moment when they
    are there already."""
    with _alone():
        if old := not _STAMP.exists() or _STAMP.read_text() != _wanted():
            _install_packages()
        if missing := sum(not jar.path.exists() for jar in jars.jars()):
            _fetch_jars(missing)
        else:
            jars.fetch()
        if old or missing or not AOT_CACHE.exists():
            _prepare_kafka()


def lock(upgrade: bool) -> None:
    """Make the three locks again from pyproject.toml: hashes, no addresses, one page for every platform."""
    environment = _environment()
    common = ["--universal", "--python-version=3.11", "--generate-hashes", "--no-header", "--quiet"]
    common += ["--upgrade"] if upgrade else []
    compile_ = [str(VENV / "bin" / "uv"), "pip", "compile", *common]
    base = [*compile_, "pyproject.toml", f"--output-file={RUNTIME_LOCK.name}"]
    more = [*compile_, "pyproject.toml", "--extra=local", "--extra=dev", f"--constraint={RUNTIME_LOCK.name}"]
    for command in (base, [*more, f"--output-file={LOCK.name}"]):
        if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0:
            raise OperatorError("The lock could not be made: what uv says above tells why.")
    UV_LOCK.write_text(_entry("uv", LOCK.read_text()))


def _entry(name: str, text: str) -> str:
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"{name}=="))
    rest = (number for number, line in enumerate(lines) if number > first and not line.startswith("    --hash"))
    return "\n".join(lines[first : next(rest)]) + "\n"


def _wanted() -> str:
    """What the stamp says when the venv is what the locks want, made by this Python."""
    digest = hashlib.sha256(LOCK.read_bytes() + UV_LOCK.read_bytes()).hexdigest()
    return f"{digest} {sys.version_info.major}.{sys.version_info.minor} {VENV}\n"


def _install_packages() -> None:
    count = sum("==" in line for line in LOCK.read_text().splitlines())
    started = time.monotonic()
    _say(f"Installing {count} Python packages into {VENV} (the first time takes about half a minute)")
    _STAMP.unlink(missing_ok=True)
    _make_venv()
    environment = _environment()
    requirements = ("--require-hashes", "-r")
    pip = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"]
    uv = [str(VENV / "bin" / "uv"), "pip", "sync", "--quiet", f"--python={PYTHON}"]
    by_uv = _run([*pip, *requirements, str(UV_LOCK)], environment) is None
    if by_uv and (failure := _run([*uv, *requirements[:1], str(LOCK)], environment)) is not None:
        by_uv = False
        _say(f"uv could not install them ({failure}): pip does it, slower")
    if not by_uv and (failure := _run([*pip, *requirements, str(LOCK)], environment)) is not None:
        raise OperatorError(
            f"The Python packages could not be installed ({failure}): check the network and pip's configuration "
            f"(`pip config list`: index, proxy, cert), then run the command again. Details: {_LOG}"
        )
    _STAMP.write_text(_wanted())
    _say(f"Installed in {time.monotonic() - started:.0f} s")


def _make_venv() -> None:
    """A venv with pip, of this Python; one that is something else, or half made, is made again."""
    question = [str(PYTHON), "-c", "import pip, sys; print(*sys.version_info[:2])"]
    with contextlib.suppress(OSError):
        answer = subprocess.run(question, capture_output=True, text=True, check=False).stdout
        if answer.split() == [str(part) for part in sys.version_info[:2]]:
            return
    try:
        venv.EnvBuilder(with_pip=True, clear=True, symlinks=True).create(VENV)
    except subprocess.CalledProcessError:
        raise OperatorError(
            "This Python has no ensurepip, so no virtual environment could be made: install it (Debian: "
            "`apt-get install python3-venv`), then run the command again."
        ) from None


def _fetch_jars(missing: int) -> None:
    started = time.monotonic()
    _say(f"Fetching {missing} of Kafka's {len(jars.jars())} jars (45 MB in all)")
    done = subprocess.run(
        [str(PYTHON), "-m", "deploy.jars"], cwd=ROOT, env=_environment(), stderr=subprocess.PIPE, check=False
    )
    if done.returncode != 0:
        raise OperatorError(
            (done.stderr.decode(errors="replace").strip().splitlines() or ["The jars were not fetched."])[-1]
        )
    _say(f"Fetched and checked in {time.monotonic() - started:.0f} s")


def _prepare_kafka() -> None:
    """Without it, Kafka starts later: no trouble."""
    started = time.monotonic()
    _say("Preparing Kafka's classes, for quicker starts")
    if (failure := _run([str(PYTHON), "-m", "deploy.aot"], _environment())) is not None:
        _say(f"They could not be prepared ({failure}): every start of Kafka takes a little longer")
    else:
        _say(f"Prepared in {time.monotonic() - started:.0f} s")


def _environment() -> dict[str, str]:
    """This environment, and in it for uv and jgo what pip is configured with. What is set already stays; every cache is
    under .local."""
    settings = _pip_settings()
    told = {uv: " ".join(settings[pip].split()) for pip, uv in _UV_FOR_PIP.items() if pip in settings}
    if "extra-index-url" in settings:
        told["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # pip looks at all indexes alike; the hashes keep this safe
    if "proxy" in settings:
        told |= {"HTTPS_PROXY": settings["proxy"], "HTTP_PROXY": settings["proxy"]}
    places = [place for place in settings.get("find-links", "").split() if "://" in place or Path(place).exists()]
    if places:
        told["UV_FIND_LINKS"] = ",".join(places)
    certificates = os.environ.get("SSL_CERT_FILE") or told.get("SSL_CERT_FILE")
    if certificates:
        told["REQUESTS_CA_BUNDLE"] = certificates
    caches = {name: str(LOCAL / "cache" / tool) for name, tool in (("PIP_CACHE_DIR", "pip"), ("UV_CACHE_DIR", "uv"))}
    return {**told, **os.environ, **caches, "UV_NO_PROGRESS": "1"}


def _pip_settings() -> dict[str, str]:
    """pip's own view of its files and its environment: "index-url" and so on, without the section."""
    asked = subprocess.run([str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    pairs = (line.split("=", 1) for line in asked.stdout.splitlines() if "=" in line)
    return {key.rsplit(".", 1)[-1]: value.strip().strip("'\"").replace("\\n", " ") for key, value in pairs}


def _run(command: list[str], environment: dict[str, str]) -> str | None:
    """None when it went well, else the reason in a few words; all that it says goes to the log."""
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as child:
        try:
            said = child.communicate()[0].decode(errors="replace")
        except KeyboardInterrupt:  # it has heard it, too, and tidies up
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
    """One installation at a time; the next one finds it done."""
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
        else:
            install()
    except OperatorError as trouble:
        sys.exit(str(trouble))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sys.exit(f"The disk is full under {LOCAL}: free about 1 GB and run the command again.")
        sys.exit(
            f"{error.filename or LOCAL} cannot be used ({error.strerror}): put it right and run the command again."
        )
    except KeyboardInterrupt:
        sys.exit("Interrupted; run the command again to go on.")


if __name__ == "__main__":
    main()
