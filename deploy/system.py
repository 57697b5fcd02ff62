"""The complete system on one machine: its parts, and the order in which they start."""

import asyncio
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from deploy import PORT_BASE, STATE, OperatorError, databases, port_of, secrets, topics
from deploy.broker import Protection
from deploy.cast import PUBLISHER
from deploy.catcher import MailCatcher
from deploy.files import ADDRESSES, EXAMPLE, KCAT, RUN, URLS, files_of
from deploy.forked import ForkedProcess
from deploy.service import ServicePart
from deploy.stack import HOST, Kafka, Part, Postgres
from deploy.supervisor import Supervisor
from shared.eventlog.deliver.kafka import VARIABLES as KAFKA_VARIABLES
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.services import EDGES, OPERATIONS, SERVICES, url_variable

_DATA_WITHIN_S: Final = 120


def stores() -> list[Part]:
    """Return PostgreSQL and Kafka, unless DATABASE_URL and KAFKA_BOOTSTRAP name others."""
    parts: list[Part] = []
    if not os.environ.get("DATABASE_URL"):
        parts.append(Postgres(STATE / "data" / "postgres", PORT_BASE + 10, **files_of("postgres")))
    if not os.environ.get("KAFKA_BOOTSTRAP"):
        protection = Protection(secrets.FOLDER)
        folder, ports = STATE / "data" / "kafka", (PORT_BASE + 11, PORT_BASE + 12)
        parts.append(Kafka(folder, *ports, protection=protection, **files_of("kafka")))
    return parts


def superuser_url() -> str:
    """Return the superuser's URL of this machine's PostgreSQL.

    Raises:
        OperatorError: There is no PostgreSQL on this machine.
    """
    for part in stores():
        if isinstance(part, Postgres):
            try:
                return part.url
            except FileNotFoundError:
                break
    raise OperatorError(
        "There is no PostgreSQL on this machine: run `make up`, or set DATABASE_URL to that of another server."
    )


def catcher() -> list[MailCatcher]:
    """Return the mail catcher, unless mails are sent elsewhere."""
    if os.environ.get("TENURE_SMTP_URL") or os.environ.get("TENURE_MAIL_FOLDER"):
        return []
    return [MailCatcher(STATE / "mail", RUN, PORT_BASE + 8, forked=True, **files_of("mail"))]


def services(env: Mapping[str, str], running: Sequence[Part] = ()) -> list[Part]:
    """Return the services and edges, each with its own credentials, and the mail catcher.

    `env` has the operator's variables; it is empty if the services are not to be started.
    """
    postgres = {name: databases.service_environment(env["DATABASE_URL"], name) if env else {} for name in SERVICES}
    own = {name: {**env, **postgres[name], **kafka_environment(running, name)} for name in SERVICES}
    named = [ServicePart(name, RUN, port_of(name), env=own[name], forked=True, **files_of(name)) for name in SERVICES]
    for name in EDGES:
        key = {"TENURE_COOKIE_KEY_FILE": str(secrets.FOLDER / f"cookies-{name}")}
        told = {**edge_environment(env), **kafka_environment(running, name), **key}
        named.append(ServicePart(name, RUN, port_of(name), env=told, forked=True, **files_of(name)))
    return [*named, *catcher()]


def operations(env: Mapping[str, str], running: Sequence[Part] = ()) -> list[Part]:
    """Return the operations server, with the operator's credentials."""
    own, files = {**env, **kafka_environment(running, "operator")}, files_of(OPERATIONS)
    return [ServicePart(OPERATIONS, RUN, port_of(OPERATIONS), env=own, module="cli.serving", forked=True, **files)]


