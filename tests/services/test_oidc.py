"""Sign-in by another issuer: only its own tokens, for us, in time, with a verified address."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from services.identity.domain.account import Identity
from services.identity.signin.oidc import Issuer, Issuers, NotGenuine, Unreachable, configured, single
from shared.runtime.settings import Settings

RSA, OTHER = (RSAKey.generate_key(2048, {"kid": kid}) for kid in ("rsa", "other"))
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
URL = "https://issuer.example"
NOW = 1_795_000_000.0
NONCE = "n-0S6"
MINA = Identity(URL, "248289761001", "mina@x.example")


class Served:
    """The issuer's JWKS over HTTP."""

    def __init__(self, *keys: Any) -> None:
        self.keys, self.asked, self.status = list(keys), 0, 200
        self.transport = httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        assert str(request.url) == f"{URL}/keys"
        self.asked += 1
        return httpx.Response(self.status, json={"keys": [key.as_dict(private=False) for key in self.keys]})


def issuer(served: Served) -> Issuer:
    settings = Settings(oidc_issuer=URL, oidc_audience="tenure-client", oidc_jwks_url=f"{URL}/keys")
    made = single(settings, served.transport)
    assert made is not None
    made._clock = lambda: NOW
    return made


def token(key: Any = RSA, alg: str = "RS256", kid: str | None = None, **changed: Any) -> str:
    claims: dict[str, Any] = {
        "iss": URL,
        "aud": "tenure-client",
        "sub": "248289761001",
        "iat": int(NOW),
        "exp": int(NOW) + 300,
        "email": "mina@x.example",
        "email_verified": True,
        "nonce": "n-0S6",
    } | changed
    body = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": alg, "kid": kid or key.kid}, body, key, [alg])


GOOD = {
    "RSA": token(),
    "elliptic": token(EC, "ES256"),
    "Edwards": token(ED, "Ed25519"),
    "RSA-PSS": token(RSA, "PS256"),
    "one audience of a list": token(aud=["tenure-client"]),
    "issued to us alone, which it says": token(azp="tenure-client"),
    "issued to us for others, too": token(aud=["tenure-client", "x"], azp="tenure-client"),
    "a string for true": token(email_verified="true"),
    "a clock half a minute behind": token(exp=int(NOW) - 29),
    "a clock half a minute ahead": token(iat=int(NOW) + 30),
}


@pytest.mark.parametrize("what", GOOD)
async def test_a_token_of_the_issuer_names_its_holder(what: str) -> None:
    assert await issuer(Served(RSA, EC, ED)).identify(GOOD[what], NONCE) == MINA


BAD_NONCES = [(token(nonce=None), NONCE), (token(nonce="another"), NONCE), (token(), ""), (token(nonce=""), "")]


async def test_the_nonce_has_to_be_repeated() -> None:
    for wrong, nonce in BAD_NONCES:
        with pytest.raises(NotGenuine, match="nonce"):
            await issuer(Served(RSA)).identify(wrong, nonce)


BAD = {
    "another issuer": token(iss="https://other.example"),
    "another audience": token(aud="other-client"),
    "issued to somebody else": token(aud=["tenure-client", "x"], azp="x"),
    "two audiences and nobody named": token(aud=["tenure-client", "x"]),
    "expired": token(exp=int(NOW) - 30),
    "expired never": token(exp=float("nan")),
    "an expiry in letters": token(exp=str(int(NOW) + 60)),
    "not yet issued": token(iat=int(NOW) + 31),
    "not yet good": token(nbf=int(NOW) + 31),
    "no expiry": token(exp=None),
    "no subject": token(sub=None),
    "no audience": token(aud=None),
    "no issuer": token(iss=None),
    "issued to somebody else, though we are its audience": token(azp="other-client"),
    "issued to nobody, which it says": token(azp=""),
    "a list of whom it was issued to": token(azp=["tenure-client"]),
    "a list of issuers": token(iss=[URL]),
    "issued long ago": token(iat=int(NOW) - 700),
    "a number for a subject": token(sub=7),
    "an empty subject": token(sub=""),
    "a subject with a control character": token(sub="a\nb"),
    "a subject without end": token(sub="a" * 256),
    "a key of somebody else": token(OTHER),
    "another key under this key's name": token(OTHER, kid="rsa"),
    "a shared secret": token(OctKey.generate_key(256, {"kid": "rsa"}), "HS256"),
    "no signature": "eyJhbGciOiJub25lIiwia2lkIjoicnNhIn0." + token().split(".")[1] + ".",
    "garbage": "a.b.c",
    "not even that": "\x00",
    "a list for a header": "W10.e30.",
}


