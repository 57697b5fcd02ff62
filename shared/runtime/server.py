"""The HTTP server of a process: uvicorn with bounded connections and no signal handling."""

import contextlib
import resource
from collections.abc import Callable, Iterator
from socket import socket
from typing import Final

import structlog
import uvicorn
from starlette.types import ASGIApp

from shared.runtime.connections import IDLE_S, Connections, bounded, trusting
from shared.runtime.settings import Settings

logger = structlog.get_logger("service")

_OTHER_FILES: Final = 200
"""The file descriptors that a process needs besides those of its connections."""


class Server(uvicorn.Server):
    """HTTP server that its process stops, instead of a signal."""

    def __init__(
        self, app: ASGIApp, settings: Settings, port: int, refused: Callable[[str], None] = lambda _: None
    ) -> None:
        """Configure the server.

        Args:
            refused: called with the name of a bound that refused or ended a connection.
        """
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.connections = Connections(
            at_most=max(1, min(settings.connections, files - _OTHER_FILES)),
            of_a_source=settings.connections_of_a_source,
            trusted=trusting(settings.trusted_proxies),
            refused=refused,
        )
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=port,
                log_config=None,
                access_log=False,
                lifespan="off",
                http=bounded(self.connections),
                ws="none",
                timeout_keep_alive=IDLE_S,
                timeout_graceful_shutdown=10,
                server_header=False,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=settings.trusted_proxies,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        self.should_exit = True

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for listening in server.sockets:
                logger.info("listening", address="{}:{}".format(*listening.getsockname()[:2]))
