"""The OpenAPI documents: valid, whole, and of use to a generator of clients."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from services import definition_of
from services.console.live.edge import SNAPSHOTS
from shared.services import SERVICES
from tests.services.every_route import app_of

pytestmark = pytest.mark.parametrize("name", SERVICES)


@cache
def document(name: str) -> dict[str, Any]:
    return app_of(name).openapi()


def operations(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The operations with what they are called."""
    for path, methods in document(name)["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_a_document_is_valid(name: str) -> None:
    assert document(name)["openapi"].startswith("3.1.")
    assert [str(error) for error in OpenAPIV31SpecValidator(document(name)).iter_errors()] == []


def test_every_operation_has_an_id_of_its_own_that_is_a_name_in_any_language(name: str) -> None:
    ids = Counter(operation["operationId"] for _, operation in operations(name))
    assert {each: count for each, count in ids.items() if count > 1} == {}
    assert [each for each in ids if not re.fullmatch(r"[a-z][a-z0-9_]*", each)] == []


def test_every_operation_has_a_text_a_tag_that_is_described_and_says_who_may(name: str) -> None:
    tags = {tag["name"] for tag in document(name)["tags"]}
    for called, operation in operations(name):
        assert operation["description"] and set(operation["tags"]) <= tags, called
        assert "security" in operation, called


def test_every_shape_is_used_and_every_reference_leads_to_one(name: str) -> None:
    components = document(name)["components"]
    described = {f"#/components/{kind}/{each}" for kind, all_ in components.items() for each in all_}
    referred = set(re.findall(r"'\$ref': '([^']+)'", repr(document(name))))
    assert referred <= described
    needed = ("#/components/schemas/", "#/components/headers/")
    assert {each for each in described if each.startswith(needed)} <= referred


def test_the_events_of_an_answer_are_those_of_the_stream_that_decided(name: str) -> None:
    schemas = document(name)["components"]["schemas"]
    for route in definition_of(name).commands.routes:
        answer = schemas[f"{route.category.capitalize()}Answer"]
        kinds = answer["properties"]["events"]["items"]["discriminator"]["mapping"]
        assert set(kinds) == {kind.type() for kind in route.events} != set()
        for kind in route.events:
            event = schemas[kinds[kind.type()].rpartition("/")[2]]["properties"]
            assert event["type"]["const"] == kind.type()
            data = schemas[event["data"]["$ref"].rpartition("/")[2]]
            assert set(data["properties"]) == set(kind.model_fields)


def test_every_body_has_an_example_that_its_schema_allows(name: str) -> None:
    components = document(name)["components"]
    shown = 0
    for called, operation in operations(name):
        parts = [operation.get("requestBody", {}), *operation["responses"].values()]
        for media in (media for part in parts for media in part.get("content", {}).values()):
            if "$ref" not in repr(media["schema"]):
                continue
            names = [each["$ref"].rpartition("/")[2] for each in media.get("examples", {}).values()]
            validator = Draft202012Validator({"components": components, **media["schema"]})
            for value in [components["examples"][each]["value"] for each in names] or [media["example"]]:
                assert [error.message for error in validator.iter_errors(value)] == [], called
                shown += 1
    assert shown > 100


def test_an_example_that_is_sent_stays_right(name: str) -> None:
    """Its times are in the future, but within a year, and its optional fields are no ids that somebody invented."""
    soon, latest = datetime.now(UTC) + timedelta(days=120), datetime.now(UTC) + timedelta(days=360)
    checked = 0
    for called, operation in operations(name):
        for media in operation.get("requestBody", {}).get("content", {}).values():
            for field, value in texts_in(media.get("example")):
                checked += 1
                assert field not in ("client_id", "acts_for", "organisation_id", "grant_id") or field in required(
                    name, media["schema"]
                ), (called, field)
                if re.match(r"\d{4}-\d\d-\d\d", value):
                    time = datetime.fromisoformat(value)
                    assert soon < (time if time.tzinfo else time.replace(tzinfo=UTC)) < latest, (called, field)
    assert checked > 5


def texts_in(value: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """The texts of an example, each with the name of its field."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from texts_in(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from texts_in(part, field)
    elif isinstance(value, str):
        yield field, value


def required(name: str, schema: dict[str, Any]) -> set[str]:
    """The required fields of a body, and of its parts."""
    shapes = document(name)["components"]["schemas"]
    found, todo = set[str](), [schema]
    while todo:
        shape = todo.pop()
        todo += [shapes[each] for each in re.findall(r"#/components/schemas/(\w+)", repr(shape))]
        found |= {*shape.get("required", ())}
    return found


def test_what_a_document_asks_for_is_what_a_service_takes(name: str) -> None:
    """Generated clients send a default as it stands, and testers whatever the schema allows."""
    for called, operation in operations(name):
        for parameter in operation.get("parameters", ()):
            schemas = [parameter["schema"], *parameter["schema"].get("anyOf", ())]
            if parameter["in"] == "query":
                assert not [each for each in schemas if each.get("default") == ""], called
                texts = [each for each in schemas if each.get("type") == "string" and "enum" not in each]
                assert all(each["minLength"] >= 1 for each in texts), (called, parameter["name"])
            if parameter["name"] in ("X-Correlation-ID", "X-Request-ID", "traceparent", "tracestate"):
                assert schemas == [{"type": "string"}], "a malformed one is replaced, not refused"


def test_a_query_without_a_token_says_what_it_refuses(name: str) -> None:
    for called, operation in operations(name):
        if not operation["security"]:
            problems = {status for status in operation["responses"] if status >= "400"}
            assert ("404" in problems) >= ("{" in called), called
            assert {"401", "413", "415"} <= problems or "requestBody" not in operation, called
    open_ = [called for called, operation in operations(name) if not operation["security"]]
    assert {"get /problems/{rule}", "get /schemas", "get /asyncapi.json"} <= set(open_)


def test_no_two_shapes_have_one_title(name: str) -> None:
    """Generators of clients name their classes by titles, and leave out the second of a name."""
    titles = Counter(shape["title"] for shape in document(name)["components"]["schemas"].values() if "title" in shape)
    assert {title: count for title, count in titles.items() if count > 1} == {}


def test_no_schema_has_a_word_that_json_schema_does_not_know(name: str) -> None:
    """Bounds that stand after a validator of ours came out as `ge` and `le`, which no client reads."""
    found = re.findall(r"'(ge|le|gt|lt|min_length|max_length)': ", repr(document(name)))
    assert found == []


def test_the_headers_of_requests_and_answers_are_described(name: str) -> None:
    for called, operation in operations(name):
        if operation["tags"] == ["operation"]:
            continue
        asked = {each["name"] for each in operation["parameters"] if each["in"] == "header"}
        assert {"X-Correlation-ID", "X-Request-ID", "traceparent", "tracestate"} <= asked, called
        assert ("Idempotency-Key" in asked) is (operation["tags"] == ["commands"]), called
        alone = operation["tags"] == ["commands"] and not operation["operationId"].endswith("_bulk")
        assert ("If-Match" in asked) is ("412" in operation["responses"]) is alone, called
        query = called.startswith("get ")
        assert ("304" in operation["responses"]) is query, called
        tagged = any("ETag" in answer["headers"] for answer in operation["responses"].values())
        assert tagged is (query or alone), called
        for status, answer in operation["responses"].items():
            headers = set(answer["headers"])
            assert "X-Correlation-ID" in headers, (called, status)
            assert ("Retry-After" in headers) is (status in ("429", "503")), (called, status)
            assert ("Tenure-Version" in headers) is (operation["tags"] == ["commands"] and status < "300"), called
    assert any("Tenure-At-Least" in repr(operation["parameters"]) for _, operation in operations(name))


def test_the_address_of_a_snapshot_is_a_list_of_the_service(name: str) -> None:
    """It is told to subscribers whose position is not kept any more."""
    answers = document(name)["paths"][SNAPSHOTS[name]]["get"]["responses"]
    assert answers["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2].startswith("ListOf")
