"""What went wrong, in one sentence for the operator."""

import asyncpg
import httpx
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from cli.exit_codes import OWN_FAULT, REFUSED, UNREACHABLE, USAGE, OperatorError
from shared.eventlog.deliver.consumer import Fault
from shared.eventlog.deliver.kafka import InvalidKafkaSettings
from shared.eventlog.repair import restore, scratch, topic
from shared.eventlog.repair.parked import CannotApply
from shared.eventlog.write.postgres import TRANSIENT
from shared.eventlog.write.store import Conflict, Unavailable


def explained(error: Exception) -> tuple[str, int]:
    """What went wrong in one sentence, and the exit code."""
    match error:
        case OperatorError():
            return str(error), error.code
        case CannotApply():
            return f"{_capital(str(error))}.", REFUSED
        case restore.RestoreRefused() | scratch.CannotRebuild() | scratch.CannotFold():
            return _capital(str(error)), REFUSED
        case topic.Missing() | topic.LogMismatch():
            return f"{_capital(str(error))}. `tenure verify` looks at all of it.", REFUSED
        case asyncpg.InvalidCatalogNameError():
            return (
                f"PostgreSQL has no such database ({error}): `python -m deploy.databases` makes it; or correct "
                "DATABASE_URL.",
                UNREACHABLE,
            )
        case asyncpg.UndefinedTableError() | asyncpg.UndefinedColumnError() | asyncpg.InvalidSchemaNameError():
            return (
                f"The database is not of this version of Tenure ({error}): `python -m deploy.databases` brings it "
                "up to date.",
                UNREACHABLE,
            )
        case asyncpg.InsufficientPrivilegeError():
            return f"PostgreSQL refuses this role ({error}): DATABASE_URL should name the operator's.", UNREACHABLE
        case asyncpg.InvalidAuthorizationSpecificationError():
            return f"PostgreSQL does not let us in ({error}): correct DATABASE_URL.", UNREACHABLE
        case KafkaError():
            return f"Kafka does not answer as it should ({_envelope(error)}): start it, or correct KAFKA_BOOTSTRAP.", 3
        case httpx.HTTPError():
            return f"The service does not answer ({_envelope(error)}): start it, or correct its TENURE_SERVICE_URL.", 3
        case Fault() | Unavailable() | Conflict():
            return f"It could not be done now, and nothing was left half done ({error}): try again in a moment.", 3
        case InvalidKafkaSettings():
            return str(error), USAGE
        case ValidationError():
            return f"A setting in the environment can't be read: {error.errors()[0]['msg']}.", USAGE
        case _ if isinstance(error, TRANSIENT):
            return f"PostgreSQL can't be reached ({_envelope(error)}): start it, or correct DATABASE_URL.", UNREACHABLE
        case _:
            return f"This is a bug in tenure ({_envelope(error)}): TENURE_DEBUG=1 shows where.", OWN_FAULT


def _envelope(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
