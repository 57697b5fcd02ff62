"""Every page that an example person comes to: `python -m tests.benchmarks.pages`.

The documents are asked for one after the other as a browser on the same machine would, with a session of each kind of
person. TENURE_CONSOLE_URL is a running system with the people of `make up`; without it, one is started for the run.
"""

import asyncio
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import httpx

from deploy import example
from deploy.processes import free_port
from deploy.service import ServicePart
from deploy.system import edge_environment
from shared.services import url_variable
from tests.benchmarks.measure import Result, quantiles, say
from tests.console.walking import EXAMPLES, Way, path_of, signed_in
from tests.system.running import system

REPEATS: Final = 20
MOST_MS: Final = 300.0
MOST_BYTES: Final = 100_000
"""Of a page with all that it loads."""


def main() -> None:
    if url := os.environ.get(url_variable("console")):
        say(asyncio.run(measured(url)))
        return
    with ExitStack() as stack:
        folder, port = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pages-"))), free_port()
        url = f"http://127.0.0.1:{port}"
        behind = stack.enter_context(system(folder, {url_variable("console"): url, "TENURE_PUBLIC_URL": url})).env
        console = ServicePart("console", folder / "console", port, env=edge_environment(behind))
        stack.callback(console.kill)
        console.start()
        os.environ.update(behind)
        asyncio.run(example.prepare())
        say(asyncio.run(measured(url)))


async def measured(url: str) -> Result:
    """Measure the pages of each person."""
    found: Result = {}
    for role in EXAMPLES:
        async with httpx.AsyncClient(base_url=url, timeout=30) as browser:
            await signed_in(browser, role.email)
            way = Way()
            while address := way.next():
                page = await browser.get(address, follow_redirects=True)
                way.found(page.text)
                found[f"{role.role}: {path_of(address)}"] = await _measure(browser, page.url.path)
    return found


async def _measure(browser: httpx.AsyncClient, address: str) -> Result:
    taken: list[int] = []
    sizes, statuses = set[int](), set[int]()
    for _ in range(REPEATS):
        began = time.perf_counter_ns()
        async with browser.stream("GET", address) as answer:
            sizes.add(sum([len(part) async for part in answer.aiter_raw()]))
        taken.append(time.perf_counter_ns() - began)
        statuses.add(answer.status_code)
    return {**quantiles(taken), "bytes": max(sizes), "status": max(statuses)}


if __name__ == "__main__":
    main()
