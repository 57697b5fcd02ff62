"""Tokens: only what identity signed for this purpose, in time, opens a door."""

import asyncio
import time
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from shared.runtime import auth
from shared.runtime.auth import Actor, TokenSigner, TokenVerifier, public_keys
from shared.runtime.problems import Problem
from tests.services.tokens import NOW, NothingEnded, by_hand, claims

KEY, OTHER = (ECKey.generate_key("P-256", {"kid": kid}) for kid in ("key-1", "key-2"))
ACTOR = Actor(
    account_id="account", organisation_id="organisation", organisation_kind="customer", session_id="session", since=7
)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Identity:
    """What answers /.well-known/jwks.json."""

    def __init__(self, *keys: ECKey) -> None:
        self.keys, self.asked, self.away = list(keys), 0, False

    async def __call__(self) -> Any:
        self.asked += 1
        if self.away:
            raise httpx.ConnectError("away")
        return public_keys(self.keys)


def signed(key: Any = KEY, alg: str = "ES256", header: dict[str, Any] | None = None, **changed: Any) -> str:
    return jwt.encode({"alg": alg, "kid": "key-1", **(header or {})}, claims(**changed), key, [alg])


async def _actor(token: str, *keys: ECKey) -> Actor:
    return await TokenVerifier(Identity(*(keys or (KEY,))), NothingEnded(), Clock()).actor(f"Bearer {token}")


async def test_what_identity_signs_every_door_reads() -> None:
    publishers = Actor(
        account_id="account",
        organisation_id="organisation",
        organisation_kind="publisher",
        publisher="autodesk",
        session_id="session",
    )
    for actor in (ACTOR, publishers):
        assert await _actor(TokenSigner(KEY, Clock()).sign(actor, "token")) == actor
    assert await _actor(signed()) == ACTOR


PUBLIC = KEY.as_pem(private=False)
FORGED = {
    "no signature": by_hand(b'{"alg": "none", "kid": "key-1"}'),
    "HMAC with the public key as its secret": by_hand(b'{"alg": "HS256", "kid": "key-1"}', PUBLIC),
    "another algorithm": signed(RSAKey.generate_key(2048), "RS256"),
    "another key under this key's name": signed(OTHER),
    "a key that it brings along": signed(OTHER, header={"jwk": OTHER.as_dict(private=False)}),
    "a place to fetch its key": signed(header={"jku": "https://attacker.example/keys"}),
    "a place to fetch its certificate": signed(header={"x5u": "https://attacker.example/certificate"}),
    "no name of a key": jwt.encode({"alg": "ES256"}, claims(), KEY, ["ES256"]),
    "a header that is a list": by_hand(b"[]"),
    "a header that is null": by_hand(b"null"),
    "a list of algorithms": by_hand(b'{"alg": ["ES256"], "kid": "key-1"}'),
    "a key's name that is a list": by_hand(b'{"alg": "ES256", "kid": ["key-1"]}'),
    "an extension that it calls critical": by_hand(b'{"alg": "ES256", "kid": "key-1", "crit": ["b64"], "b64": false}'),
    "brackets without an end": by_hand(b"[" * 2000),
    "not valid yet": signed(nbf=int(NOW) + 31),
    "expired 31 seconds ago": signed(exp=int(NOW) - 31),
    "expired as long ago as clocks may differ": signed(exp=int(NOW) - 30),
    "issued in the future": signed(iat=int(NOW) + 31),
    "an invitation": signed(aud="tenure-invitation"),
    "another issuer": signed(iss="somebody"),
    "no expiry": signed(exp=None),
    "no audience": signed(aud=None),
    "no account": signed(sub=None),
    "a number for an account": signed(sub=7),
    "no time of issue": signed(iat=None),
    "no id": signed(jti=None),
    "no session": signed(sid=None),
    "an empty session": signed(sid=""),
    "a number for a session": signed(sid=7),
    "a session and a machine": signed(client_id="machine", scope="read"),
    "a machine without a scope": signed(sid=None, client_id="machine"),
    "a machine with a list for a scope": signed(sid=None, client_id="machine", scope=["read"]),
    "not since when": signed(since=None),
    "since before the log": signed(since=-1),
    "since a word": signed(since="7"),
    "since true": signed(since=True),
    "no kind of organisation": signed(kind=None),
    "an expiry that is a word": signed(exp="never"),
    "no organisation": signed(org=None),
    "an empty organisation": signed(org=""),
    "a list for a publisher": signed(pub=["autodesk"]),
    "a list for an organisation": signed(org=["organisation"]),
    "a changed body": signed()[:-90] + "x" + signed()[-89:],
    "garbage": "a.b.c",
    "not even that": "\x00",
    "a good one and more": f"{signed()}.more",
    "a good one that is too long": signed(more="x" * 4096),
}


@pytest.mark.parametrize("what", FORGED)
async def test_nothing_else_opens_a_door(what: str) -> None:
    with pytest.raises(Problem) as refused:
        await _actor(FORGED[what])
    assert refused.value.status == 401


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", f"Token {signed()}"])
async def test_no_token_is_no_entry(header: str | None) -> None:
    with pytest.raises(Problem) as refused:
        await TokenVerifier(Identity(KEY), NothingEnded(), Clock()).actor(header)
    assert refused.value.status == 401
    assert refused.value.headers["WWW-Authenticate"] == "Bearer"


