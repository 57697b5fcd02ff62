"""The launcher: runs the complete system on one machine (`make up`, `make down`).

A supervisor in the background runs PostgreSQL, Kafka and the services; when it ends, it stops them in order. `up`
prints its messages and stops it on Ctrl-C; with --detach it returns as soon as the system is ready.
"""

import argparse
import asyncio
import contextlib
import fcntl
import json
import logging
import os
import select
import shlex
import signal
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypedDict

from rich.console import Console
from rich.table import Table

from deploy import PORT_BASE, ROOT, STATE, OperatorError, databases, port_of, secrets, topics
from deploy.broker import Protection
from deploy.catcher import MailCatcher
from deploy.data import PUBLISHER
from deploy.example import PASSWORD, SIGN_INS
from deploy.processes import ChildProcess, end_leftover, remember, remembered
from deploy.stack import HOST, Kafka, Part, Postgres, ServicePart
from deploy.supervisor import Stopped, Supervisor
from shared.eventlog.deliver.kafka import VARIABLES as KAFKA_VARIABLES
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.services import EDGES, OPERATIONS, SERVICES, url_variable

_RUN: Final = STATE / "run"
_LOGS: Final = STATE / "logs"
_LOG: Final = _LOGS / "tenure.log"
_STATE_FILE: Final = _RUN / "state.json"
_PID_FILE: Final = _RUN / "tenure.pid"
_ADDRESSES: Final = _RUN / "addresses.env"
_URLS: Final = _RUN / "urls.env"
"""The addresses of the services alone, without secrets, for programs such as clients."""
_KCAT: Final = _RUN / "kcat.conf"
_EXAMPLE: Final = STATE / "data" / "example"
"""Exists once the example's people were prepared: what becomes of them afterwards is left alone."""
_DATA_WITHIN_S: Final = 120
_DOWN_WITHIN_S: Final = 120

# ── The system ─────────────────────────────────────────────────────────────────────────────────────────


def stores() -> list[Part]:
    """Return PostgreSQL and Kafka, unless DATABASE_URL and KAFKA_BOOTSTRAP name others."""
    parts: list[Part] = []
    if not os.environ.get("DATABASE_URL"):
        parts.append(Postgres(STATE / "data" / "postgres", PORT_BASE + 10, **_files("postgres")))
    if not os.environ.get("KAFKA_BOOTSTRAP"):
        protection = Protection(secrets.FOLDER)
        folder, ports = STATE / "data" / "kafka", (PORT_BASE + 11, PORT_BASE + 12)
        parts.append(Kafka(folder, *ports, protection=protection, **_files("kafka")))
    return parts


def superuser_url() -> str:
    """Return the superuser's URL of this machine's PostgreSQL.

    Raises:
        OperatorError: There is no PostgreSQL on this machine.
    """
    for part in stores():
        if isinstance(part, Postgres):
            try:
                return part.url
            except FileNotFoundError:
                break
    raise OperatorError(
        "There is no PostgreSQL on this machine: run `make up`, or set DATABASE_URL to that of another server."
    )


def catcher() -> list[MailCatcher]:
    """Return the mail catcher, unless mails are sent elsewhere."""
    if os.environ.get("TENURE_SMTP_URL") or os.environ.get("TENURE_MAIL_FOLDER"):
        return []
    return [MailCatcher(STATE / "mail", _RUN, PORT_BASE + 8, **_files("mail"))]


def services(env: Mapping[str, str], running: Sequence[Part] = ()) -> list[Part]:
    """Return the services and edges, each with its own credentials, and the mail catcher.

    `env` has the operator's variables; it is empty if the services are not to be started.
    """
    postgres = {name: databases.service_environment(env["DATABASE_URL"], name) if env else {} for name in SERVICES}
    own = {name: {**env, **postgres[name], **kafka_environment(running, name)} for name in SERVICES}
    named = [ServicePart(name, _RUN, port_of(name), env=own[name], **_files(name)) for name in SERVICES]
    for name in EDGES:
        key = {"TENURE_COOKIE_KEY_FILE": str(secrets.FOLDER / f"cookies-{name}")}
        told = {**edge_environment(env), **kafka_environment(running, name), **key}
        named.append(ServicePart(name, _RUN, port_of(name), env=told, **_files(name)))
    return [*named, *catcher()]


def operations(env: Mapping[str, str], running: Sequence[Part] = ()) -> list[Part]:
    """Return the operations server, with the operator's credentials."""
    own, files = {**env, **kafka_environment(running, "operator")}, _files(OPERATIONS)
    return [ServicePart(OPERATIONS, _RUN, port_of(OPERATIONS), env=own, module="cli.serving", **files)]


