"""A rule's refusals have one HTTP status, whoever refuses by it, and each OpenAPI document names it."""

import inspect

import pytest

import shared.rules
from services import definition_of
from shared.rule_status import CONFLICT, Rule, status_of
from shared.runtime.problems import Problem
from shared.services import SERVICES
from tests.services.every_route import app_of, rules_of

WITHOUT_AN_OPERATION = {400, 408, 431, 500}
"""The statuses of what is refused before an operation is known, and of a defect."""


def test_a_rule_has_the_status_of_its_constant() -> None:
    assert {status_of(rule) for rule in ("role-missing", "seat-right-missing", "agreement-missing")} == {403}
    assert status_of("seats-exhausted") == status_of("a rule of long ago") == CONFLICT


def test_nobody_gives_a_rule_a_second_status() -> None:
    with pytest.raises(ValueError, match="has the status 403"):
        Rule("role-missing", 409)
    assert "status" not in inspect.signature(Problem).parameters, "a refusal's status is that of its rule"
    assert Problem(rule=shared.rules.ROLE_MISSING, reason="None is held.").status == 403


@pytest.mark.parametrize("service", SERVICES)
def test_a_refusal_for_want_of_a_caller_says_how_one_signs_in(service: str) -> None:
    """RFC 9110 asks for a challenge with each 401, also where no token was expected."""
    unknown = [rule for rule in rules_of(service) if status_of(rule) == 401]
    assert unknown and {Problem(rule=rule, reason="No.").headers["WWW-Authenticate"] for rule in unknown} == {"Bearer"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_services_document_has_the_status_of_each_rule(service: str) -> None:
    document = app_of(service).openapi()
    by_rule = {status_of(rule) for rule in rules_of(service)} - WITHOUT_AN_OPERATION
    for route in definition_of(service).commands.routes:
        documented = document["paths"][route.path][route.method.lower()]["responses"]
        possible = by_rule - {412} if route.bulk else by_rule  # many commands have no condition
        assert {str(status) for status in possible} <= documented.keys(), route.path
