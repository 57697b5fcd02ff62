"""Generated secrets of a system: one file each (mode 0600) in STATE/secrets (mode 0700).

`python -m deploy.secrets` generates those of the containers; it needs no installed packages.
"""

import os
import secrets
from pathlib import Path
from typing import Final

from deploy import LOCAL, STATE
from shared.services import EDGES, SERVICES

FOLDER: Final = STATE / "secrets"
COMPOSE: Final = LOCAL / "compose"
"""The containers' secrets. They are mounted with their modes, and a container's user has no name on this machine; so
the files are readable by everybody, and only the folder is protected."""
COMPOSE_NAMES: Final = (
    *(f"postgres-{name}" for name in ("admin", "operator", *SERVICES)),
    *(f"kafka-{name}" for name in ("admin", "broker", "controller", "operator", *SERVICES, *EDGES)),
    *(f"kafka-{name}" for name in ("publisher-autodesk", "dashboard")),
    *(f"cookies-{name}" for name in EDGES),
    *("kafka-viewer", "kafka-ui", "grafana-admin"),  # of the profiles kafka-ui and observability
)
COMPOSE_FOLDERS: Final = ("kafka-authority", "kafka", "kafka-ca")
"""The folders that the container `certificates` fills: for itself, for the broker, for all clients."""


def secret(name: str, folder: Path = FOLDER) -> str:
    """Return the secret of this name; generate it if it does not exist."""
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
    """Replace a secret by a new one, and return it."""
    made = generated()
    replace(name, made, folder)
    return made


def replace(name: str, value: str, folder: Path = FOLDER) -> None:
    """Replace a secret by this value."""
    make_folder(folder)
    write(folder / name, value)


def generated() -> str:
    """Return 192 random bits as letters, digits and underscores, which need no escaping."""
    return secrets.token_urlsafe(24).replace("-", "_")


def make_folder(folder: Path) -> None:
    """Create a folder that only its owner can enter."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)


def write(file: Path, text: str, *, exclusive: bool = False) -> None:
    """Write a file atomically, readable by its owner only.

    Raises:
        FileExistsError: The file exists, and `exclusive` is true.
    """
    draft = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    try:
        if exclusive:
            os.link(draft, file)  # unlike a rename, a link never replaces an existing file
        else:
            draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


_FROM_THE_HOST: Final = """\
export KAFKA_BOOTSTRAP="127.0.0.1:${{KAFKA_PORT:-9094}}" KAFKA_SECURITY=sasl_tls KAFKA_CA_FILE='{0}/kafka-ca/ca.pem'
export KAFKA_USERNAME=operator KAFKA_PASSWORD_FILE='{0}/kafka-operator'
export KAFKA_PUBLISHER_PASSWORD_FILE='{0}/kafka-publisher-autodesk'
export TENURE_CONSOLE_URL="http://127.0.0.1:${{CONSOLE_PORT:-8100}}"
"""
"""Variables for a shell on the host: access to the containers' Kafka, as operator and publisher, and the pages."""


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
