"""The services' AsyncAPI documents, as they are."""

from collections.abc import Mapping
from functools import cache
from typing import Final

import httpx

from shared.documents.asyncapi import asyncapi_of_service
from tests.console.fakes import Answer
from tests.console.samples import Sample


@cache
def answers(service: str = "marketplace") -> Mapping[str, Answer]:
    return {"GET /asyncapi.json": httpx.Response(200, json=asyncapi_of_service(service, "kafka.example:9093"))}


SAMPLES: Final = {
    "/topics": Sample("/topics", answers()),
    "/topics/{service}": Sample("/topics/marketplace", answers()),
    "/topics/{service}/{event}": Sample("/topics/marketplace/SubscriptionOrdered", answers()),
}