UNPROVEN = {
    "no address": token(email=None),
    "a list for an address": token(email=["mina@x.example"]),
    "an address that is not verified": token(email_verified=False),
    "nobody verified it": token(email_verified=None),
    "a number for true": token(email_verified=1),
    "a list for true": token(email_verified=[True]),
    "another string for true": token(email_verified="True"),
    "no address at all": token(email="mina"),
}


@pytest.mark.parametrize("what", UNPROVEN)
async def test_an_address_counts_only_where_the_issuer_has_verified_it(what: str) -> None:
    assert await issuer(Served(RSA)).identify(UNPROVEN[what], NONCE) == Identity(URL, "248289761001")


async def test_a_verified_address_is_in_its_canonical_form() -> None:
    assert (await issuer(Served(RSA)).identify(token(email=" Mina@X.example"), NONCE)) == MINA


@pytest.mark.parametrize("what", BAD)
async def test_nothing_else_signs_in(what: str) -> None:
    with pytest.raises(NotGenuine):
        await issuer(Served(RSA)).identify(BAD[what], NONCE)


async def test_a_shared_secret_among_the_keys_counts_for_nothing() -> None:
    secret = OctKey.generate_key(256, {"kid": "secret"})

    async def fetch() -> Any:
        return {"keys": [secret.as_dict(private=True), RSA.as_dict(private=False)]}

    with pytest.raises(NotGenuine):
        await Issuer(URL, "tenure-client", fetch, lambda: NOW).identify(token(secret, "HS256"), NONCE)


async def test_keys_are_read_once_and_a_new_one_is_found() -> None:
    served = Served(RSA)
    made, now = issuer(served), [NOW]
    made._clock = lambda: now[0]
    for _ in range(3):
        await made.identify(token(), NONCE)
    served.keys = [EC]
    for _ in range(3):
        with pytest.raises(NotGenuine):
            await made.identify(token(EC, "ES256"), NONCE)
    assert served.asked == 1
    now[0] += 6
    assert await made.identify(token(EC, "ES256"), NONCE) == MINA
    with pytest.raises(NotGenuine):
        await made.identify(token(), NONCE)


async def test_a_withdrawn_key_counts_for_an_hour_at_most() -> None:
    served, now = Served(RSA), [NOW]
    made = issuer(served)
    made._clock = lambda: now[0]
    await made.identify(token(), NONCE)
    served.keys = [EC]
    now[0] += 3601
    with pytest.raises(NotGenuine, match="not signed by a key"):
        await made.identify(token(exp=int(now[0]) + 60), NONCE)


async def test_keys_that_could_not_be_read_again_are_asked_for_again_within_seconds() -> None:
    served, now = Served(RSA), [NOW]
    made = issuer(served)
    made._clock = lambda: now[0]
    await made.identify(token(), NONCE)
    served.keys, served.status = [EC], 500
    now[0] += 3601
    for _ in range(3):
        await made.identify(token(exp=int(now[0]) + 60, iat=int(now[0])), NONCE)
    assert served.asked == 2
    served.status = 200
    now[0] += 6
    with pytest.raises(NotGenuine, match="not signed by a key"):
        await made.identify(token(exp=int(now[0]) + 60), NONCE)


