"""The launcher: runs the complete system on one machine (`make up`, `make down`).

A supervisor in the background runs PostgreSQL, Kafka and the services; when it ends, it stops them in order. `up`
prints its messages and stops it on Ctrl-C; with --detach it returns as soon as the system is ready.

`deploy.system` is imported by the functions that need it, because its imports take a second: `up` needs none of them,
and the supervisor imports them while the fork server imports what the services need.
"""

import argparse
import contextlib
import fcntl
import logging
import os
import select
import signal
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from deploy import ROOT, STATE, OperatorError
from deploy.cast import PASSWORD, SIGN_INS
from deploy.files import (
    ADDRESSES,
    EXAMPLE,
    FORKS,
    KCAT,
    LOG,
    LOGS,
    PID_FILE,
    RUN,
    STATE_FILE,
    read_addresses,
    supervisors_state,
)
from deploy.forked import warm_up
from deploy.processes import end_leftover, remember, remembered
from shared.services import EDGES, SERVICES, url_variable

_DOWN_WITHIN_S: Final = 120


def supervise() -> int:
    """Run the supervisor.

    Only kill -9 leaves processes behind; the next `up` or `down` ends them.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # failing probes are expected
    with _only_one():
        remember(os.getpid(), PID_FILE)
        warm_up(FORKS)
        from deploy.supervisor import Stopped, Supervisor
        from deploy.system import run

        supervisor = Supervisor(state_file=STATE_FILE)
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
            for file in (STATE_FILE, ADDRESSES, KCAT, PID_FILE):
                file.unlink(missing_ok=True)
    return 0


# ── The commands ───────────────────────────────────────────────────────────────────────────────────────


def up(detach: bool) -> int:
    """Start the supervisor and print its messages.

    Returns when the system is ready, if detached, and otherwise when it has ended."""
    running = remembered(PID_FILE)
    if running is not None:
        phase = supervisors_state().get("phase", "starting")
        print(
            f"Tenure is already running (process {running.pid}, {phase}). See `make status`; stop it with `make down`."
        )
        return 0 if phase == "ready" else 1
    for folder in (RUN, LOGS):
        folder.mkdir(parents=True, exist_ok=True)
    STATE_FILE.unlink(missing_ok=True)
    with LOG.open("ab") as log:
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
            state = supervisors_state()
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
                webbrowser.open(read_addresses()[url_variable(EDGES[0])])
            time.sleep(0.1)


def _enter_was_pressed() -> bool:
    """Return whether a line waits to be read from the terminal, and read it."""
    if not sys.stdin.isatty() or not select.select([sys.stdin], [], [], 0)[0]:
        return False
    return sys.stdin.readline() != ""


def _print_new_lines(console: Console, printed: int) -> int:
    with LOG.open("rb") as log:
        log.seek(printed)
        text = log.read()
    complete = text[: text.rfind(b"\n") + 1]
    for line in complete.decode(errors="replace").splitlines():
        console.print(line, markup=False)
    return printed + len(complete)


def _announce(console: Console, took_s: float, detach: bool) -> None:
    env = read_addresses()
    lines = [f"\nTenure is ready ({took_s:.1f} s)"]
    lines += [f"  {name:<13} {env[url_variable(name)]}" for name in EDGES]
    lines += [f"  {name:<13} {env[url_variable(name)]}/docs" for name in SERVICES]
    lines += [f"  {'mail':<13} {env['TENURE_MAIL_URL']}"] if "TENURE_MAIL_URL" in env else []
    lines += [f"  {'Kafka':<13} {env['KAFKA_BOOTSTRAP']}", f"  {'all addresses':<13} {_shown(ADDRESSES)}"]
    lines += [f"  {'logs':<13} {_shown(LOGS)}"]
    if EXAMPLE.exists():
        lines += ["", f"Sign in at {env[url_variable(EDGES[0])]} with the password: {PASSWORD}"]
        lines += [f"  {each.role.partition(',')[0]:<13} {each.email:<27} {each.name}" for each in SIGN_INS]
        lines += [] if detach or not sys.stdin.isatty() else ["  Press Enter to open it in a browser."]
    lines += ["", "Run the story: make story"]
    lines += ["Stop:          make down" + ("" if detach else " or Ctrl-C")]
    console.print("\n".join(lines), markup=False)


def down() -> int:
    """Stop the supervisor, and processes that a killed one left behind."""
    from deploy.system import operations, services, stores

    running = remembered(PID_FILE)
    stopped = running is not None
    if running is not None:
        print(f"Stopping Tenure (process {running.pid})", flush=True)
        end_leftover(PID_FILE, patience_s=_DOWN_WITHIN_S)
    for name in ("data", "example"):
        end_leftover(RUN / f"{name}.pid")
    for part in reversed([*stores(), *services({}), *operations({})]):
        if part.end_leftovers():
            print(f"{part.name} was left from an earlier start and was stopped", flush=True)
            stopped = True
    print("Stopped." if stopped else "Nothing is running.")
    return 0


def status() -> int:
    """Probe and print each part; return 0 if all are ready."""
    from deploy.stack import HOST
    from deploy.system import operations, services, stores

    running = remembered(PID_FILE)
    known = {part["name"]: part for part in supervisors_state().get("parts", [])} if running is not None else {}
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


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    """Hold the lock that allows one supervisor in a folder; it ends with the process."""
    with (RUN / "lock").open("w") as file:
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