async def test_a_new_key_is_fetched_once_and_not_for_every_stranger() -> None:
    clock, identity = Clock(), Identity(KEY)
    verifier = TokenVerifier(identity, NothingEnded(), clock)
    await verifier.actor(f"Bearer {signed()}")
    identity.keys.append(OTHER)
    newer = jwt.encode({"alg": "ES256", "kid": "key-2"}, claims(), OTHER, ["ES256"])
    for _ in range(3):
        with pytest.raises(Problem):
            await verifier.actor(f"Bearer {newer}")
    assert identity.asked == 1
    clock.now += 6
    assert await verifier.actor(f"Bearer {newer}") == ACTOR
    assert identity.asked == 2


async def test_known_keys_are_good_while_identity_is_away() -> None:
    clock, identity = Clock(), Identity(KEY)
    verifier = TokenVerifier(identity, NothingEnded(), clock)
    await verifier.actor(f"Bearer {signed()}")
    identity.away = True
    clock.now += 10
    strange = jwt.encode({"alg": "ES256", "kid": "key-2"}, claims(), OTHER, ["ES256"])
    with pytest.raises(Problem) as refused:
        await verifier.actor(f"Bearer {strange}")
    assert (refused.value.status, identity.asked) == (401, 2)
    assert await verifier.actor(f"Bearer {signed(exp=int(NOW) + 3600)}") == ACTOR


async def test_clocks_may_differ_by_half_a_minute() -> None:
    for token in (signed(exp=int(NOW) - 29), signed(iat=int(NOW) + 29), signed(nbf=int(NOW) + 29)):
        assert await _actor(token) == ACTOR


async def test_a_machine_has_scopes_and_no_session() -> None:
    machine = Actor(
        account_id="account",
        organisation_id="organisation",
        organisation_kind="customer",
        client_id="m",
        scopes=frozenset({"read", "x:y"}),
        since=7,
    )
    assert await _actor(TokenSigner(KEY, Clock()).sign(machine, "token")) == machine


async def test_a_session_that_has_ended_opens_nothing_while_its_token_is_remembered_as_good() -> None:
    ended = set[str]()

    class SomeEnded:
        async def good(self, actor: Actor, token: str) -> bool:
            return bool(token) and actor.session_id not in ended

    verifier, token = TokenVerifier(Identity(KEY), SomeEnded(), Clock()), f"Bearer {signed()}"
    assert await verifier.actor(token) == ACTOR
    ended.add("session")
    with pytest.raises(Problem) as refused:
        await verifier.actor(token)
    assert refused.value.status == 401
    assert refused.value.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


async def test_a_key_that_is_withdrawn_opens_nothing_once_the_keys_are_read_again() -> None:
    clock, identity = Clock(), Identity(KEY, OTHER)
    verifier = TokenVerifier(identity, NothingEnded(), clock)
    before = f"Bearer {signed(exp=int(NOW) + 3600)}"
    await verifier.actor(before)
    identity.keys[:] = [OTHER]
    clock.now += 59
    assert (await verifier.actor(before), identity.asked) == (ACTOR, 1)
    clock.now += 1
    with pytest.raises(Problem) as refused:
        await verifier.actor(before)
    assert (refused.value.status, identity.asked) == (401, 2)


async def test_a_token_that_was_good_expires_all_the_same() -> None:
    clock = Clock()
    verifier, token = TokenVerifier(Identity(KEY), NothingEnded(), clock), f"Bearer {signed()}"
    for _ in range(2):
        assert await verifier.actor(token) == ACTOR
    clock.now += 91
    with pytest.raises(Problem) as refused:
        await verifier.actor(token)
    assert refused.value.status == 401


async def test_of_the_tokens_that_were_good_some_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "KNOWN_TOKENS", 3)
    verifier = TokenVerifier(Identity(KEY), NothingEnded(), Clock())
    for number in range(10):
        assert await verifier.actor(f"Bearer {signed(jti=str(number))}") == ACTOR
        assert len(verifier._good) <= 3


async def test_strangers_make_one_request_every_five_seconds() -> None:
    clock, identity = Clock(), Identity(KEY)
    verifier = TokenVerifier(identity, NothingEnded(), clock)
    strangers = [jwt.encode({"alg": "ES256", "kid": f"kid-{n}"}, claims(), OTHER, ["ES256"]) for n in range(12)]
    for second, stranger in enumerate(strangers):
        clock.now = NOW + second
        with pytest.raises(Problem):
            await verifier.actor(f"Bearer {stranger}")
    assert identity.asked == 2


@pytest.mark.parametrize("answer", [{}, [], {"keys": [{"kty": "EC"}]}, {"keys": 7}, None])
async def test_an_answer_that_is_no_key_set_is_as_good_as_none(answer: Any) -> None:
    async def fetch() -> Any:
        return answer

    with pytest.raises(Problem) as refused:
        await TokenVerifier(fetch, NothingEnded(), Clock()).actor(f"Bearer {signed()}")
    assert refused.value.status == 503


async def test_those_who_wait_for_the_keys_share_one_request() -> None:
    """Else each would wait for the timeouts of all before it."""
    asked = 0

    async def fetch() -> Any:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)
        raise httpx.ConnectTimeout("away")

    verifier = TokenVerifier(fetch, NothingEnded())
    answers = await asyncio.gather(*(verifier.actor(f"Bearer {signed()}") for _ in range(20)), return_exceptions=True)
    assert {getattr(answer, "status", None) for answer in answers} == {503}
    assert asked == 1
    with pytest.raises(Problem):
        await verifier.actor(f"Bearer {signed()}")
    assert asked == 2


async def test_without_keys_the_answer_is_later_not_no() -> None:
    identity = Identity(KEY)
    identity.away = True
    verifier = TokenVerifier(identity, NothingEnded())
    with pytest.raises(Problem) as refused:
        await verifier.actor(f"Bearer {signed(exp=int(time.time()) + 60)}")
    assert refused.value.status == 503