def edge_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return an edge's variables: the services' URLs, and no credentials of PostgreSQL."""
    return {name: value for name, value in env.items() if name.startswith("TENURE_")}


def kafka_environment(running: Sequence[Part], user: str) -> dict[str, str]:
    """Return a user's variables for the local Kafka, or the environment's for another one."""
    for part in running:
        if isinstance(part, Kafka):
            return part.access_of(user).environment()
    return {name: os.environ.get(name, "") for name in KAFKA_VARIABLES}


def operators(env: Mapping[str, str], running: Sequence[Part]) -> dict[str, str]:
    """Return the environment of the operator's command, the story and the example data.

    It has the operator's credentials, and those of the publisher whose system the story simulates.
    """
    found = {**env, **kafka_environment(running, "operator")}
    for part in running:
        if isinstance(part, Kafka):
            publisher = part.access_of(f"publisher-{PUBLISHER}")
            found["KAFKA_PUBLISHER_PASSWORD"] = publisher.password or ""
    return found


def addresses(running: Sequence[Part]) -> dict[str, str]:
    """Return the addresses of everything but Kafka, as environment variables."""
    found = {url_variable(name): f"http://{HOST}:{port_of(name)}" for name in (*SERVICES, *EDGES, OPERATIONS)}
    found |= {name: os.environ[name] for name in ("DATABASE_URL",) if os.environ.get(name)}
    found["TENURE_PUBLIC_URL"] = os.environ.get("TENURE_PUBLIC_URL") or found["TENURE_CONSOLE_URL"]
    for caught in catcher():
        found |= {"TENURE_SMTP_URL": caught.smtp_url, "TENURE_MAIL_URL": caught.url}
    found["TENURE_ANCHORS"] = os.environ.get("TENURE_ANCHORS") or str(STATE / "data" / "anchors")
    for part in running:
        if isinstance(part, Postgres):
            found["DATABASE_URL"] = part.url
    return found


def has_example(below: Sequence[Part]) -> bool:
    """Return whether the system has the example's people.

    Everybody knows their password, so they are in no database and no Kafka but this folder's own.
    """
    return {type(part) for part in below} == {Postgres, Kafka}


def run(supervisor: Supervisor) -> None:
    """Start the system in order, then watch it until Stopped is raised."""
    below = stores()
    for part in reversed([*below, *services({}), *operations({})]):
        if part.end_leftovers():
            supervisor.say(f"{part.name} was still running from an earlier start and was stopped")
    for part in (*below, *services({}), *operations({})):
        part.require_ports()

    supervisor.bring_up(*([part] for part in below))  # they stop in reverse: Kafka, then PostgreSQL
    env = addresses(below)
    ours = any(isinstance(part, Postgres) for part in below)
    supervisor.meanwhile(databases.prepare(env["DATABASE_URL"], whole_cluster=ours))
    supervisor.say("PostgreSQL's roles, databases and tables are complete")
    env["DATABASE_URL"] = databases.url_of(env["DATABASE_URL"], databases.OPERATOR, databases.generated("operator"))
    _write_addresses(operators(env, below), below)
    supervisor.meanwhile(_prepare_kafka(supervisor, below))
    for name in EDGES:
        secrets.secret(f"cookies-{name}")
    supervisor.bring_up(services(env, below))
    supervisor.say("loading the example data")
    operator = operators(env, below)
    supervisor.meanwhile(_run_to_end("data", "The example data was not loaded", operator))
    if has_example(below) and not _EXAMPLE.exists():
        supervisor.meanwhile(_run_to_end("example", "The example's people were not prepared", operator))
        _EXAMPLE.touch()
    supervisor.begin(operations(env, below))  # nobody waits for it: the system is ready without it
    supervisor.watch()


async def _prepare_kafka(supervisor: Supervisor, running: Sequence[Part]) -> None:
    """Create the topics, and on the local Kafka users and access rules.

    On another Kafka, its administrator manages the users.
    """
    kafka = next((part for part in running if isinstance(part, Kafka)), None)
    strange: list[str] = []
    if kafka is None:
        created = await topics.ensure(KafkaAccess.from_environment(), patience_s=20)
    else:
        created, strange = await topics.bring_about(kafka.access, patience_s=20)
    supervisor.say(f"topics are as declared, {len(created)} of {len(topics.declared())} new")
    for line in strange:
        supervisor.say(
            f"not declared in deploy/topics.toml: {line}; to remove it, run `python -m deploy.topics --prune`"
        )


async def _run_to_end(name: str, failed: str, env: Mapping[str, str]) -> None:
    """Run `python -m deploy.<name>`.

    Raises:
        OperatorError: It did not succeed, or not in time.
    """
    child = ChildProcess(
        name, [sys.executable, "-m", f"deploy.{name}"], env={**os.environ, **env}, cwd=ROOT, **_files(name)
    )
    child.start()
    try:
        async with asyncio.timeout(_DATA_WITHIN_S):
            while child.alive:  # noqa: ASYNC110 - asyncio has no event for the end of this process
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise OperatorError(f"{failed} within {_DATA_WITHIN_S} s: see {child.log}.") from None
    finally:
        child.stop(patience_s=2)
    if child.exit_code:
        reason = (child.last_lines(1) or ["no message"])[0]
        raise OperatorError(f"{failed}: {reason} ({child.log})")


def supervise() -> int:
    """Run the supervisor.

    Only kill -9 leaves processes behind; the next `up` or `down` ends them.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # failing probes are expected
    with _only_one():
        remember(os.getpid(), _PID_FILE)
        supervisor = Supervisor(state_file=_STATE_FILE)
        try:
            run(supervisor)
        except Stopped:
            supervisor.stop("Stopping: services, then Kafka and PostgreSQL")
        except OperatorError as error:
            supervisor.stop("The start failed; stopping what was started")
            supervisor.say(str(error))
            return 1
        except BaseException:
            supervisor.stop("Stopping after an internal error")
            raise
        finally:
            for file in (_STATE_FILE, _ADDRESSES, _KCAT, _PID_FILE):
                file.unlink(missing_ok=True)
    return 0


