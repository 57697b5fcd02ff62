"""Roles, databases and migrations of the services: `python -m deploy.databases`.

Run it before the services start. DATABASE_URL names the server and a user that may create roles (the superuser). For
each service there is a database `tenure_<service>`, its owner role `tenure_<service>_owner`, which cannot log in, and
the role `tenure_<service>` of the service's processes. `tenure_operator` is a member of each owner role, for migrations
and the operator's command. If the user of DATABASE_URL is `tenure_operator`, the roles must exist (`--sql` prints the
statements that create them), and only the migrations run. A path in DATABASE_URL replaces `tenure` in all these names.

Passwords are secrets named `postgres-<service>` and `postgres-operator`; missing ones are generated.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from deploy import OperatorError, secrets
from deploy.secrets import FOLDER, secret
from services import migrations_of
from shared.eventlog.migrate import NotMigrated, migrate, operator_of, owner_of
from shared.services import SERVICES
from shared.sql import statements, with_names

OPERATOR: Final = "operator"
LOGINS: Final = (*SERVICES, OPERATOR)
SQL: Final = statements(__file__)
_ITERATIONS: Final = 4096
_PREFIX: Final = re.compile(r"^[a-z][a-z0-9_]{0,40}$")

Passwords = Callable[[str], str]
"""A function from a login (`identity`, `operator`) to its password."""


def generated(login: str) -> str:
    """Return the password of a login of this machine's system."""
    return secret(f"postgres-{login}")


def prefix_of(url: str) -> str:
    """Return the prefix of the databases' and roles' names.

    Raises:
        OperatorError: The prefix in the URL is invalid.
    """
    prefix = urlsplit(url).path.strip("/") or "tenure"
    if not _PREFIX.match(prefix):
        raise OperatorError(
            f"DATABASE_URL ends in {prefix!r}: name a prefix of at most 41 letters (a to z), digits and _."
        )
    return prefix


def url_of(url: str, login: str, password: str | None) -> str:
    """Return the URL of the same server for another login.

    Without a password, clients read it from a file.
    """
    parts = urlsplit(url)
    user = f"{prefix_of(url)}_{login}" + ("" if password is None else f":{quote(password, safe='')}")
    return urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}"))


def verifier(password: str, salt: bytes) -> str:
    """Return a password's verifier as PostgreSQL stores it (SCRAM-SHA-256, RFC 5803)."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    parts = [base64.b64encode(part).decode() for part in (salt, stored, hmac.digest(salted, b"Server Key", "sha256"))]
    return f"SCRAM-SHA-256${_ITERATIONS}:{parts[0]}${parts[1]}:{parts[2]}"


def role_statements(
    prefix: str, passwords: Passwords, services: Sequence[str], *, whole_cluster: bool
) -> Iterator[str]:
    """Yield the SQL that creates roles or sets existing ones' passwords and memberships."""
    operator = operator_of(prefix)
    yield with_names(SQL["role"], role=operator)
    yield with_names(SQL["operator"], role=operator, verifier=verifier(passwords(OPERATOR), os.urandom(16)))
    for name in services:
        service, owner = f"{prefix}_{name}", owner_of(f"{prefix}_{name}")
        yield with_names(SQL["role"], role=service)
        yield with_names(SQL["role"], role=owner)
        yield with_names(SQL["login"], role=service, verifier=verifier(passwords(name), os.urandom(16)))
        yield with_names(SQL["owner"], owner=owner, service=service, operator=operator)
    if whole_cluster:
        yield SQL["others"]


async def make_roles(
    url: str, passwords: Passwords = generated, services: Sequence[str] = SERVICES, *, whole_cluster: bool = False
) -> None:
    """Create the roles, and give existing databases to their owner roles.

    Args:
        whole_cluster: The server is used by Tenure only, so close `postgres` and `template1` to other roles, too.

    Raises:
        OperatorError: An existing role has more rights than it should.
        asyncpg.PostgresError, OSError: The server can't be reached, or the user lacks a privilege.
    """
    prefix = prefix_of(url)
    admin = await asyncpg.connect(_database(url, "postgres"), timeout=5)
    try:
        async with admin.transaction():
            await admin.execute(SQL["lock"])
            for statement in role_statements(prefix, passwords, services, whole_cluster=whole_cluster):
                await admin.execute(statement)
            roles = [f"{prefix}_{name}" for name in (OPERATOR, *services)]
            roles += [owner_of(f"{prefix}_{name}") for name in services]
            powerful = await admin.fetchval(SQL["powerful"], roles, operator_of(prefix))
            if powerful is not None:
                raise OperatorError(
                    f"The role {powerful} has attributes that it must not have, such as superuser: remove them."
                )
        for name in services:
            await _adopt(admin, url, f"{prefix}_{name}")
    finally:
        await admin.close()