async def test_while_the_issuer_is_away_known_keys_are_good() -> None:
    served, now = Served(RSA), [NOW]
    made = issuer(served)
    made._clock = lambda: now[0]
    served.status = 500
    with pytest.raises(Unreachable):
        await made.identify(token(), NONCE)
    now[0] += 6
    served.status = 200
    await made.identify(token(), NONCE)
    served.status = 500
    now[0] += 4000
    later = token(exp=int(now[0]) + 60, iat=int(now[0]))
    assert await made.identify(later, NONCE) == MINA


def test_it_is_configured_whole_or_not_at_all() -> None:
    assert configured(Settings()) is None
    with pytest.raises(ValueError, match="go together"):
        configured(Settings(oidc_issuer=URL))


# ── Several issuers ────────────────────────────────────────────────────────────────────────────────────

OTHER_URL = "https://other.example"
PROVIDERS = f"""
[main]
label = "Main"
issuer = "{URL}"
client_id = "tenure-client"
domains = ["x.example"]

[other]
label = "Other"
issuer = "{OTHER_URL}"
client_id = "tenure-client"
"""


def both(tmp_path: Path, mixed_up: bool = False, **settings: Any) -> Issuers:
    """The issuers of a file; their documents and keys come by HTTP."""
    (tmp_path / "providers.toml").write_text(PROVIDERS)
    keys = {"issuer.example": RSA, "other.example": OTHER}

    def answer(request: httpx.Request) -> httpx.Response:
        url = f"https://{request.url.host}"
        if request.url.path == "/keys":
            return httpx.Response(200, json={"keys": [keys[request.url.host].as_dict(private=False)]})
        named = URL if mixed_up else url
        ends = {name: f"{url}/{name}" for name in ("authorization_endpoint", "token_endpoint")}
        return httpx.Response(200, json={"issuer": named, "jwks_uri": f"{url}/keys", **ends})

    made = configured(
        Settings(oidc_providers_file=tmp_path / "providers.toml", **settings), httpx.MockTransport(answer)
    )
    assert made is not None
    for each in made._issuers.values():
        each._clock = lambda: NOW
    return made


async def test_each_issuer_signs_its_own_tokens_only(tmp_path: Path) -> None:
    issuers = both(tmp_path)
    assert await issuers.identify(token(), NONCE) == MINA
    theirs = token(OTHER, iss=OTHER_URL)
    assert (await issuers.identify(theirs, NONCE)).issuer == OTHER_URL
    for forged in (token(OTHER), token(iss=OTHER_URL), token(OTHER, iss="https://third.example"), token(iss=None)):
        with pytest.raises(NotGenuine):
            await issuers.identify(forged, NONCE)


@pytest.mark.parametrize("what", ["garbage", "not even that", "a list for a header", "no signature"])
async def test_what_is_no_token_names_no_issuer(tmp_path: Path, what: str) -> None:
    with pytest.raises(NotGenuine):
        await both(tmp_path).identify(BAD[what], NONCE)


async def test_an_issuer_vouches_for_addresses_of_its_domains_only(tmp_path: Path) -> None:
    """One that says anything about another's address would else get that person's account."""
    issuers = both(tmp_path)
    assert (await issuers.identify(token(), NONCE)).email == "mina@x.example"
    for address in ("mina@y.example", "mina@sub.x.example", "mina@notx.example"):
        assert (await issuers.identify(token(email=address), NONCE)).email == ""
    assert (await issuers.identify(token(OTHER, iss=OTHER_URL), NONCE)).email == ""


async def test_a_document_of_another_issuer_gives_no_keys(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        await both(tmp_path, mixed_up=True).identify(token(OTHER, iss=OTHER_URL), NONCE)


def test_an_issuer_is_configured_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="twice"):
        both(tmp_path, oidc_issuer=URL, oidc_audience="us", oidc_jwks_url=f"{URL}/keys")
