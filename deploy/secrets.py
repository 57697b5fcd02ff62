"""Generated secrets of a system on this machine: STATE/secrets, mode 0700, one file each, mode 0600.

Those of the containers are made by `python -m deploy.secrets`, which needs nothing installed.
"""

import os
import secrets
from pathlib import Path
from typing import Final

from deploy import LOCAL, STATE
from shared.services import SERVICES

FOLDER: Final = STATE / "secrets"
COMPOSE: Final = LOCAL / "compose"
"""Where docker-compose.yml finds the containers' secrets. They are mounted as they are, and the user of a container is
nobody on this machine: so the folder keeps others out, and the files in it may be read."""
COMPOSE_NAMES: Final = (
    *(f"postgres-{name}" for name in ("admin", "operator", *SERVICES)),
    *(f"kafka-{name}" for name in ("admin", "broker", "controller", "operator", *SERVICES)),
    *(f"kafka-{name}" for name in ("publisher-autodesk", "dashboard")),
)
COMPOSE_FOLDERS: Final = ("kafka-authority", "kafka", "kafka-ca")
"""What the container `certificates` fills: with what it alone may read, what the broker may, and what clients trust."""


def secret(name: str, folder: Path = FOLDER) -> str:
    """Return the secret of this name; generate it when it is first asked for."""
    file = folder / name
    try:
        return file.read_text()
    except FileNotFoundError:
        make_folder(file.parent)
    made = generated()
    try:
        write(file, made, exclusive=True)
    except FileExistsError:  # another process was first
        return file.read_text()
    return made


def renewed(name: str, folder: Path = FOLDER) -> str:
    """Put another secret in this one's place, and return it."""
    made = generated()
    make_folder(folder)
    write(folder / name, made)
    return made


def generated() -> str:
    """A new secret: 192 random bits in letters, digits and underscores, so that no URL, shell or option escapes it."""
    return secrets.token_urlsafe(24).replace("-", "_")


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


_FROM_THE_HOST: Final = """\
export KAFKA_BOOTSTRAP="127.0.0.1:${{KAFKA_PORT:-9094}}" KAFKA_SECURITY=sasl_tls KAFKA_CA_FILE='{0}/kafka-ca/ca.pem'
export KAFKA_USERNAME=operator KAFKA_PASSWORD_FILE='{0}/kafka-operator'
export KAFKA_PUBLISHER_PASSWORD_FILE='{0}/kafka-publisher-autodesk'
"""
"""For a shell on the host: how the operator, and the publisher whose system the story plays, reach the containers'
Kafka."""


def main() -> None:
    folder = Path(os.environ.get("TENURE_SECRETS") or COMPOSE).absolute()
    for name in COMPOSE_NAMES:
        secret(name, folder)
        (folder / name).chmod(0o444)
    for name in COMPOSE_FOLDERS:
        (folder / name).mkdir(exist_ok=True)
    write(folder / "operator.env", _FROM_THE_HOST.format(folder))


if __name__ == "__main__":
    main()
