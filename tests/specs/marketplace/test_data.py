"""Data that rules are fed with: the example catalogue, policies, countries' calendars."""

from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from deploy import OperatorError
from deploy.data import catalogue
from services.marketplace.calendars import business_calendar, overrides
from services.marketplace.domain.calendar import last_permitted_day
from services.marketplace.domain.plan import hyphenated
from services.marketplace.domain.policy import Policy
from shared.events import Plan, PlanListed
from shared.events.envelope import from_headers
from shared.events.fields import product_id
from shared.runtime.policies import Policies, policies_of

PLANS = [PlanListed.model_validate_json(event.value).plan for event in catalogue()]


def test_the_catalogue_has_real_plans_of_every_kind() -> None:
    assert len(PLANS) >= 40
    assert {plan.category for plan in PLANS} == {"open", "specialised"}
    assert {plan.support for plan in PLANS} == {"basic", "advanced"}
    assert {plan.period for plan in PLANS} == {"monthly", "annual", "three_year"}
    assert {plan.agreement for plan in PLANS} == {"desktop", "maintenance", "other"}
    by_id = {hyphenated(plan.product_id): plan for plan in PLANS}
    assert len(by_id) == len(PLANS)
    assert (by_id["C1RK1-WW1762-L158"].product, by_id["C1RK1-WW1762-L158"].period) == ("autocad", "annual")
    assert by_id["057I1-007738-L882"].commitment_months == 36


def test_every_product_id_is_in_the_real_form_and_stored_without_hyphens() -> None:
    assert [product_id(plan.product_id) for plan in PLANS] == [plan.product_id for plan in PLANS]


def test_monthly_pre_paid_is_the_same_commitment_in_instalments() -> None:
    monthly = [plan for plan in PLANS if plan.period == "monthly"]
    assert monthly
    assert all(plan.billing == "instalments" and plan.commitment_months == 12 for plan in monthly)


def test_the_wizard_can_single_out_every_plan_that_can_be_ordered() -> None:
    def choices(plan: Plan) -> tuple[str, ...]:
        return plan.product, plan.period, plan.support, plan.billing

    orderable = [choices(plan) for plan in PLANS if plan.commitment_months == 12]
    assert len(set(orderable)) == len(orderable)


def test_a_row_is_a_foreign_cloudevent_and_the_same_one_each_time() -> None:
    once, again = list(catalogue()), list(catalogue())
    assert once == again
    envelope = from_headers([(name, value) for name, value in once[0].headers], once[0].key)
    assert (envelope.type, envelope.source, envelope.version) == ("PlanListed", "urn:publisher:autodesk", None)
    assert len({event.id for event in once}) == len(once)


def test_a_row_that_is_no_plan_is_named(tmp_path: Path) -> None:
    file = tmp_path / "catalogue.csv"
    lines = Path("deploy/data/catalogue.csv").read_text().splitlines()
    header = next(n for n, line in enumerate(lines) if line.startswith("product_id"))
    file.write_text("\n".join([lines[header], lines[header + 1].replace("227500", "a lot")]))
    with pytest.raises(OperatorError, match=r"row 1 .*C1RK1-WW1762-L158"):
        list(catalogue(file))


@pytest.fixture
def policies() -> Policies[Policy]:
    """Not read yet."""
    return Policies("marketplace", Policy, policies_of(Policy).file)


def test_a_publishers_policy_stands_over_the_default_one(
    policies: Policies[Policy], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "marketplace.toml").write_text(
        'default = {late_disable_auto_renew = "refuse", ask_again_after = 5}\npublisher.acme = {seats_at_most = 9}\n'
    )
    monkeypatch.setenv("TENURE_POLICIES", str(tmp_path))
    acme, other = policies.of("acme"), policies.of("other")
    assert (acme.seats_at_most, acme.late_disable_auto_renew) == (9, "refuse")
    assert (other.seats_at_most, other.ask_again_after.total_seconds()) == (999, 5)


