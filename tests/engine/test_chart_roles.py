"""The roles of the Helm chart, as CloudNativePG makes them, are enough for the migrations and the services."""

import os
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from deploy import chart
from deploy.databases import OPERATOR, prepare, url_of
from services import migrations_of
from shared.eventlog.migrate import require_migrated
from shared.services import SERVICES
from tests.databases import PASSWORD, password
from tests.system import parts

pytestmark = pytest.mark.system


def alteration(role: dict[str, Any]) -> str:
    """The statement by which CloudNativePG gives a role its attributes."""
    attributes = [word if role.get(word) else f"no{word}" for word in ("login", "createdb")]
    secret = f"password '{PASSWORD}'" if "passwordSecret" in role else ""
    return f'alter role "{role["name"]}" nosuperuser nocreaterole noreplication inherit {" ".join(attributes)} {secret}'


async def test_the_operator_migrates_and_the_services_connect(
    postgres: parts.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = f"chart_{os.getpid()}"
    monkeypatch.setattr(chart, "PREFIX", prefix)
    admin = await asyncpg.connect(f"{postgres.url}/postgres")
    for statement in chart.first_statements():
        await admin.execute(statement)
    for role in chart.roles():
        await admin.execute(alteration(role))
        for group in role.get("inRoles", ()):
            await admin.execute(f'grant "{group}" to "{role["name"]}"')
    await admin.close()

    server = f"{postgres.url}/{prefix}"
    operator = url_of(server, OPERATOR, PASSWORD)
    assert urlsplit(operator).username == f"{prefix}_operator"
    await prepare(operator, password, SERVICES)
    for service in SERVICES:
        await require_migrated(f"{url_of(server, service, PASSWORD)}_{service}", migrations_of(service))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(f"{url_of(server, service, PASSWORD).rpartition('/')[0]}/postgres")
