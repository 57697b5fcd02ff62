"""The running systems that tests share: one for those that leave it whole, one for those that lose parts of it.

They end with this package's last test: idle, they would take a third of a core from the tests after it."""

from collections.abc import Iterator

import pytest

from tests.system.running import System, as_its_operator, console_of, system
from tests.system.scene import Scene, play


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """After a story; its webhooks may have receivers on this machine."""
    with system(tmp_path_factory.mktemp("system"), {"TENURE_WEBHOOK_NETWORKS": "127.0.0.0/8"}) as whole:
        whole.tell()
        yield whole


@pytest.fixture
def operated(running: System) -> Iterator[System]:
    """That system, where this process is its operator's."""
    with as_its_operator(running):
        yield running


@pytest.fixture(scope="module")
def console(running: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of that system's pages."""
    with console_of(running, tmp_path_factory.mktemp("console")) as url:
        yield url


@pytest.fixture(scope="package")
def expendable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """After a story; its databases, its topics and its server's data may be lost."""
    with system(tmp_path_factory.mktemp("expendable")) as whole:
        whole.tell()
        yield whole


@pytest.fixture(scope="package")
def scene(running: System) -> Scene:
    """Of that system: a story of which everybody is still signed in."""
    return play(running)
