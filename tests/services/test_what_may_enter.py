"""Text, numbers and dates at the doors: what no table, header or reader could hold is 422, naming the field."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Final, get_args

import httpx
import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from services import definitions
from shared.runtime.forms import read_path
from shared.runtime.problems import Problem
from shared.runtime.routes import CommandRoute
from tests.services.every_route import leaves
from tests.services.identity_bench import PASSWORD, Bench, sign_up

SERVICES: Final = definitions()


# ── Every door of every service, by its form ───────────────────────────────────────────────────────────


def _routes() -> list[Any]:
    return [pytest.param(route, id=f"{s.name}-{route.name}") for s in SERVICES for route in s.commands.routes]


def _unbounded(model: type[BaseModel], where: str = "") -> Iterator[str]:
    """The fields whose type says no more than text or number, those inside of others too."""
    for name, field in model.model_fields.items():
        yield from _of_type(field.annotation, list(field.metadata), f"{where}{name}")


def _of_type(kind: Any, metadata: list[Any], where: str) -> Iterator[str]:
    if kind in (str, int) and not metadata:
        yield where
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from _unbounded(kind, f"{where}.")
    for part in get_args(kind):
        inner = get_args(part) if hasattr(part, "__metadata__") else ()
        yield from _of_type(inner[0] if inner else part, list(inner[1:]), where)


@pytest.mark.parametrize("route", _routes())
def test_every_field_of_every_form_is_bounded_and_strict(route: CommandRoute) -> None:
    assert list(_unbounded(route.form)) == []
    assert route.form.model_config.get("strict") is True
    assert route.form.model_config.get("extra") == "forbid"


@pytest.mark.parametrize("route", _routes())
@pytest.mark.parametrize("hostile", ["a\0", "a\u202eb", "a\u200bb", "x" * 20_000, " ", 7.5])
def test_no_text_of_a_form_is_hostile(route: CommandRoute, hostile: Any) -> None:
    texts = {name for name, field in route.form.model_fields.items() if field.annotation is str}
    for name in texts:
        try:
            form = route.form.model_validate_json(json.dumps({name: hostile}))
        except ValidationError as error:
            wrong = {each["loc"][0] for each in error.errors()}
            if name in wrong:
                continue
            assert hostile == " ", f"{name} takes {hostile!r}"
        else:
            assert hostile == " " and getattr(form, name) == "", f"{name} takes {hostile!r}"


def _alone(annotation: Any, metadata: Sequence[Any], config: ConfigDict) -> Callable[[Any], bool]:
    """Whether a field of this type takes a value, as JSON has it."""
    kind: Any = Annotated[(annotation, *metadata)] if metadata else annotation
    model = create_model("Alone", __config__=config, value=(kind, ...))

    def takes(value: Any) -> bool:
        try:
            model.model_validate_json(json.dumps({"value": value}))
        except ValidationError:
            return False
        return True

    return takes


NO_TEXTS: Final[Sequence[Any]] = ("a\0b", "a\u202eb", "a\u200bb", "x" * 20_000)
NO_WHOLE_NUMBERS: Final[Sequence[Any]] = ("1", True, 1.0, 1.5, 2**31, 2**63, 2**64)
LARGE: Final = ("size_bytes", "after")
"""The whole numbers that may be larger than 2 GiB: a size and a position."""
NO_TRUTHS: Final[Sequence[Any]] = (1, 0, "true", "yes", "")


@pytest.mark.parametrize("route", _routes())
def test_no_field_of_a_form_is_coerced_or_hostile(route: CommandRoute) -> None:
    """What is optional, no text, or stands in a bulk request's items, too."""
    items: Any = route.form.model_fields["items"].annotation if route.bulk else None
    form = route.form if items is None else get_args(items)[0]
    for name, field in form.model_fields.items():
        takes = _alone(field.annotation, field.metadata, form.model_config)
        wrong = [*NO_TEXTS, *(NO_WHOLE_NUMBERS if takes(1) else ()), *(NO_TRUTHS if takes(True) else ())]
        taken = [value for value in wrong if takes(value)]
        assert taken == ([2**31] if name in LARGE else []), f"{form.__name__}.{name}"


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: str(service.name))
def test_every_parameter_of_every_query_is_bounded(service: Any) -> None:
    routes = [route for route in leaves(service.queries.routes) if isinstance(route, APIRoute)]
    assert routes
    for route in routes:
        for parameter in (*route.dependant.path_params, *route.dependant.query_params):
            field = parameter.field_info
            bare = list(_of_type(field.annotation, list(field.metadata), parameter.name))
            assert bare == [], f"{route.path}: {bare}"
            takes = _alone(field.annotation, field.metadata, ConfigDict())
            wrong = ["a\0b", "a\u202eb", "a\u200bb", "\u00e4\u0000", "x" * 501]
            if takes("1") and not takes("a"):
                wrong += [
                    "2147483648",
                    "9223372036854775808",
                    "-1",
                    "+1",
                    "1.0",
                    "1e3",
                    "1_0",
                    " 1",
                    "\uff11",
                    "true",
                    "",
                ]
            assert [value for value in wrong if takes(value)] == [], f"{route.path}: {parameter.name}"