async def _adopt(admin: "asyncpg.Connection[asyncpg.Record]", url: str, database: str) -> None:
    """Give an existing database, and all objects in it, to its owner role."""
    owner = owner_of(database)
    if not await admin.fetchval(SQL["exists"], database):
        return
    inside = await asyncpg.connect(_database(url, database), timeout=5)
    try:
        async with inside.transaction():
            await inside.execute(with_names(SQL["adopt"], owner=owner))
            if await inside.fetchval(SQL["owned_by"], database) != owner:
                await inside.execute(with_names(SQL["give"], database=database, owner=owner))
    finally:
        await inside.close()


async def prepare(
    url: str, passwords: Passwords = generated, services: Sequence[str] = SERVICES, *, whole_cluster: bool = False
) -> None:
    """Create roles, unless `url` names the operator; then create and migrate the databases.

    Raises:
        OperatorError: The server can't be reached, or refuses.
    """
    try:
        if urlsplit(url).username != operator_of(prefix_of(url)):
            await make_roles(url, passwords, services, whole_cluster=whole_cluster)
            url = url_of(url, OPERATOR, passwords(OPERATOR))
        for name in services:
            await migrate(_database(url, f"{prefix_of(url)}_{name}"), migrations_of(name))
    except asyncpg.InsufficientPrivilegeError as error:
        raise OperatorError(
            f"PostgreSQL refuses the user of DATABASE_URL ({error}): name one that may create roles, or have an "
            "administrator run what `python -m deploy.databases --sql` prints, and name the operator."
        ) from error
    except NotMigrated as error:
        raise OperatorError(f"PostgreSQL could not be prepared: {error}.") from error
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise OperatorError(f"PostgreSQL could not be prepared ({type(error).__name__}: {error}).") from error


async def rotate(url: str, login: str, password: str) -> None:
    """Set a login's password and end its open sessions.

    `url` must be that of a user with the privilege to do so.

    Raises:
        OperatorError: The server can't be reached, or refuses.
    """
    role = f"{prefix_of(url)}_{login}"
    try:
        admin = await asyncpg.connect(_database(url, "postgres"), timeout=5)
        try:
            statement = SQL["operator" if login == OPERATOR else "login"]
            await admin.execute(with_names(statement, role=role, verifier=verifier(password, os.urandom(16))))
            await admin.execute(SQL["end_sessions"], role)
        finally:
            await admin.close()
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise OperatorError(f"PostgreSQL refused the password ({type(error).__name__}: {error}). Is it up?") from error


def service_environment(url: str, service: str, secrets_folder: Path = FOLDER) -> dict[str, str]:
    """Return the variables of a service's processes: their role's URL and password file."""
    return {
        "DATABASE_URL": url_of(url, service, None),
        "DATABASE_PASSWORD_FILE": str(secrets_folder / f"postgres-{service}"),
    }


def _database(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(scheme="postgresql", path=f"/{database}"))


def _server() -> str:
    """Return DATABASE_URL, or the URL of this machine's server."""
    if os.environ.get("DATABASE_URL"):
        from shared.runtime.settings import settings  # imported here because its import takes a second

        return settings().server_url()
    from deploy.system import superuser_url  # which imports this module

    return superuser_url()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.databases", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sql", action="store_true", help="only print the SQL that creates the roles, for an administrator"
    )
    parser.add_argument(
        "--whole-cluster", action="store_true", help="the server is used by Tenure only: close its other databases, too"
    )
    parser.add_argument(
        "--rotate",
        choices=LOGINS,
        help="replace this login's password and end its sessions; restart its processes afterwards",
    )
    chosen = parser.parse_args()
    try:
        url = _server()
        if chosen.sql:
            print("\n".join(role_statements(prefix_of(url), generated, SERVICES, whole_cluster=chosen.whole_cluster)))
        elif chosen.rotate:
            password = secrets.generated()
            asyncio.run(rotate(url, chosen.rotate, password))
            secrets.replace(f"postgres-{chosen.rotate}", password)
            print(f"{prefix_of(url)}_{chosen.rotate} has a new password: restart the processes that use it.")
        else:
            asyncio.run(prepare(url, whole_cluster=chosen.whole_cluster))
            print(f"The roles are complete, and {len(SERVICES)} databases are migrated.")
    except OperatorError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
