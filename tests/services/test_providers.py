"""Providers of sign-ins: their file, and what they say about themselves, also wrongly."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.runtime import providers
from shared.runtime.providers import ANSWER_BYTES, Discovery, Unusable, read_answer, read_providers

URL = "https://issuer.example"
ENTRY = {"label": '"Northhaus"', "issuer": f'"{URL}"', "client_id": '"tenure"'}
DOCUMENT = {
    "issuer": URL,
    "authorization_endpoint": f"{URL}/authorize",
    "token_endpoint": f"{URL}/token",
    "jwks_uri": f"{URL}/keys",
}


def written(tmp_path: Path, name: str = "northhaus", **changed: str) -> Path:
    lines = [f"{key} = {value}" for key, value in {**ENTRY, **changed}.items()]
    file = tmp_path / "providers.toml"
    file.write_text("\n".join([f"[{name}]", *lines]))
    return file


def test_a_file_has_providers_by_name(tmp_path: Path) -> None:
    found = read_providers(written(tmp_path, domains='["x.example"]'))["northhaus"]
    assert (found.label, found.issuer, found.client_id, found.scope) == ("Northhaus", URL, "tenure", "openid email")
    assert found.vouches_for("mina@x.example") and not found.vouches_for("mina@y.example")
    assert read_providers(None) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "North Haus"},
        {"name": "../x"},
        {"issuer": '"http://issuer.example"'},
        {"issuer": '"https://mina:secret@issuer.example"'},
        {"issuer": '"https://issuer.example/#x"'},
        {"client_id": '""'},
        {"scope": '"email"'},
        {"domains": '["X.example"]'},
        {"client_secret": '"in the file itself"'},
        {"label": "1"},
        {"label": '"'},
    ],
)
def test_a_malformed_file_is_refused_at_the_start(tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"providers\.toml"):
        read_providers(written(tmp_path, **wrong))


def test_two_providers_of_one_issuer_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path)
    file.write_text(file.read_text() + "\n" + file.read_text().replace("[northhaus]", "[again]"))
    with pytest.raises(ValueError, match="one issuer"):
        read_providers(file)


class Answering:
    """A provider by its answers, and how often it was asked."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer, self.asked, self.now = answer, 0, 0.0
        transport = httpx.MockTransport(self._answered)
        self.discovery = Discovery(issuer=URL, client=providers.client(transport), clock=lambda: self.now)

    def _answered(self, request: httpx.Request) -> httpx.Response:
        assert str(request.url) == f"{URL}/.well-known/openid-configuration"
        self.asked += 1
        return self.answer


async def test_a_document_is_read_once_an_hour() -> None:
    provider = Answering(httpx.Response(200, json=DOCUMENT))
    for _ in range(3):
        assert (await provider.discovery.document()).token_endpoint == f"{URL}/token"
    assert provider.asked == 1
    provider.now = 3601
    await provider.discovery.document()
    assert provider.asked == 2


async def test_a_document_that_cannot_be_read_again_stays_in_use() -> None:
    provider = Answering(httpx.Response(200, json=DOCUMENT))
    await provider.discovery.document()
    provider.answer, provider.now = httpx.Response(500, json={}), 3601
    for _ in range(3):
        await provider.discovery.document()
    assert provider.asked == 2, "asked again after some seconds only"


async def test_a_provider_that_is_away_is_not_asked_at_every_click() -> None:
    provider = Answering(httpx.Response(503, text="<html>"))
    for _ in range(3):
        with pytest.raises(Unusable):
            await provider.discovery.document()
    assert provider.asked == 1
    provider.answer, provider.now = httpx.Response(200, json=DOCUMENT), 6
    await provider.discovery.document()


def changed(**fields: Any) -> httpx.Response:
    return httpx.Response(200, json={**DOCUMENT, **fields})


WRONG = {
    "another issuer": changed(issuer="https://other.example"),
    "a slash more": changed(issuer=f"{URL}/"),
    "no issuer": changed(issuer=None),
    "an endpoint without TLS": changed(token_endpoint="http://issuer.example/token"),
    "an endpoint that is no URL": changed(authorization_endpoint="javascript:alert(1)"),
    "no endpoint": changed(jwks_uri=None),
    "a redirect": httpx.Response(302, headers={"Location": "https://other.example"}, json=DOCUMENT),
    "HTML": httpx.Response(200, text="<html>"),
    "a list": httpx.Response(200, json=[DOCUMENT]),
    "a huge answer": httpx.Response(200, content=b'{"x":"' + b"x" * ANSWER_BYTES + b'"}'),
    "a compressed answer": httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=b""),
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_wrong_document_is_not_used(what: str) -> None:
    with pytest.raises(Unusable):
        await Answering(WRONG[what]).discovery.document()


async def test_an_answer_that_drips_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "ANSWER_S", 0.1)

    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    client = providers.client(httpx.MockTransport(lambda _: httpx.Response(200, content=drip())))
    with pytest.raises(Unusable, match="Timeout"):
        await read_answer(client, client.build_request("GET", URL))
