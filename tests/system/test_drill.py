"""The drill's longest procedure, with a fixed seed: PostgreSQL restored to a moment, and the rest taken from Kafka."""

from pathlib import Path

import pytest

from deploy import stack
from tests.drill.backup import Backup, archiving
from tests.drill.course import drill
from tests.system.running import system

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.long]


def test_postgresql_is_restored_to_a_moment_and_reconciled(tmp_path: Path) -> None:
    with system(tmp_path, in_files=True) as whole:
        if not isinstance(whole.postgres, stack.Postgres):
            pytest.skip("PostgreSQL runs in a container: its data can't be lost from here")
        backup = Backup(tmp_path / "backup")
        archiving(whole.postgres, backup)
        drill(whole, backup, 1, print, "postgresql")