APPROVAL: Final = next(r for s in SERVICES for r in s.commands.routes if r.command.__name__ == "ApproveUpdate")


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("publisher", "Big Soft", True),
        ("publisher", "x" * 100, True),
        ("publisher", " Big", False),
        ("publisher", "x" * 101, False),
        ("publisher", "a:b", False),
        ("update_id", "x" * 100, True),
        ("update_id", "x" * 101, False),
        ("update_id", "a b", False),
        ("contract_id", "a\0", False),
    ],
)
def test_a_path_names_what_the_commands_field_takes(name: str, value: str, taken: bool) -> None:
    path = {"contract_id": "c", "publisher": "autodesk", "update_id": "u"} | {name: value}
    if taken:
        assert read_path(path, APPROVAL.path_types) == path
    else:
        with pytest.raises(Problem) as refused:
            read_path(path, APPROVAL.path_types)
        assert (refused.value.status, refused.value.fields[0]["field"]) == (422, name)


# ── The cases, over HTTP ───────────────────────────────────────────────────────────────────────────────


def malformed(answer: httpx.Response, field: str) -> None:
    assert (answer.status_code, answer.json()["rule"]) == (422, "malformed"), answer.text
    assert any(field in each["field"] for each in answer.json()["fields"]), answer.text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("organisation.name", "Evil\0Org"),
        ("organisation.name", "Org\u202e"),
        ("organisation.name", "\u3164"),
        ("name", "a\0"),
        ("name", ""),
        ("name", "x" * 201),
        ("name", "a\nb"),
        ("name", 7),
        ("country", "DE\n"),
        ("country", "\u00df"),
        ("country", "XX"),
        ("country", "DE "),
        ("country", "\uff24\uff25"),
        ("locale", "en\n"),
        ("locale", "english"),
        ("time_zone", "localtime"),
        ("time_zone", "Factory"),
        ("time_zone", "posixrules"),
        ("time_zone", "europe/berlin"),
        ("email", "a\0@x.example"),
        ("email", "a\u200b@x.example"),
        ("email", "nobody"),
        ("organisation.sandbox", "yes"),
        ("organisation.sandbox", 1),
        ("password", "x" * 12 + "\0"),
    ],
)
@pytest.mark.system
async def test_no_such_account_is_opened(bench: Bench, field: str, value: Any) -> None:
    body = sign_up("mina")
    body["organisation"] = dict(body["organisation"])
    inner, last = (body["organisation"], field.split(".")[1]) if "." in field else (body, field)
    inner[last] = value
    malformed(await bench.when("", "POST", "/accounts", body), field)
    assert await bench.store.position() == 0


@pytest.mark.system
async def test_one_address_is_one_account_however_it_is_written(bench: Bench) -> None:
    for one, other in (("p@m\u00fcller.example", "P@xn--mller-kva.example"), ("f@x.example", "f@\uff58.example")):
        assert (await bench.when("", "POST", "/accounts", sign_up("mina") | {"email": one})).status_code == 200
        again = await bench.when("", "POST", "/accounts", sign_up("ana") | {"email": other})
        assert (again.status_code, again.json()["rule"]) == (409, "email-taken")
        signed_in = await bench.when("", "POST", "/sessions", {"email": other, "password": PASSWORD})
        assert signed_in.status_code == 200, signed_in.text


@pytest.mark.system
async def test_hostile_text_is_never_an_internal_error(bench: Bench) -> None:
    _, token = await bench.join("mina")
    for body in (
        {"email": "a\0@x.example", "password": PASSWORD},
        {"email": "a\u200b@x.example", "password": PASSWORD},
        {"email": "mina@x.example", "password": "\0" * 12},
    ):
        assert (await bench.when("", "POST", "/sessions", body)).status_code == 422
    for field, value in (("email", "a\0@x.example"), ("name", "a\0"), ("country", "XX"), ("time_zone", "Factory")):
        malformed(await bench.when(token, "PUT", "/me/profile", {field: value}), field)
    for path in ("/contracts/a%00", "/accounts/a%00", "/contracts?after=%00", "/contracts?limit=9223372036854775808"):
        assert (await bench.when(token, "GET", path)).status_code == 422, path
    assert (await bench.when(token, "DELETE", "/contracts/a%00/coordinators/b%00")).status_code == 422


@pytest.mark.system
@pytest.mark.parametrize("path", ["/sessions", "/accounts", "/me/password"])
async def test_a_lone_surrogate_is_refused(bench: Bench, path: str) -> None:
    _, token = await bench.join("mina")
    surrogate = '"' + "x" * 12 + '\\ud800"'
    bodies = {
        "/sessions": f'{{"email":"mina@x.example","password":{surrogate}}}',
        "/accounts": json.dumps(sign_up("ana") | {"password": "?"}).replace('"?"', surrogate),
        "/me/password": f'{{"current":{surrogate},"new":{surrogate}}}',
    }
    answer = await bench.http.request(
        "PUT" if path == "/me/password" else "POST",
        path,
        content=bodies[path],
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 422, answer.text