# ── The commands ───────────────────────────────────────────────────────────────────────────────────────


def up(detach: bool) -> int:
    """Start the supervisor and print its messages.

    Returns when the system is ready, if detached, and otherwise when it has ended."""
    running = remembered(_PID_FILE)
    if running is not None:
        phase = _state().get("phase", "starting")
        print(
            f"Tenure is already running (process {running.pid}, {phase}). See `make status`; stop it with `make down`."
        )
        return 0 if phase == "ready" else 1
    for folder in (_RUN, _LOGS):
        folder.mkdir(parents=True, exist_ok=True)
    _STATE_FILE.unlink(missing_ok=True)
    with _LOG.open("ab") as log:
        printed = log.tell()
        command = [sys.executable, "-m", "deploy.local", "supervise"]
        child = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    return _follow(child, printed, detach)


def _follow(child: subprocess.Popen[bytes], printed: int, detach: bool) -> int:
    asked_to_stop = False

    def stop(*_: object) -> None:
        nonlocal asked_to_stop
        asked_to_stop = True
        if child.poll() is None:
            child.terminate()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    console, started, announced = Console(highlight=False, soft_wrap=True), time.monotonic(), False
    with console.status("Starting", spinner="dots") if console.is_terminal else contextlib.nullcontext() as spinner:
        while True:
            code = child.poll()
            printed = _print_new_lines(console, printed)
            if code is not None:
                return 0 if asked_to_stop else code
            state = _state()
            waiting = [part["name"] for part in state.get("parts", []) if part["state"] != "ready"]
            if spinner is not None:
                spinner.update(
                    f"{time.monotonic() - started:.0f} s: {state.get('phase', 'starting')} {' '.join(waiting)}"
                )
            if state.get("phase") == "ready" and not announced:
                announced = True
                _announce(console, time.monotonic() - started, detach)
                if detach:
                    return 0
                if spinner is not None:
                    spinner.stop()
            if announced and _enter_was_pressed():
                webbrowser.open(_read_addresses()[url_variable(EDGES[0])])
            time.sleep(0.1)


def _enter_was_pressed() -> bool:
    """Return whether a line waits to be read from the terminal, and read it."""
    if not sys.stdin.isatty() or not select.select([sys.stdin], [], [], 0)[0]:
        return False
    return sys.stdin.readline() != ""


def _print_new_lines(console: Console, printed: int) -> int:
    with _LOG.open("rb") as log:
        log.seek(printed)
        text = log.read()
    complete = text[: text.rfind(b"\n") + 1]
    for line in complete.decode(errors="replace").splitlines():
        console.print(line, markup=False)
    return printed + len(complete)


def _announce(console: Console, took_s: float, detach: bool) -> None:
    env = _read_addresses()
    lines = [f"\nTenure is ready ({took_s:.1f} s)"]
    lines += [f"  {name:<13} {env[url_variable(name)]}" for name in EDGES]
    lines += [f"  {name:<13} {env[url_variable(name)]}/docs" for name in SERVICES]
    lines += [f"  {'mail':<13} {env['TENURE_MAIL_URL']}"] if "TENURE_MAIL_URL" in env else []
    lines += [f"  {'Kafka':<13} {env['KAFKA_BOOTSTRAP']}", f"  {'all addresses':<13} {_shown(_ADDRESSES)}"]
    lines += [f"  {'logs':<13} {_shown(_LOGS)}"]
    if _EXAMPLE.exists():
        lines += ["", f"Sign in at {env[url_variable(EDGES[0])]} with the password: {PASSWORD}"]
        lines += [f"  {each.role.partition(',')[0]:<13} {each.email:<27} {each.name}" for each in SIGN_INS]
        lines += [] if detach or not sys.stdin.isatty() else ["  Press Enter to open it in a browser."]
    lines += ["", "Run the story: make story"]
    lines += ["Stop:          make down" + ("" if detach else " or Ctrl-C")]
    console.print("\n".join(lines), markup=False)


