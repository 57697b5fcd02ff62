"""The one place that a system test gets its PostgreSQL and its Kafka from: local processes, or containers.

    with parts.postgres(folder / "postgres") as postgres, parts.kafka(folder / "kafka") as kafka:
        use(postgres.url, kafka.access)

Containers when CONTAINERS=1 is set and a Docker engine of this machine answers, local processes otherwise; the tests
are the same. Everything here blocks: from a coroutine, call it by `asyncio.to_thread`.
"""

import atexit
import contextlib
import functools
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, Self

from deploy import OperatorError, stack
from deploy.broker import JAAS, Protection
from deploy.certificates import AUTHORITY, SERVER
from deploy.declaration import ADMIN
from deploy.images import image
from deploy.processes import free_port
from shared.eventlog.deliver.kafka import KafkaAccess

HOST = "127.0.0.1"
READY_WITHIN_S = 60.0
STOP_WITHIN_S = 30


class Part(Protocol):
    """A server with data and an address of its own; both stay the same until the `with` block ends."""

    @property
    def alive(self) -> bool: ...

    def start(self) -> object:
        """Starts it, or does nothing when it runs; returns when it answers."""

    def stop(self) -> object:
        """Stops it in order."""

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Postgres(Part, Protocol):
    @property
    def url(self) -> str:
        """`postgresql://user:password@host:port`, a DATABASE_URL; the user may create databases."""


class Kafka(Part, Protocol):
    @property
    def access(self) -> KafkaAccess:
        """How its administrator reaches it; no topic makes itself."""

    def access_of(self, user: str) -> KafkaAccess:
        """How a user reaches it; as anybody does where it is not protected."""


def postgres(folder: Path) -> Postgres:
    """A PostgreSQL, not started yet. A local one keeps its data and its log in `folder`."""
    return _ContainedPostgres() if containers() else stack.Postgres(folder)


def kafka(folder: Path, *, protected: bool = False) -> Kafka:
    """A Kafka without topics, not started yet. A local one keeps its data and its log in `folder`.

    A protected one has TLS, users and access rules, as `make up` has it; its secrets are in `folder`. One that is not
    starts half a second sooner: for tests of something else.
    """
    protection = Protection(folder / "secrets") if protected else None
    return _ContainedKafka(protection) if containers() else stack.Kafka(folder, protection=protection)


def discard(server: Postgres) -> None:
    """End a PostgreSQL whose data nobody needs any more: an orderly end would write all of it to the disk first."""
    if isinstance(server, stack.Postgres) and server.pid is not None:
        os.kill(server.pid, signal.SIGQUIT)  # its "immediate" shutdown


@functools.cache
def containers() -> bool:
    """Whether the parts are containers. Says so, once, where they were asked for and can't be had."""
    if os.environ.get("CONTAINERS") != "1":
        return False
    # Testcontainers' own helper would clean up behind a killed test run; its image can't be had everywhere.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    asked = ["docker", "version", "--format", "{{.Server.Version}}"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(asked, check=True, capture_output=True, timeout=20)
        return True
    print("CONTAINERS=1, but no Docker engine answers: PostgreSQL and Kafka run as local processes.", file=sys.stderr)
    return False


@contextlib.contextmanager
def stopped(pid: int | None) -> Iterator[None]:
    """The process does nothing, and is not gone."""
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class _Contained(ABC):
    """A container whose port on the host is fixed: Docker gives any other port a new number at every start."""

    def __init__(self) -> None:
        self.port = free_port()
        self._container: Any = None  # testcontainers' DockerContainer, from the first start on

    @property
    def alive(self) -> bool:
        if self._container is None:
            return False
        self._container.reload()
        return bool(self._container.status == "running")

    def start(self) -> Self:
        if self._container is None:
            self._container = self._make()
            atexit.register(self.remove)
            self._container.start()
        else:
            self._container.get_wrapped_container().start()
        self._wait_ready()
        return self

    def stop(self) -> None:
        if self._container is not None:
            self._container.get_wrapped_container().stop(timeout=STOP_WITHIN_S)

    def kill(self) -> None:
        if self.alive:
            self._container.get_wrapped_container().kill()
            self._container.get_wrapped_container().wait(timeout=STOP_WITHIN_S)

    def remove(self) -> None:
        """Ends it together with its data."""
        atexit.unregister(self.remove)
        if self._container is not None:
            self._container.stop()
            self._container = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._answers():
            if not self.alive or time.monotonic() > deadline:
                log = self._container.get_wrapped_container().logs(tail=5).decode(errors="replace").strip()
                raise OperatorError(f"{self._container.image} did not get ready in {READY_WITHIN_S:.0f} s: {log}")
            time.sleep(0.1)

    @abstractmethod
    def _make(self) -> Any: ...

    @abstractmethod
    def _answers(self) -> bool: ...


