"""What people notice of a loss: whether they get in, are called by their names, and stay signed in."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
from joserfc.jwk import KeySet

from deploy.story.doors import Person
from deploy.story.steps import people
from shared.runtime.auth import AUDIENCE, verified
from shared.services import url_variable

PATIENCE_S: Final = 30.0
_ANY_AGE_S: Final = 86_400
"""A token of before the loss may have expired; it is its signature that has to be valid."""
_RUN: Final = re.compile(r"^The story story-(\w+):", re.MULTILINE)
_LEFT: Final = "third"
"""Whoever has closed the account by the end of the story."""
_ASKED: Final = {"marketplace": "/subscriptions", "entitlements": "/me/seats", "distribution": "/me/updates"}
"""Of each other service, a list that everybody may read."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person of the story, with what identity gave and showed before the loss."""

    person: Person
    access_token: str
    refresh_token: str
    profile: Mapping[str, Any]


def sign_in(env: Mapping[str, str], said: str) -> list[SignedIn]:
    """Sign in the people of a story, and read their profiles.

    Args:
        said: what the story said, from its beginning.
    """
    run = _RUN.search(said)
    assert run is not None, f"the story does not say its name: {said[:200]}"
    with _client(env, "identity") as identity:
        return [_signed_in(identity, person) for name, person in people(run[1]).items() if name != _LEFT]


def get_in(env: Mapping[str, str], before: Sequence[SignedIn], *, sessions_last: bool) -> None:
    """Prove that those people get in with their passwords, by every service, and are who they were.

    Args:
        sessions_last: whether the sessions of before the loss go on, too.
    """
    issuer = env[url_variable("identity")]
    with _client(env, "identity") as identity:
        keys = KeySet.import_key_set(_json(identity.get("/.well-known/jwks.json")))
        for each in before:
            verified(each.access_token, keys, AUDIENCE, issuer=issuer, leeway_s=_ANY_AGE_S)
            refreshed = identity.post("/sessions/refresh", json={"refresh_token": each.refresh_token})
            assert refreshed.is_success is sessions_last, f"the session of {each.person.email}: {refreshed.text}"
            again = _signed_in(identity, each.person)
            assert again.profile == each.profile, f"{each.person.email}: {again.profile} was {each.profile}"
            for service, path in _ASKED.items():
                with _client(env, service) as client:
                    _json(client.get(path, headers=_bearer(again.access_token)))


def _signed_in(identity: httpx.Client, person: Person) -> SignedIn:
    session = _json(identity.post("/sessions", json={"email": person.email, "password": person.password}))
    profile = _json(identity.get("/me", headers=_bearer(session["access_token"])))
    assert (profile["email"], profile["name"]) == (person.email, person.name), f"{person.email} is shown as {profile}"
    return SignedIn(person, session["access_token"], session["refresh_token"], profile)


def _client(env: Mapping[str, str], service: str) -> httpx.Client:
    return httpx.Client(base_url=env[url_variable(service)], timeout=PATIENCE_S)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _json(answer: httpx.Response) -> Any:
    assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:500]}"
    return answer.json()
