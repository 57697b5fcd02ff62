"""The operations server's process: `python -m cli.serving`."""

import argparse
import asyncio
import os
import signal
import sys
from typing import Final

import structlog
import uvloop

from cli.app import load_verbs
from cli.context import environment
from cli.serving.app import ServerParts, listed_verbs, make_app
from shared.eventlog.deliver.kafka import InvalidKafkaSettings
from shared.runtime.logging import configure
from shared.runtime.server import Server
from shared.runtime.settings import Settings
from shared.runtime.traces import tracer_of
from shared.services import OPERATIONS

logger = structlog.get_logger("operations")

STOP_S: Final = 15.0
"""How long operations that run may go on when the process is stopped."""


async def _serve(server: Server, parts: ServerParts) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.drain)
    loading = asyncio.create_task(asyncio.to_thread(listed_verbs))  # loads the services' code before the first request
    measuring = asyncio.create_task(parts.latency.run())
    await server.serve()
    measuring.cancel()
    await asyncio.gather(measuring, return_exceptions=True)
    await loading
    await parts.operations.stop(STOP_S)
    logger.info("stopped")


def main() -> None:
    argparse.ArgumentParser(prog="python -m cli.serving").parse_args()
    os.environ.update(environment())  # as the command line: where nothing is named, the system of this machine
    try:
        current = Settings()
    except InvalidKafkaSettings as why:
        sys.exit(str(why))
    configure(OPERATIONS, current.log_as, current.log_level)
    load_verbs()
    parts = ServerParts(settings=current)
    parts.tracer = tracer = tracer_of(OPERATIONS, parts.metrics)
    uvloop.run(_serve(Server(make_app(parts), current, current.port_of(OPERATIONS), parts.metrics.limited), parts))
    if tracer is not None:
        tracer.close()


if __name__ == "__main__":
    main()