class _ContainedPostgres(_Contained):
    @property
    def url(self) -> str:
        return f"postgresql://tenure:tenure@{HOST}:{self.port}"

    def _make(self) -> Any:
        from testcontainers.community.postgres import PostgresContainer

        made: Any = PostgresContainer(
            image("POSTGRES_IMAGE"), username="tenure", password="tenure", dbname="tenure", driver=None
        )
        made.ports["5432"] = (HOST, self.port)
        # As the local one: text sorts by its bytes.
        return made.with_env("POSTGRES_INITDB_ARGS", "--locale=C").with_command("postgres -c max_connections=200")

    def _answers(self) -> bool:
        # By TCP: while the image initialises, its temporary server answers on the socket only.
        asked = ["pg_isready", f"--host={HOST}", "--username=tenure"]
        return self.alive and bool(self._container.exec(asked).exit_code == 0)


class _ContainedKafka(_Contained):
    _SECRETS = Path("/etc/kafka/secrets")

    def __init__(self, protection: Protection | None) -> None:
        super().__init__()
        self._protection = protection

    @property
    def access(self) -> KafkaAccess:
        return self.access_of(ADMIN)

    def access_of(self, user: str) -> KafkaAccess:
        bootstrap = f"{HOST}:{self.port}"
        if self._protection is None:
            return KafkaAccess(bootstrap=bootstrap)
        return self._protection.access(bootstrap, user)

    def _make(self) -> Any:
        from testcontainers.core.container import DockerContainer

        made: Any = DockerContainer(image("KAFKA_IMAGE")).with_envs(
            KAFKA_PROCESS_ROLES="broker,controller",
            KAFKA_NODE_ID="1",
            KAFKA_CONTROLLER_QUORUM_VOTERS="1@localhost:9093",
            KAFKA_CONTROLLER_LISTENER_NAMES="CONTROLLER",
            # One number inside and outside: the advertised address is right for the broker itself, too.
            KAFKA_LISTENERS=f"CLIENTS://:{self.port},CONTROLLER://localhost:9093",
            KAFKA_ADVERTISED_LISTENERS=f"CLIENTS://{HOST}:{self.port}",
            KAFKA_LOG_DIRS="/var/lib/kafka/data",
            KAFKA_AUTO_CREATE_TOPICS_ENABLE="false",
            KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1",
            KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS="8",
            KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR="1",
            KAFKA_TRANSACTION_STATE_LOG_MIN_ISR="1",
            KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS="0",
            # A killed broker's registration must lapse before it may come back: nine seconds by default.
            KAFKA_BROKER_SESSION_TIMEOUT_MS="2000",
            KAFKA_BROKER_HEARTBEAT_INTERVAL_MS="500",
            KAFKA_HEAP_OPTS="-Xmx512m",
            **self._protecting(),
        )
        if self._protection is not None:
            made.with_volume_mapping(str(self._mounted), str(self._SECRETS), "ro")
        made.ports[str(self.port)] = (HOST, self.port)
        return made

    @property
    def _mounted(self) -> Path:
        """The broker's own part of the secrets."""
        assert self._protection is not None
        return self._protection.folder.with_name("broker-secrets")

    def _protecting(self) -> dict[str, str]:
        if self._protection is None:
            protocols = "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT"
            return {"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": protocols, "KAFKA_INTER_BROKER_LISTENER_NAME": "CLIENTS"}
        self._protection.prepare()
        self._mounted.mkdir(mode=0o755)  # the image's own user reads it, which is another than this one
        for name in (AUTHORITY, SERVER, JAAS):
            shutil.copy(self._protection.folder / name, self._mounted)
            (self._mounted / name).chmod(0o644)
        settings = self._protection.settings(self._SECRETS)
        found = {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in settings.items()}
        return {**found, "KAFKA_OPTS": f"-Djava.security.auth.login.config={self._SECRETS / JAAS}"}

    def _answers(self) -> bool:
        """Asks for the protocol's versions, request 1: a connection alone may be one to Docker's proxy."""
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as plain, self._encrypted(plain) as broker:
                broker.sendall(bytes.fromhex("0000000a 0012 0000 00000001 ffff"))
                return broker.recv(8)[4:] == bytes.fromhex("00000001")
        except OSError:
            return False

    def _encrypted(self, plain: socket.socket) -> socket.socket:
        if self._protection is None:
            return plain
        context: ssl.SSLContext = self.access.client()["ssl_context"]
        return context.wrap_socket(plain, server_hostname=HOST)
