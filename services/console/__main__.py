"""The console's process: `python -m services.console`."""

import argparse
import asyncio
import signal
import sys
from typing import Final

import structlog
import uvloop

from services.console.app import NAME, ConsoleParts, make_app
from services.console.live.edge import LiveEdge
from shared.eventlog.deliver.kafka import InvalidKafkaSettings
from shared.runtime.logging import configure
from shared.runtime.server import Server
from shared.runtime.settings import edge_settings
from shared.runtime.traces import tracer_of

logger = structlog.get_logger("console")


UNREAD_S: Final = 10.0
"""How long a client may leave events or a page unread. With what buffers hold, a frozen one is dropped within 30 s."""


async def _serve(server: Server, live: LiveEdge | None) -> None:
    loop = asyncio.get_running_loop()

    def drain() -> None:
        if live is not None:
            live.drain()
        server.drain()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, drain)
    server.connections.unread_s = UNREAD_S
    await server.serve()
    if live is not None:
        await live.stop()
    logger.info("stopped")


def main() -> None:
    argparse.ArgumentParser(prog=f"python -m services.{NAME}").parse_args()
    try:
        current = edge_settings()
    except InvalidKafkaSettings as why:
        sys.exit(str(why))
    configure(NAME, current.log_as, current.log_level)
    parts = ConsoleParts(settings=current)
    parts.tracer = tracer = tracer_of(NAME, parts.metrics)
    try:
        app = make_app(parts)
    except (OSError, ValueError) as fault:
        sys.exit(f"A file of TENURE_COOKIE_KEY_FILE or TENURE_OIDC_PROVIDERS_FILE can't be used: {fault}")
    uvloop.run(_serve(Server(app, current, current.port_of(NAME), parts.metrics.limited), parts.live))
    if tracer is not None:
        tracer.close()


if __name__ == "__main__":
    main()
