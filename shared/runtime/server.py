"""The HTTP server of a process: uvicorn with bounded connections and no signal handling."""

import asyncio
import contextlib
import gc
import resource
from collections.abc import Callable, Iterator
from socket import socket
from typing import Final

import structlog
import uvicorn
from starlette.types import ASGIApp

from shared.runtime.connections import IDLE_S, Connections, bounded, trusting
from shared.runtime.drain import Drain
from shared.runtime.settings import Settings

logger = structlog.get_logger("service")

_OTHER_FILES: Final = 200
"""The file descriptors that a process needs besides those of its connections."""


_YOUNG: Final = 2_000
"""How many new objects the collector waits for; a hundred times as many before it looks through all of them.

A stream of events is 260 objects. With 1,000 streams and the default of 700, looking through all of them stopped the
process for 0.2 s every ten seconds. In 200,000 objects at most 20 MB can be garbage."""


class Server(uvicorn.Server):
    """HTTP server that its process stops, instead of a signal.

    A stop in order is `drain`: not ready any more, then, after the setting `drain_s`, no new connections, and, once the
    running requests are finished or after ten seconds, the end.
    """

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
        self._drain, self._drain_s = Drain(app), settings.drain_s
        super().__init__(
            uvicorn.Config(
                self._drain,
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

    def drain(self) -> None:
        """Begin to stop. Stop at once if that has begun before."""
        if self._drain.begun or not self._drain_s:
            self.stop()
            return
        self._drain.begun = True
        logger.info("draining", seconds=self._drain_s)
        asyncio.get_running_loop().call_later(self._drain_s, self.stop)

    def stop(self) -> None:
        """Take no more connections, finish the running requests and end."""
        self._drain.begun = self.should_exit = True

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        _collect_seldom()
        for server in self.servers:
            for listening in server.sockets:
                logger.info("listening", address="{}:{}".format(*listening.getsockname()[:2]))


def _collect_seldom() -> None:
    """Run the garbage collector, which stops the process, less often, and not over imports."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)
