"""Generated secrets: made once, readable by their owner alone."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.secrets import secret, write


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    first = secret("kafka-admin", tmp_path / "secrets")
    assert len(first) >= 32 and secret("kafka-admin", tmp_path / "secrets") == first
    assert secret("another", tmp_path / "secrets") != first


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o755)
    secret("one", folder)
    assert folder.stat().st_mode & 0o777 == 0o700 and (folder / "one").stat().st_mode & 0o777 == 0o600


def test_many_that_ask_at_once_are_told_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: secret("one", tmp_path / "secrets"), range(64)))) == 1
    assert [file.name for file in (tmp_path / "secrets").iterdir()] == ["one"]


def test_a_file_is_replaced_whole_unless_it_must_be_new(tmp_path: Path) -> None:
    write(tmp_path / "file", "first")
    write(tmp_path / "file", "second")
    with pytest.raises(FileExistsError):
        write(tmp_path / "file", "third", exclusive=True)
    assert (tmp_path / "file").read_text() == "second" and len(list(tmp_path.iterdir())) == 1
