"""Generated secrets of a system on this machine: STATE/secrets, mode 0700, one file each, mode 0600.

Those of the containers are made by `python -m deploy.secrets`, which needs nothing installed.
"""

import os
import secrets
from pathlib import Path
from typing import Final

from deploy import LOCAL, STATE

FOLDER: Final = STATE / "secrets"
COMPOSE: Final = LOCAL / "compose"
"""Where docker-compose.yml finds the containers' secrets. They are mounted as they are, and the user of a container is
nobody on this machine: so the folder keeps others out, and the files in it may be read."""
COMPOSE_NAMES: Final = tuple(
    f"postgres-{name}" for name in ("admin", "operator", "identity", "marketplace", "entitlements", "distribution")
)


def secret(name: str, folder: Path = FOLDER) -> str:
    """Return the secret of this name; generate it, 192 random bits, when it is first asked for."""
    file = folder / name
    try:
        return file.read_text()
    except FileNotFoundError:
        make_folder(file.parent)
    made = _made()
    try:
        write(file, made, exclusive=True)
    except FileExistsError:  # another process was first
        return file.read_text()
    return made


def renewed(name: str, folder: Path = FOLDER) -> str:
    """Put another secret in this one's place, and return it."""
    made = _made()
    make_folder(folder)
    write(folder / name, made)
    return made


def _made() -> str:
    return secrets.token_urlsafe(24).replace("-", "_")  # no dash: one at the front would read as a command's option


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)


def write(file: Path, text: str, *, exclusive: bool = False) -> None:
    """Write a file that only its owner may read, whole or not at all.

    Raises:
        FileExistsError: it exists, and `exclusive` says that it must not.
    """
    draft = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    try:
        if exclusive:
            os.link(draft, file)  # unlike a rename, it never replaces what is there
        else:
            draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def main() -> None:
    for name in COMPOSE_NAMES:
        secret(name, COMPOSE)
        (COMPOSE / name).chmod(0o444)


if __name__ == "__main__":
    main()