@pytest.mark.parametrize(
    "wrong",
    [
        'default = {csn_pattern = "["}',
        "default = {seats = 3}",
        'default = {late_disable_auto_renew = "maybe"}',
        "other = 1",
    ],
)
def test_a_policy_that_means_nothing_stops_the_service(
    policies: Policies[Policy], wrong: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "marketplace.toml").write_text(wrong)
    monkeypatch.setenv("TENURE_POLICIES", str(tmp_path))
    with pytest.raises(ValueError):  # noqa: PT011  # pydantic's and our own
        policies.of(None)


def test_the_packaged_policies_are_the_usual_ones(policies: Policies[Policy]) -> None:
    usual = policies.of(None)
    assert usual == Policy()
    assert policies.of("autodesk").csn_pattern == "[0-9]{10}"


def test_a_countrys_calendar_knows_its_holidays_and_weekend() -> None:
    ends = date(2016, 12, 31)
    assert last_permitted_day(ends, business_calendar("DE", "Europe/Berlin", ends)) == date(2016, 12, 23)
    dubai = business_calendar("ae", "Asia/Dubai", ends)
    assert (dubai.id, dubai.time_zone, sorted(dubai.weekend)) == ("AE", "Asia/Dubai", [4, 5])
    assert dubai.version.startswith("holidays ")


@pytest.mark.parametrize(
    ("country", "zone", "ends", "last_day"),
    [
        (
            "US",
            "America/New_York",
            date(2016, 12, 31),
            date(2016, 12, 23),
        ),  # Christmas was on a Sunday: the 26th is off
        ("US", "America/Los_Angeles", date(2026, 1, 2), date(2025, 12, 24)),
        ("DE", "Europe/Berlin", date(2016, 12, 31), date(2016, 12, 23)),
        ("DE", "Europe/Berlin", date(2026, 1, 2), date(2025, 12, 23)),  # the 26th is off, too
    ],
)
def test_the_last_permitted_day_is_the_one_that_the_real_calendar_gives(
    country: str, zone: str, ends: date, last_day: date
) -> None:
    assert last_permitted_day(ends, business_calendar(country, zone, ends)) == last_day


def test_a_country_that_the_library_does_not_have_has_weekends_only() -> None:
    ends = date(2026, 1, 2)
    nowhere = business_calendar("XX", "UTC", ends)
    assert (nowhere.id, nowhere.version) == ("XX", "weekends-only")
    assert business_calendar("", "UTC", ends).id == "weekends-only"
    assert last_permitted_day(ends, nowhere) == date(2025, 12, 26)


@pytest.mark.parametrize("country", ["Germany", "XX", "UK"])
def test_a_file_for_an_unknown_country_is_refused(
    country: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "calendars.toml"
    file.write_text(f'[{country}]\nversion = "1"\n')
    monkeypatch.setenv("TENURE_CALENDARS", str(file))
    overrides.cache_clear()
    try:
        with pytest.raises(ValidationError):
            overrides()
    finally:
        overrides.cache_clear()


def test_a_file_adds_to_a_countrys_calendar_and_its_version_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = date(2016, 12, 31)
    before = business_calendar("DE", "Europe/Berlin", ends)
    file = tmp_path / "calendars.toml"
    file.write_text('[DE]\nversion = "7"\nholidays = ["2016-12-23"]\nworking_days = ["2016-12-26"]\n')
    monkeypatch.setenv("TENURE_CALENDARS", str(file))
    overrides.cache_clear()
    try:
        after = business_calendar("DE", "Europe/Berlin", ends)
    finally:
        overrides.cache_clear()
    assert last_permitted_day(ends, before) == date(2016, 12, 23)
    assert last_permitted_day(ends, after) == date(2016, 12, 26), "worked, although it is a holiday"
    assert not after.works(date(2016, 12, 23))
    assert after.version == f"{before.version}, DE 7"
