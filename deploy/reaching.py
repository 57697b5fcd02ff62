"""What a command says when it can't reach the system, and which command makes that."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import asyncpg

from deploy import ROOT, STATE, OperatorError
from shared.eventlog.deliver.kafka import InvalidKafkaSettings
from shared.eventlog.migrate import NotMigrated
from shared.eventlog.write.postgres import TRANSIENT

UNREACHABLE: Final = (
    *TRANSIENT,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)
"""Errors of a database that isn't there, or doesn't let this user in."""


def remedy(variable: str, state: Path = STATE) -> str:
    """Return how this variable is set: by the file that `make up` writes, or by hand."""
    file = state / "run" / "addresses.env"
    shown = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
    if os.environ.get(variable):
        return f"{variable} is set: correct it, or start the server that it names."
    if file.exists():
        return f"{variable} is not set: run `. {shown}` in this shell, and `make up` if the system is down."
    return (
        f"{variable} is not set, and there is no {shown}: run `make up`, which writes it, and then `. {shown}` in this "
        f"shell. For another server, set {variable}."
    )


@contextmanager
def asking_database(service: str) -> Iterator[None]:
    """Turn the errors of a service's database that can't be asked into one for a person.

    Raises:
        OperatorError: The database can't be reached, refuses the user, or lacks a migration.
    """
    try:
        yield
    except NotMigrated as error:
        raise OperatorError(f"{error}.") from error
    except InvalidKafkaSettings as error:
        raise OperatorError(str(error)) from error
    except UNREACHABLE as error:
        reason = str(error) or type(error).__name__
        raise OperatorError(f"{service}'s database can't be asked ({reason}). {remedy('DATABASE_URL')}") from error
