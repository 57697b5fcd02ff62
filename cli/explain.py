"""Explanations of errors for the operator."""

import asyncpg
import httpx
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from cli.exit_codes import OWN_FAULT, REFUSED, UNREACHABLE, USAGE, OperatorError
from shared.eventlog.deliver.applying import Fault
from shared.eventlog.deliver.kafka import InvalidKafkaSettings
from shared.eventlog.repair import restore, scratch, topic
from shared.eventlog.repair.parked import CannotApply
from shared.eventlog.write.postgres import TRANSIENT
from shared.eventlog.write.store import Conflict, Unavailable
from shared.runtime.settings import Settings


def explain(error: Exception) -> tuple[str, int]:
    """Return what went wrong, in one sentence, and the exit code."""
    match error:
        case OperatorError():
            return str(error), error.code
        case CannotApply():
            return f"{_capital(str(error))}.", REFUSED
        case restore.RestoreRefused() | scratch.CannotRebuild() | scratch.CannotFold():
            return _capital(str(error)), REFUSED
        case topic.Missing() | topic.LogMismatch():
            return f"{_capital(str(error))}. Run `tenure verify` to check the whole log.", REFUSED
        case asyncpg.InvalidCatalogNameError():
            return (
                f"The database does not exist ({error}): run `python -m deploy.databases` to create it, or correct "
                "DATABASE_URL.",
                UNREACHABLE,
            )
        case asyncpg.UndefinedTableError() | asyncpg.UndefinedColumnError() | asyncpg.InvalidSchemaNameError():
            return (
                f"The database belongs to another version of Tenure ({error}): run `python -m deploy.databases` to "
                "migrate it.",
                UNREACHABLE,
            )
        case asyncpg.InsufficientPrivilegeError():
            return (
                f"The role lacks a privilege ({error}): set DATABASE_URL to that of the operator's role.",
                UNREACHABLE,
            )
        case asyncpg.InvalidAuthorizationSpecificationError():
            return f"PostgreSQL refused the login ({error}): correct DATABASE_URL.", UNREACHABLE
        case KafkaError():
            return f"Kafka can't be reached or failed ({_named(error)}): start it, or correct KAFKA_BOOTSTRAP.", 3
        case httpx.HTTPError():
            return f"The service does not answer ({_named(error)}): start it, or correct its TENURE_<SERVICE>_URL.", 3
        case Fault() | Unavailable() | Conflict():
            return f"It could not be done now ({error}), and no partial change was left. Try again in a moment.", 3
        case InvalidKafkaSettings():
            return str(error), USAGE
        case ValidationError() if error.title == Settings.__name__:
            return f"A setting in the environment is invalid: {error.errors()[0]['msg']}.", USAGE
        case _ if isinstance(error, TRANSIENT):
            return f"PostgreSQL can't be reached ({_named(error)}): start it, or correct DATABASE_URL.", UNREACHABLE
        case _:
            return f"This is a bug in tenure ({_named(error)}). Set TENURE_DEBUG=1 for a traceback.", OWN_FAULT


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
