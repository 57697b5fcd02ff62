"""Entries of docker-compose.yml for services and edges: `python -m deploy.compose`.

Adds the missing entries of services; those of edges are written by hand. The rest of the file is written by hand, too,
and a service may have more settings than these; a test checks that no required entry is missing.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from deploy import ROOT
from shared.services import DECLARED, EDGES_DECLARED, EdgeDeclaration, ServiceDeclaration, url_variable

FILE: Final = ROOT / "docker-compose.yml"
LINES: Final = (
    "  {variable}: http://{name}:{port}\n",
    "      - kafka-{name}\n",
    "      - postgres-{name}\n",
    '  postgres-{name}: {{file: "${{TENURE_SECRETS:-.local/compose}}/postgres-{name}"}}\n',
    '  kafka-{name}: {{file: "${{TENURE_SECRETS:-.local/compose}}/kafka-{name}"}}\n',
)
"""The lines that a service needs outside of its container: its URL, and its secrets."""
CONTAINER: Final = """
  {name}:
    <<: *service
    command: [python, -m, services.{name}]
    environment:
      <<: *parts
      DATABASE_URL: postgresql://tenure_{name}@postgres:5432
      DATABASE_PASSWORD_FILE: /run/secrets/postgres-{name}
      KAFKA_USERNAME: {name}
      KAFKA_PASSWORD_FILE: /run/secrets/kafka-{name}
      TENURE_PORT: "{port}"
    secrets: [postgres-{name}, kafka-{name}]
    ports: ["127.0.0.1:${{{upper}_PORT:-{port}}}:{port}"]
"""
AFTER_IDENTITY: Final = """\
    depends_on:
      <<: *after_parts
      identity: {condition: service_healthy}
"""
"""The dependencies of every service's container but identity's."""

EDGE_LINES: Final = (
    "  {variable}: http://{name}:{port}\n",
    "      - kafka-{name}\n",
    '  cookies-{name}: {{file: "${{TENURE_SECRETS:-.local/compose}}/cookies-{name}"}}\n',
    '  kafka-{name}: {{file: "${{TENURE_SECRETS:-.local/compose}}/kafka-{name}"}}\n',
)
EDGE_CONTAINER: Final = """
  {name}:
    <<: *service
    command: [python, -m, services.{name}]
    environment:
      <<: *parts
      KAFKA_USERNAME: {name}
      KAFKA_PASSWORD_FILE: /run/secrets/kafka-{name}
      TENURE_COOKIE_KEY_FILE: /run/secrets/cookies-{name}
      TENURE_PORT: "{port}"
    secrets: [cookies-{name}, kafka-{name}]
    ports: ["127.0.0.1:${{{upper}_PORT:-{port}}}:{port}"]
"""


def filled(text: str, service: ServiceDeclaration | EdgeDeclaration) -> str:
    """Return a line or a container with the values of this service or edge."""
    variable, upper = url_variable(service.name), service.name.upper()
    return text.format(name=service.name, port=service.port, variable=variable, upper=upper)


def completed(text: str, declared: Sequence[ServiceDeclaration] = DECLARED) -> str:
    """Return the compose file with the missing lines and containers added.

    Each is added after that of the service declared before.

    Raises:
        ValueError: A line of the service before is missing, too.
    """
    for former, service in pairwise(declared):
        for line in LINES:
            before, wanted = filled(line, former), filled(line, service)
            if f"\n{wanted}" not in text:
                end = text.index(f"\n{before}") + 1 + len(before)
                text = text[:end] + wanted + text[end:]
        container = filled(CONTAINER, service)
        if f"\n  {service.name}:\n" not in text:
            end = text.index("\n\n", text.index(f"\n  {former.name}:\n")) + 1
            text = text[:end] + container + AFTER_IDENTITY + text[end:]
    return text


def differing(text: str, declared: Sequence[ServiceDeclaration] = DECLARED) -> Iterator[str]:
    """Yield the lines that the compose file must have for each service and edge, and has not."""
    for service in declared:
        yield from _lacking(text, service, LINES, CONTAINER)
    for edge in EDGES_DECLARED:
        yield from _lacking(text, edge, EDGE_LINES, EDGE_CONTAINER)


def _lacking(
    text: str, each: ServiceDeclaration | EdgeDeclaration, lines: Sequence[str], container: str
) -> Iterator[str]:
    yield from (wanted for line in lines if (wanted := filled(line, each)) not in text)
    _, _, own = text.partition(f"\n  {each.name}:\n")
    has = own.partition("\n\n")[0].splitlines()
    yield from (wanted for wanted in filled(container, each).splitlines()[2:] if wanted not in has)


def main(file: Path = FILE) -> None:
    text = file.read_text()
    file.write_text(completed(text))
    if wrong := list(differing(file.read_text())):
        sys.exit("\n".join(["docker-compose.yml differs from shared/services.py; add these lines by hand:", *wrong]))
    print("docker-compose.yml has every service." if file.read_text() == text else "docker-compose.yml was completed.")


if __name__ == "__main__":
    main()
