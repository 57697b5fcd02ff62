"""The documents of a release: `python -m deploy.documents write FOLDER`.

`compare OLD NEW` reports the differences between the event contracts of two such folders, and ends with exit code 1 if
one of them breaks a reader. `publish URL` registers the schemas in a registry with Confluent's API, each under the
subject `<topic>-<type>` (the strategy TopicRecordName).
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx

from deploy import OperatorError
from deploy.openapi import openapi_documents
from shared.documents.asyncapi import asyncapi_of, asyncapi_of_service
from shared.documents.compatibility import SENT, Schema, changes
from shared.documents.schemas import schema_at, schema_of, schemas
from shared.events.registry import EVENTS_ON, INBOUND
from shared.services import SERVICES

BOOTSTRAP: Final = "kafka.example.org:9093"
"""The address of Kafka in a release's documents. A running service's document has its own."""
REGISTRY_MEDIA_TYPE: Final = "application/vnd.schemaregistry.v1+json"


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Return each document of a release, with its file's name."""
    yield "asyncapi.json", asyncapi_of(EVENTS_ON, "Tenure: the events of all services", BOOTSTRAP)
    yield from openapi_documents()
    for service in SERVICES:
        yield f"asyncapi.{service}.json", asyncapi_of_service(service, BOOTSTRAP)
    for name, version, sent in schemas():
        yield f"schemas/{name}.v{version}{SENT if sent else ''}.json", schema_at(name, version, sent=sent)


def write(folder: Path) -> int:
    """Write the documents into a folder that is empty or missing, and return how many."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OperatorError(f"{folder} is not an empty folder. Name another one, or empty it.")
    count = 0
    for name, document in documents():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        count += 1
    return count


def schemas_in(folder: Path) -> dict[str, Schema]:
    """Return the schemas of a release's folder by type and version."""
    try:
        files = folder.glob("schemas/*.json")
        found = {file.name.removesuffix(".json"): json.loads(file.read_bytes()) for file in files}
    except ValueError as error:
        raise OperatorError(f"{folder} has a file in schemas/ that is not JSON: {error}") from None
    if not found:
        raise OperatorError(f"{folder} has no schemas. Name a folder that `write` has filled.")
    return found


def publish(registry: str, client: httpx.Client) -> Iterator[str]:
    """Register the schema of each event type of each topic, and return a line for each.

    Registering a schema again changes nothing, so that this can be repeated.

    Raises:
        OperatorError: if the registry can't be reached or refuses a schema.
    """
    for topic, events in EVENTS_ON.items():
        for event in events:
            subject = f"{topic}-{event.type()}"
            schema = schema_of(event, sent=topic == INBOUND)
            url = f"{registry.rstrip('/')}/subjects/{quote(subject, safe='')}/versions"
            try:
                response = client.post(
                    url,
                    content=json.dumps({"schemaType": "JSON", "schema": json.dumps(schema)}),
                    headers={"Content-Type": REGISTRY_MEDIA_TYPE},
                )
            except httpx.HTTPError as error:
                raise OperatorError(f"The registry can't be reached ({type(error).__name__}): check its URL.") from None
            if response.is_error:
                said = f"{response.status_code}: {response.text[:300]}"
                raise OperatorError(f"The registry refused {subject} with {said}")
            yield f"{subject}: schema {response.json()['id']}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.documents", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("write", help="write the documents into an empty folder")
    writing.add_argument("folder", type=Path)
    comparing = commands.add_parser("compare", help="report what differs between two folders of documents")
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path)
    publishing = commands.add_parser("publish", help="register the schemas in a registry with Confluent's API")
    publishing.add_argument("url", help="its URL, with user and password if it wants them")
    given = parser.parse_args(arguments)
    try:
        if given.command == "write":
            print(f"{write(given.folder)} documents are in {given.folder}.")
        elif given.command == "publish":
            with httpx.Client(timeout=30) as client:
                for line in publish(given.url, client):
                    print(line)
        else:
            found = changes(schemas_in(given.old), schemas_in(given.new))
            print("\n".join(map(str, found)) or "The event contracts are the same.")
            return int(any(change.breaking for change in found))
    except OperatorError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
