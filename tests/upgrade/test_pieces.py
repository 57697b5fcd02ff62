"""What the run of an upgrade is made of: the load balancer, the former tree, and what counts as amiss."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.processes import free_port
from deploy.stack import HOST
from tests.upgrade.balancer import Balancer
from tests.upgrade.load import LONGEST_WAIT_S, Caller, Sent, amiss
from tests.upgrade.trees import NoTree, different, former

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def process(name: str, *, ready: bool = True) -> Handler:
    """Something that answers `/ready`, and everything else with its name."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /ready")
        status = b"503 No" if asked and not ready else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\n\r\n" + name.encode())
        writer.close()

    return answer


@asynccontextmanager
async def balanced(*handlers: Handler) -> AsyncIterator[tuple[Balancer, list[asyncio.Server]]]:
    servers = [await asyncio.start_server(handler, HOST, 0) for handler in handlers]
    balancer = Balancer(free_port(), [server.sockets[0].getsockname()[1] for server in servers])
    running = asyncio.create_task(balancer.run())
    try:
        yield balancer, servers
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        for server in servers:
            server.close()


async def asked(balancer: Balancer) -> str:
    reader, writer = await asyncio.open_connection(HOST, balancer.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.rpartition(b"\r\n")[2].decode()


async def test_only_a_process_that_is_ready_is_asked() -> None:
    async with balanced(process("first", ready=False), process("second")) as (balancer, _):
        await balancer.sees(balancer.backends[1])
        assert [await asked(balancer) for _ in range(4)] == ["second"] * 4


async def test_a_connection_that_one_process_refuses_goes_to_the_other() -> None:
    async with balanced(process("first"), process("second")) as (balancer, servers):
        for port in balancer.backends:
            await balancer.sees(port)
        servers[0].close()
        await servers[0].wait_closed()
        assert [await asked(balancer) for _ in range(2)] == ["second"] * 2


async def test_a_connection_that_nobody_takes_is_counted() -> None:
    async with balanced(process("first", ready=False)) as (balancer, _):
        async with asyncio.timeout(10):
            while not balancer.rejected:
                try:
                    await asked(balancer)
                except OSError:
                    await asyncio.sleep(0.01)  # it is not listening yet


def sent(*, waited_s: float = 0.1, status: int = 200) -> Sent:
    who = Caller(email="ana@x.example")
    return Sent(
        service="identity", request=("PUT", "/me", {}), who=who, key="k", began=0.0, waited_s=waited_s, status=status
    )


def test_answered_commands_are_not_amiss() -> None:
    assert amiss([sent(), sent(waited_s=LONGEST_WAIT_S)], []) == []


@pytest.mark.parametrize(
    ("answered", "unknown"),
    [
        ([], []),
        ([sent()], [sent()]),
        ([sent(), sent(waited_s=LONGEST_WAIT_S + 0.1)], []),
        ([sent(), sent(status=409)], []),
    ],
    ids=["nothing was done", "one has no answer", "one waited too long", "one was refused"],
)
def test_anything_else_is(answered: list[Sent], unknown: list[Sent]) -> None:
    assert len(amiss(answered, unknown)) == 1


def test_a_revision_that_this_clone_does_not_have_is_said() -> None:
    with pytest.raises(NoTree, match="does not have the revision 0123456"):
        former("0123456" * 5 + "01234")


def test_a_tree_with_another_version_of_a_package_needs_a_python_of_its_own(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "no-such-package==1.0 ; python_full_version < '3' \\\n    --hash=sha256:0\n"
        "asyncpg==0.0.1 \\\n    --hash=sha256:0\n"
    )
    assert different(tmp_path) == ["asyncpg==0.0.1"]