def down() -> int:
    """Stop the supervisor, and processes that a killed one left behind."""
    running = remembered(_PID_FILE)
    stopped = running is not None
    if running is not None:
        print(f"Stopping Tenure (process {running.pid})", flush=True)
        end_leftover(_PID_FILE, patience_s=_DOWN_WITHIN_S)
    for name in ("data", "example"):
        end_leftover(_RUN / f"{name}.pid")
    for part in reversed([*stores(), *services({}), *operations({})]):
        if part.end_leftovers():
            print(f"{part.name} was left from an earlier start and was stopped", flush=True)
            stopped = True
    print("Stopped." if stopped else "Nothing is running.")
    return 0


def status() -> int:
    """Probe and print each part; return 0 if all are ready."""
    running = remembered(_PID_FILE)
    known = {part["name"]: part for part in _state().get("parts", [])} if running is not None else {}
    table, ready = Table("part", "state", "address", "pid", "restarts", box=None), []
    for part in (*stores(), *services({}), *operations({})):
        state = known.get(part.name, {"state": "down"})
        ready.append(part.ready())
        shown = "ready" if ready[-1] else state["state"].replace("ready", "does not answer")
        table.add_row(
            part.name, shown, f"{HOST}:{part.port}", str(state.get("pid") or ""), str(state.get("restarts", ""))
        )
    Console().print(table)
    if running is None:
        print(
            "The launcher has ended, but parts are still running: stop them with `make down`."
            if any(ready)
            else "Not running."
        )
    return 0 if running is not None and all(ready) else 1


# ── Files ──────────────────────────────────────────────────────────────────────────────────────────────


class _Files(TypedDict):
    log: Path
    pid_file: Path


def _files(name: str) -> _Files:
    return {"log": _LOGS / f"{name}.log", "pid_file": _RUN / f"{name}.pid"}


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def _state() -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        state: dict[str, Any] = json.loads(_STATE_FILE.read_text())
        return state
    return {}


def _write_addresses(env: Mapping[str, str], running: Sequence[Part]) -> None:
    """Write the addresses for a shell, which keeps variables that are set, and for kcat."""
    kafkas = {name: value for name, value in sorted(env.items()) if name.startswith("KAFKA_")}
    others = sorted(env.items() - kafkas.items())
    lines = [f"export {name}=${{{name}:-{shlex.quote(value)}}}\n" for name, value in others]
    # A Kafka user belongs to one cluster: the shell sets all of these variables or none.
    lines += ['if [ -z "${KAFKA_BOOTSTRAP:-}" ]; then\n']
    lines += [f"export {name}=${{{name}:-{shlex.quote(value)}}}\n" for name, value in kafkas.items()]
    secrets.write(_ADDRESSES, "".join([*lines, "fi\n"]))
    urls = {url_variable(name) for name in (*SERVICES, *EDGES)} & env.keys()
    _URLS.write_text("".join(f"export {name}={shlex.quote(env[name])}\n" for name in sorted(urls)))
    for part in running:
        if isinstance(part, Kafka):
            settings = part.access_of("operator").librdkafka().items()
            secrets.write(_KCAT, "".join(f"{name}={value}\n" for name, value in settings))


def _read_addresses() -> dict[str, str]:
    lines = (line for line in _ADDRESSES.read_text().splitlines() if line.startswith("export "))
    pairs = (line.removeprefix("export ").split("=", 1) for line in lines)
    return {name: shlex.split(value.split(":-", 1)[1].removesuffix("}"))[0] for name, value in pairs}


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    """Hold the lock that allows one supervisor in a folder; it ends with the process."""
    with (_RUN / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OperatorError("Tenure is being started or stopped by another command: wait for it.") from None
        yield


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local", description="Run the complete system on one machine."
    )
    parser.add_argument("command", choices=("up", "down", "status", "supervise"))
    parser.add_argument("--detach", action="store_true", help="return when the system is ready, and leave it running")
    chosen = parser.parse_args()
    try:
        match chosen.command:
            case "up":
                return up(chosen.detach)
            case "down":
                return down()
            case "status":
                return status()
            case _:
                return supervise()
    except OperatorError as error:
        print(error, file=sys.stderr)
    except OSError as error:
        path = error.filename or STATE
        print(f"{path} can't be written ({error.strerror}): free space or correct its owner.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
