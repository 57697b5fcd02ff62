"""identity's signing keys follow each other, and nobody who checks tokens is caught out."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from joserfc.jwk import ECKey

from services.identity.signin import keys
from services.identity.signin.keys import PUBLISHED_S, CannotRetire, Keys, SigningKey, follow, load
from shared.runtime.auth import JWKS_S, Actor, TokenVerifier
from shared.runtime.settings import Settings
from tests.services.identity_bench import KEY, Bench
from tests.services.tokens import NothingEnded

OTHER = ECKey.generate_key("P-256", {"kid": "other"})
WHO = Actor(account_id="account", organisation_id="organisation", organisation_kind="customer", session_id="session")


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_key_is_published_longer_than_anybody_keeps_the_keys_before_it_signs() -> None:
    assert PUBLISHED_S >= 2 * JWKS_S


async def test_through_a_rotation_every_token_opens_for_whoever_checks_tokens() -> None:
    clock = Clock()
    made = Keys([SigningKey(KEY)], clock=clock)

    async def published() -> object:
        return made.published()

    verifier = TokenVerifier(published, NothingEnded(), clock)
    made.take([SigningKey(KEY), SigningKey(OTHER, clock.now + PUBLISHED_S)])
    signed_by = []
    for _ in range(2 * PUBLISHED_S):
        token = made.signer.sign(WHO, "token")
        assert await verifier.actor(f"Bearer {token}") == WHO
        signed_by.append(made._signing.kid)
        clock.now += 1
    assert signed_by == [KEY.kid] * PUBLISHED_S + [OTHER.kid] * PUBLISHED_S


async def test_what_the_key_before_has_signed_goes_on_being_read() -> None:
    before = Keys([KEY])
    invitation = before.invite("invitation", "token")
    assert Keys([KEY, SigningKey(OTHER, 1.0)]).invited_by(invitation) is not None
    assert Keys([OTHER]).invited_by(invitation) is None


@pytest.mark.system
async def test_a_running_process_takes_over_what_the_operator_does(bench: Bench) -> None:
    loaded = await load(bench.pool, Settings(), "first")
    following = asyncio.create_task(follow(bench.pool, loaded, every_s=0.02))
    try:
        await keys.rotate(bench.pool, "second")
        await published(loaded, ["first", "second"])
        assert loaded._signing.kid == "first"
        known = await keys.standing(bench.pool)
        assert [(key.kid, key.state) for key in known] == [("first", "signs"), ("second", "published")]
        instead = keys.successor(known, "first", at_once=True)
        assert instead == "second"
        await keys.retire(bench.pool, "first", instead)
        await published(loaded, ["second"])
        assert loaded._signing.kid == "second"
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert await bench.pool.fetchval("select pem from signing_keys where kid = 'first'") is None
    assert [key.state for key in await keys.standing(bench.pool)] == ["retired", "signs"]


async def published(loaded: Keys, kids: list[str]) -> None:
    for _ in range(500):
        if [key["kid"] for key in loaded.published()["keys"]] == kids:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not published: {kids}")


@pytest.mark.system
async def test_a_key_is_retired_once_nothing_that_it_signed_is_in_use(bench: Bench) -> None:
    await load(bench.pool, Settings(), "first")
    known = await keys.standing(bench.pool)
    for at_once in (False, True):
        with pytest.raises(CannotRetire, match="rotate first"):
            keys.successor(known, "first", at_once=at_once)
    await keys.rotate(bench.pool, "second")
    await at(bench, "second", timedelta(days=-6))
    known = await keys.standing(bench.pool)
    with pytest.raises(CannotRetire, match="Invitations"):
        keys.successor(known, "first", at_once=False)
    assert keys.successor(known, "first", at_once=True) is None
    await at(bench, "second", timedelta(days=-7, seconds=-1))
    assert keys.successor(await keys.standing(bench.pool), "first", at_once=False) is None
    with pytest.raises(LookupError):
        keys.successor(known, "third", at_once=True)


async def at(bench: Bench, kid: str, ago: timedelta) -> None:
    """Makes the key sign from so long ago on."""
    times = (
        "update signing_keys set signs_from = "
        "case kid when $1 then $2::timestamptz else $2::timestamptz - interval '1 year' end"
    )
    await bench.pool.execute(times, kid, datetime.now(UTC) + ago)


@pytest.mark.system
async def test_whoever_has_the_keys_is_told_that_nothing_is_new(bench: Bench) -> None:
    first = await bench.when("", "GET", "/.well-known/jwks.json")
    assert first.headers["cache-control"] == f"public, max-age={JWKS_S}"
    again = await bench.when("", "GET", "/.well-known/jwks.json", **{"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    bench.app.state.keys.take([SigningKey(KEY), SigningKey(OTHER)])
    new = await bench.when("", "GET", "/.well-known/jwks.json", **{"If-None-Match": first.headers["etag"]})
    assert (new.status_code, len(new.json()["keys"])) == (200, 2)
    assert not {"d"} & {name for key in new.json()["keys"] for name in key}, "nothing private"
