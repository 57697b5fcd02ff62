"""One running system for the tests that don't need one of their own."""

from collections.abc import Iterator

import pytest

from tests.system.running import System, system


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with system(tmp_path_factory.mktemp("system")) as whole:
        yield whole
