"""Rebuilds a projection of entitlements in a process of its own: `python -m tests.system.rebuilding DSN SOURCE`, with
Kafka's address in the environment.

Writes a line of JSON for each progress, and the report as the last one.
"""

import asyncio
import json
import sys
from dataclasses import asdict

from services.entitlements.projections import POOLS
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.repair.rebuild import From, Rebuild, RebuildProgress


def _told(progress: RebuildProgress) -> None:
    print(json.dumps(progress._asdict()), flush=True)


async def main(dsn: str, access: KafkaAccess, source: From) -> None:
    report = await Rebuild("entitlements", POOLS, dsn, access, source=source, progress=_told).run()
    tables = {name: table._asdict() for name, table in report.tables.items()}
    print(json.dumps({**asdict(report), "tables": tables, "agrees": report.agrees}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], KafkaAccess.from_environment(), "kafka" if sys.argv[2] == "kafka" else "store"))
