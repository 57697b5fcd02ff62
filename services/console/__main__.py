"""The console's process: `python -m services.console`."""

import argparse
import asyncio
import signal
import sys

import structlog
import uvloop

from services.console.app import NAME, ConsoleParts, make_app
from shared.runtime.logging import configure
from shared.runtime.server import Server
from shared.runtime.settings import edge_settings

logger = structlog.get_logger("console")


async def _serve(server: Server) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.drain)
    await server.serve()
    logger.info("stopped")


def main() -> None:
    argparse.ArgumentParser(prog=f"python -m services.{NAME}").parse_args()
    current = edge_settings()
    configure(NAME, current.log_as, current.log_level)
    parts = ConsoleParts(settings=current)
    try:
        app = make_app(parts)
    except (OSError, ValueError) as fault:
        sys.exit(f"A file of TENURE_COOKIE_KEY_FILE or TENURE_OIDC_PROVIDERS_FILE can't be used: {fault}")
    uvloop.run(_serve(Server(app, current, current.port_of(NAME), parts.metrics.limited)))


if __name__ == "__main__":
    main()
