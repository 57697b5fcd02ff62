"""The OpenAPI document of all services: each operation once, at its service's address, with its own shapes."""

import re
from typing import Any

import pytest

from deploy.openapi import openapi_documents
from shared.documents.bundle import bundled
from shared.services import SERVICES, local_url

BASES = {service: local_url(service) for service in SERVICES}


def with_shape(kind: str, path: str, operation: str) -> dict[str, Any]:
    answer = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/View"}}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "one"},
        "tags": [],
        "paths": {path: {"get": {"operationId": operation, "responses": {"200": answer}}}},
        "components": {"schemas": {"View": {"title": "View", "description": kind}}},
    }


def test_every_operation_of_every_service_is_there_with_its_addresses() -> None:
    found = dict(openapi_documents())
    every = found.pop("openapi.json")
    for service in SERVICES:
        for path, item in found[f"openapi.{service}.json"]["paths"].items():
            for method, operation in item.items():
                bundle = every["paths"][path][method]
                assert bundle["operationId"] == operation["operationId"]
                assert BASES[service] in repr(bundle["servers"]), (service, path)
    assert len(every["paths"]["/health"]["get"]["servers"]) == len(SERVICES)
    described = {f"#/components/{kind}/{each}" for kind, all_ in every["components"].items() for each in all_}
    assert set(re.findall(r"'\$ref': '([^']+)'", repr(every))) <= described


def test_one_name_of_two_shapes_becomes_two() -> None:
    documents = {
        "identity": with_shape("a person", "/people", "people"),
        "distribution": with_shape("a machine", "/machines", "machines"),
    }
    every = bundled(documents, BASES)
    shapes = every["components"]["schemas"]
    for path, kind in (("/people", "a person"), ("/machines", "a machine")):
        answer = every["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
        assert shapes[answer["schema"]["$ref"].rpartition("/")[2]]["description"] == kind
    assert len({shape["title"] for shape in shapes.values()}) == 2, "clients' classes are named by titles"
    assert set(documents["distribution"]["components"]["schemas"]) == {"View"}, "a document stays as it is"


def test_one_id_of_two_operations_is_an_error() -> None:
    documents = {"identity": with_shape("one", "/one", "show"), "distribution": with_shape("one", "/two", "show")}
    with pytest.raises(ValueError, match="two operations have the id show"):
        bundled(documents, BASES)