def edge_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return an edge's variables: the services' URLs, and no credentials of PostgreSQL."""
    return {name: value for name, value in env.items() if name.startswith("TENURE_")}


def kafka_environment(running: Sequence[Part], user: str) -> dict[str, str]:
    """Return a user's variables for the local Kafka, or the environment's for another one."""
    for part in running:
        if isinstance(part, Kafka):
            return part.access_of(user).environment()
    return {name: os.environ.get(name, "") for name in KAFKA_VARIABLES}


def operators(env: Mapping[str, str], running: Sequence[Part]) -> dict[str, str]:
    """Return the environment of the operator's command, the story and the example data.

    It has the operator's credentials, and those of the publisher whose system the story simulates.
    """
    found = {**env, **kafka_environment(running, "operator")}
    for part in running:
        if isinstance(part, Kafka):
            publisher = part.access_of(f"publisher-{PUBLISHER}")
            found["KAFKA_PUBLISHER_PASSWORD"] = publisher.password or ""
    return found


def addresses(running: Sequence[Part]) -> dict[str, str]:
    """Return the addresses of everything but Kafka, as environment variables."""
    found = {url_variable(name): f"http://{HOST}:{port_of(name)}" for name in (*SERVICES, *EDGES, OPERATIONS)}
    found |= {name: os.environ[name] for name in ("DATABASE_URL",) if os.environ.get(name)}
    found["TENURE_PUBLIC_URL"] = os.environ.get("TENURE_PUBLIC_URL") or found["TENURE_CONSOLE_URL"]
    for caught in catcher():
        found |= {"TENURE_SMTP_URL": caught.smtp_url, "TENURE_MAIL_URL": caught.url}
    found["TENURE_ANCHORS"] = os.environ.get("TENURE_ANCHORS") or str(STATE / "data" / "anchors")
    for part in running:
        if isinstance(part, Postgres):
            found["DATABASE_URL"] = part.url
    return found


def has_example(below: Sequence[Part]) -> bool:
    """Return whether the system has the example's people.

    Everybody knows their password, so they are in no database and no Kafka but this folder's own.
    """
    return {type(part) for part in below} == {Postgres, Kafka}


def run(supervisor: Supervisor) -> None:
    """Start the system in order, then watch it until Stopped is raised."""
    below = stores()
    for part in reversed([*below, *services({}), *operations({})]):
        if part.end_leftovers():
            supervisor.say(f"{part.name} was still running from an earlier start and was stopped")
    for part in (*below, *services({}), *operations({})):
        part.require_ports()

    supervisor.bring_up(*([part] for part in below))  # they stop in reverse: Kafka, then PostgreSQL
    env = addresses(below)
    ours = any(isinstance(part, Postgres) for part in below)
    supervisor.meanwhile(databases.prepare(env["DATABASE_URL"], whole_cluster=ours))
    supervisor.say("PostgreSQL's roles, databases and tables are complete")
    env["DATABASE_URL"] = databases.url_of(env["DATABASE_URL"], databases.OPERATOR, databases.generated("operator"))
    _write_addresses(operators(env, below), below)
    supervisor.meanwhile(_prepare_kafka(supervisor, below))
    for name in EDGES:
        secrets.secret(f"cookies-{name}")
    supervisor.bring_up(services(env, below))
    supervisor.say("loading the example data")
    operator = operators(env, below)
    supervisor.meanwhile(_run_to_end("data", "The example data was not loaded", operator))
    if has_example(below) and not EXAMPLE.exists():
        supervisor.meanwhile(_run_to_end("example", "The example's people were not prepared", operator))
        EXAMPLE.touch()
    supervisor.begin(operations(env, below))  # nobody waits for it: the system is ready without it
    supervisor.watch()


async def _prepare_kafka(supervisor: Supervisor, running: Sequence[Part]) -> None:
    """Create the topics, and on the local Kafka users and access rules.

    On another Kafka, its administrator manages the users.
    """
    kafka = next((part for part in running if isinstance(part, Kafka)), None)
    strange: list[str] = []
    if kafka is None:
        created = await topics.ensure(KafkaAccess.from_environment(), patience_s=20)
    else:
        created, strange = await topics.bring_about(kafka.access, patience_s=20)
    supervisor.say(f"topics are as declared, {len(created)} of {len(topics.declared())} new")
    for line in strange:
        supervisor.say(
            f"not declared in deploy/topics.toml: {line}; to remove it, run `python -m deploy.topics --prune`"
        )


async def _run_to_end(name: str, failed: str, env: Mapping[str, str]) -> None:
    """Run `python -m deploy.<name>`.

    Raises:
        OperatorError: It did not succeed, or not in time.
    """
    child = ForkedProcess(name, f"deploy.{name}", env={**os.environ, **env}, **files_of(name))
    child.start()
    try:
        async with asyncio.timeout(_DATA_WITHIN_S):
            while child.alive:  # noqa: ASYNC110 - asyncio has no event for the end of this process
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise OperatorError(f"{failed} within {_DATA_WITHIN_S} s: see {child.log}.") from None
    finally:
        child.stop(patience_s=2)
    if child.exit_code:
        reason = (child.last_lines(1) or ["no message"])[0]
        raise OperatorError(f"{failed}: {reason} ({child.log})")


def _write_addresses(env: Mapping[str, str], running: Sequence[Part]) -> None:
    """Write the addresses for a shell, which keeps variables that are set, and for kcat."""
    kafkas = {name: value for name, value in sorted(env.items()) if name.startswith("KAFKA_")}
    others = sorted(env.items() - kafkas.items())
    lines = [f"export {name}=${{{name}:-{shlex.quote(value)}}}\n" for name, value in others]
    # A Kafka user belongs to one cluster: the shell sets all of these variables or none.
    lines += ['if [ -z "${KAFKA_BOOTSTRAP:-}" ]; then\n']
    lines += [f"export {name}=${{{name}:-{shlex.quote(value)}}}\n" for name, value in kafkas.items()]
    secrets.write(ADDRESSES, "".join([*lines, "fi\n"]))
    urls = {url_variable(name) for name in (*SERVICES, *EDGES)} & env.keys()
    URLS.write_text("".join(f"export {name}={shlex.quote(env[name])}\n" for name in sorted(urls)))
    for part in running:
        if isinstance(part, Kafka):
            settings = part.access_of("operator").librdkafka().items()
            secrets.write(KCAT, "".join(f"{name}={value}\n" for name, value in settings))
