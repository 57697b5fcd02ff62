"""Creation and removal of Kafka's users (SCRAM credentials) and access rules (ACLs)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from deploy.declaration import Declaration, Grant, publisher_grants, user_of_publisher
from shared.events.registry import publisher_of_topic

REQUEST_S: Final = 10.0
_ITERATIONS: Final = 4096
"""Kafka's minimum, which is enough for passwords of 192 random bits."""
_MECHANISM: Final = ScramMechanism.SCRAM_SHA_512


def bring_about(
    admin: AdminClient, page: Declaration, password: Callable[[str], str], *, prune: bool = False
) -> list[str]:
    """Create the missing users and rules, and remove the rules on former topics.

    Passwords are set each time, as Kafka can't be asked for them.

    Returns:
        The undeclared users and rules, in words; `prune` removes them.
    """
    put(admin, {user: password(user) for user in page.users})
    present = bindings(admin)
    ended = {each for each in present if each.restype is ResourceType.TOPIC and each.name in page.former}
    _delete(admin, ended)
    present -= ended
    wanted = {_binding(each) for each in page.grants}
    _create(admin, wanted - present)
    allowed = wanted | {_binding(each) for name in _publishers(admin) for each in publisher_grants(name)}
    strange = sorted(present - allowed, key=str)
    known = {*page.users, *map(user_of_publisher, _publishers(admin))}
    strangers = sorted(existing(admin) - known)
    if prune:
        _delete(admin, strange)
        _remove(admin, strangers)
    return [*(f"the user {user}" for user in strangers), *map(_sentence, strange)]


def put(admin: AdminClient, passwords: Mapping[str, str]) -> None:
    """Create these users, or set their passwords."""
    info = ScramCredentialInfo(_MECHANISM, _ITERATIONS)
    wanted: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(user, info, text.encode()) for user, text in passwords.items()
    ]
    _done(admin.alter_user_scram_credentials(wanted, request_timeout=REQUEST_S))


def grant(admin: AdminClient, grants: Iterable[Grant]) -> None:
    """Create the access rules that are missing."""
    _create(admin, {_binding(each) for each in grants} - bindings(admin))


def revoke(admin: AdminClient, user: str) -> None:
    """Remove all rights and the credential of a user; also effective on open connections."""
    _delete(admin, [each for each in bindings(admin) if each.principal == f"User:{user}"])
    _remove(admin, [user] if user in existing(admin) else [])


def existing(admin: AdminClient) -> set[str]:
    """Return the users that have a credential."""
    answer: Any = admin.describe_user_scram_credentials(request_timeout=REQUEST_S)
    return set(answer.result())


def bindings(admin: AdminClient) -> set[AclBinding]:
    """Return all access rules."""
    anything: Any = None  # None means any: documented, but missing in the types
    everything = AclBindingFilter(
        ResourceType.ANY,
        anything,
        ResourcePatternType.ANY,
        anything,
        anything,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    return set(admin.describe_acls(everything, request_timeout=REQUEST_S).result())


def _publishers(admin: AdminClient) -> set[str]:
    """Return the publishers that have a topic, declared or created by `add-publisher`."""
    return {publisher_of_topic(name) for name in admin.list_topics(timeout=REQUEST_S).topics} - {""}


def _binding(each: Grant) -> AclBinding:
    return AclBinding(
        ResourceType.TOPIC if each.resource == "topic" else ResourceType.GROUP,
        each.name,
        ResourcePatternType.PREFIXED if each.prefixed else ResourcePatternType.LITERAL,
        f"User:{each.user}",
        "*",
        AclOperation[each.operation.upper()],
        AclPermissionType.ALLOW,
    )


def _sentence(each: AclBinding) -> str:
    end = "*" if each.resource_pattern_type is ResourcePatternType.PREFIXED else ""
    may = "may" if each.permission_type is AclPermissionType.ALLOW else "may not"
    return (
        f"{each.principal.removeprefix('User:')} {may} {_word(each.operation)} {_word(each.restype)} {each.name}{end}"
    )


def _word(each: object) -> str:
    return str(getattr(each, "name", each)).lower()


def _create(admin: AdminClient, wanted: Iterable[AclBinding]) -> None:
    if rules := list(wanted):
        _done(admin.create_acls(rules, request_timeout=REQUEST_S))


def _delete(admin: AdminClient, rules: Iterable[AclBinding]) -> None:
    exact = [
        AclBindingFilter(
            each.restype,
            each.name,
            each.resource_pattern_type,
            each.principal,
            each.host,
            each.operation,
            each.permission_type,
        )
        for each in rules
    ]
    if exact:
        _done(admin.delete_acls(exact, request_timeout=REQUEST_S))


def _remove(admin: AdminClient, users: Iterable[str]) -> None:
    deletions: list[UserScramCredentialAlteration] = [UserScramCredentialDeletion(user, _MECHANISM) for user in users]
    if deletions:
        _done(admin.alter_user_scram_credentials(deletions, request_timeout=REQUEST_S))


def _done(answers: Mapping[Any, Any]) -> None:
    """Wait for all results.

    Raises:
        KafkaException: The first error.
    """
    for answer in answers.values():
        answer.result()
