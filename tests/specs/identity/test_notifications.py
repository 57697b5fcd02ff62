"""Whom an event is told to and in which words, and how a person chooses to be told."""

import re
from pathlib import Path

import pytest
from pydantic import JsonValue

from services.identity.domain.account import ACCOUNT, SetNotificationPreferences
from services.identity.domain.notification_pages import page_of, paths_of
from services.identity.domain.notification_rows import NOBODY, Audience, Notification, Subject
from services.identity.domain.notification_table import ROWS, TABLE, rows_of
from services.identity.domain.notifications import KINDS
from services.identity.mail import letters
from services.identity.notifications.reactions import NOTIFICATIONS, facts_of, notification_id
from services.identity.notifications.texts import in_path
from services.identity.notifications.words import LANGUAGES, ROLES, SOURCE, UNKNOWN, catalogue, places, words_for
from shared.events import (
    CreditsExpired,
    CreditsGranted,
    Event,
    NotificationChoice,
    NotificationPreferencesSet,
    RolloutPaused,
    SessionEnded,
    SessionsEnded,
    UpdateOffered,
    WebhookParked,
)
from shared.events.identity import OrganisationKind
from tests.contracts.golden import sample
from tests.examples.identity import CLOSED, OPENED
from tests.spec import given

OFF = NotificationChoice(kind="seat", email=False, inbox=False)
CHOSEN = NotificationPreferencesSet(account_id="account-1", choices=(OFF,))
KINDS_OF: dict[Audience, tuple[OrganisationKind, ...]] = {
    "administrators": ("customer",),
    "inviter": ("customer", "partner", "publisher", "operator"),
    "manager": ("customer",),
    "managers-of-people": ("partner",),
    "orderer": ("partner",),
    "person": ("customer",),
    "purchaser": ("customer",),
    "registrant": ("customer", "partner", "publisher", "operator"),
}
"""The kinds of organisation that people of an audience are of."""
ABOUT = Subject(subject_id="s", contract_id="c", customer="org-1", partner="org-2", product="AutoCAD")
OTHERS = (*(kind.label for kind in KINDS.values()), *ROLES.values(), *UNKNOWN.values(), "Sandbox", letters.SANDBOX_LINE)
SENTENCES = [*dict.fromkeys((*(text for row in ROWS for text in (row.title, row.text)), *OTHERS))]


# ── Preferences ────────────────────────────────────────────────────────────────────────────────────────


def choose(kind: str, *, email: bool, inbox: bool) -> SetNotificationPreferences:
    return SetNotificationPreferences((NotificationChoice(kind=kind, email=email, inbox=inbox),))


def test_a_person_chooses_how_to_be_told() -> None:
    given(ACCOUNT, OPENED).when(choose("seat", email=False, inbox=False)).then(CHOSEN)


def test_choices_of_other_kinds_stay() -> None:
    both = (OFF, NotificationChoice(kind="credits", email=True, inbox=True))
    after = NotificationPreferencesSet(account_id="account-1", choices=both)
    given(ACCOUNT, OPENED, CHOSEN).when(choose("credits", email=True, inbox=True)).then(after)


def test_what_is_chosen_already_changes_nothing() -> None:
    given(ACCOUNT, OPENED, CHOSEN).when(choose("seat", email=False, inbox=False)).then_nothing()
    given(ACCOUNT, OPENED).when(choose("seat", email=True, inbox=True)).then_nothing()


def test_what_people_have_to_hear_can_be_moved_but_not_switched_off() -> None:
    off = choose("renewal-reminder", email=False, inbox=False)
    given(ACCOUNT, OPENED).when(off).then_refused("notification-required")
    moved = NotificationChoice(kind="renewal-reminder", email=False, inbox=True)
    event = NotificationPreferencesSet(account_id="account-1", choices=(moved,))
    given(ACCOUNT, OPENED).when(SetNotificationPreferences((moved,))).then(event)


def test_one_refused_choice_refuses_all() -> None:
    choices = (OFF, NotificationChoice(kind="security", email=False, inbox=False))
    given(ACCOUNT, OPENED).when(SetNotificationPreferences(choices)).then_refused("notification-required")


def test_a_kind_that_does_not_exist_is_refused() -> None:
    given(ACCOUNT, OPENED).when(choose("gossip", email=False, inbox=True)).then_refused("notification-kind-unknown")


def test_only_an_open_account_chooses() -> None:
    given(ACCOUNT).when(choose("seat", email=False, inbox=False)).then_refused("account-unknown")
    closed = given(ACCOUNT, OPENED, CLOSED).when(choose("seat", email=False, inbox=False))
    closed.then_refused("account-closed", because=[CLOSED])


# ── The table ──────────────────────────────────────────────────────────────────────────────────────────


def example(row: Notification) -> Event:
    """An event that the row is for."""
    event: Event = sample(row.event)
    changes: dict[str, str | None] = {}
    match event:
        case SessionsEnded():
            changes = {"reason": "ended-by-operator" if row.variant == "operator" else "password-changed"}
        case SessionEnded():
            changes = {"reason": "refresh-token-reused"}
        case RolloutPaused():
            changes = {"cause": row.variant or None}
        case WebhookParked():
            changes = {"reason": row.variant}
        case CreditsGranted() | CreditsExpired():
            changes = {"account_id": "account-1" if row.variant == "person" else None}
    return event.model_copy(update=changes)


def test_no_two_rows_have_one_name() -> None:
    assert len(TABLE) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.template)
def test_an_event_has_one_row_whose_places_are_filled(row: Notification) -> None:
    event = example(row)
    assert rows_of(event) == [row]
    assert row.kind in KINDS
    facts = facts_of(row, event, ABOUT)
    lacking = {name for name, _ in places(row.title) | places(row.text)} - facts.keys()
    assert not lacking, f"{row.template} has no facts for {lacking}"
    for language in LANGUAGES:
        words = words_for(language, "Europe/Berlin")
        for sentence in (row.title, row.text):
            text = words.text(sentence, facts)
            assert text and not set(text) & set("{}"), text


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.template)
def test_a_notification_has_the_page_where_one_acts_for_each_kind_of_people_who_get_it(row: Notification) -> None:
    facts = facts_of(row, example(row), ABOUT)
    for audience in row.to:
        for kind in KINDS_OF[audience]:
            first, *_ = paths_of(row, kind)
            page = page_of(row, kind, in_path(facts))
            assert re.fullmatch(re.sub(r"\{\w+\}", "[^/{}]+", first), page), f"{kind}: {page or 'no page'}"


def test_of_an_older_notification_with_fewer_facts_the_nearest_page_is_shown() -> None:
    (row,) = rows_of(sample(UpdateOffered))
    assert page_of(row, "customer", in_path({"contract_id": "c/1", "seats": 3})) == "/updates/c%2F1"
    assert page_of(row, "customer", {}) == "/updates"
    assert page_of(row, "partner", {"contract_id": "c"}) == ""


def test_every_kind_has_an_event_and_every_event_a_reaction() -> None:
    assert {row.kind for row in ROWS} == set(KINDS)
    assert {row.event.type() for row in ROWS} <= NOTIFICATIONS.types


def test_the_reminder_names_the_last_day_and_the_readers_own_time() -> None:
    row = TABLE["RenewalReminded"]
    facts = {
        "product": "AutoCAD",
        "ends": "2026-12-31",
        "last_day": "2026-12-23",
        "zone": "Pacific/Auckland",
        "deadline": "2026-12-23T11:00:00+00:00",
    }
    german = words_for("de-DE", "Europe/Berlin").text(row.text, facts)
    assert "31. Dezember 2026" in german
    assert "23. Dezember 2026 (Pacific/Auckland)" in german
    assert "23. Dezember 2026, 12:00 MEZ" in german
    english = words_for("en-GB", "Pacific/Auckland").text(row.text, facts)
    assert "31 December 2026" in english and "24 December 2026, 00:00 GMT+13:00" in english


def test_money_has_the_readers_form_and_the_currencys_minor_units() -> None:
    euros: JsonValue = {"amount": 123_456, "currency": "EUR"}
    yen: JsonValue = {"amount": 123_456, "currency": "JPY"}
    assert words_for("de-DE", "UTC").text("{a:money}", {"a": euros}) == "1.234,56\N{NO-BREAK SPACE}€"
    assert words_for("en-US", "UTC").text("{a:money}", {"a": euros}) == "€1,234.56"
    assert words_for("en-US", "UTC").text("{a:money}", {"a": yen}) == "¥123,456"


def test_what_somebody_wrote_is_quoted_line_by_line_and_fills_no_places() -> None:
    facts = {"reason": "not {who}\n\nAuto-renew is off.\r\u2028really"}
    text = words_for("en", "UTC").text("Declined.\n\n{reason:quoted}\n\nAsk again.", facts)
    assert text == "Declined.\n\n> not {who}\n> Auto-renew is off.\n> really\n\nAsk again."


def test_without_a_reason_nothing_is_quoted() -> None:
    assert words_for("en", "UTC").text("Declined.\n\n{reason:quoted}\n\nAsk again.", {}) == "Declined.\n\nAsk again."


def test_an_unknown_name_or_product_has_a_word() -> None:
    words = words_for("de", "UTC")
    assert words.text("{who:person}, {of:organisation}, {product}", {"who": "", "of": ""}) == (
        "jemand, eine Organisation, ein Produkt"
    )


@pytest.mark.parametrize("tag", ["fr-FR", "zz", "", "de-XX-nonsense"])
def test_a_locale_without_texts_reads_english_or_its_language(tag: str) -> None:
    assert words_for(tag, "Mars/Olympus").locale.language in LANGUAGES


def test_one_event_and_person_have_one_id() -> None:
    assert notification_id("e", "a") == notification_id("e", "a")
    assert len({notification_id("e", "a"), notification_id("e", "b"), notification_id("f", "a")}) == 3


def test_a_pause_of_before_causes_were_named_is_told() -> None:
    event = sample(RolloutPaused).model_copy(update={"cause": None})
    assert [row.template for row in rows_of(event)] == ["RolloutPaused"]
    assert facts_of(rows_of(event)[0], event, NOBODY)["reason"] == event.reason


# ── Translations ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("language", [each for each in LANGUAGES if each != SOURCE])
def test_every_sentence_is_translated_with_the_same_places(language: str) -> None:
    words = catalogue(language)
    composed = re.findall(r'words\.text\(\s*"((?:[^"\\]|\\.)*)"', Path(letters.__file__).read_text())
    sentences = [*SENTENCES, *(text.encode().decode("unicode_escape") for text in composed)]
    assert len(composed) == 3
    known = {sentence for sentence in vars(words)["_catalog"] if isinstance(sentence, str)}
    assert [sentence for sentence in sentences if sentence not in known] == [], "add them to the catalogue"
    assert known - {*sentences, ""} == set(), "no sentence of the source"
    wrong = [sentence for sentence in sentences if places(words.gettext(sentence)) != places(sentence)]
    assert not wrong, "the translation has other places"


def test_every_template_of_a_mail_to_a_known_person_is_translated() -> None:
    folder = Path(letters.__file__).parent / "templates"
    fields = re.compile(r"\$\w+")
    english = {file.name: file.read_text() for file in (folder / SOURCE).glob("*.txt")}
    for language in LANGUAGES:
        found = {file.name: file.read_text() for file in (folder / language).glob("*.txt")}
        assert found.keys() >= english.keys() - {"prove-address.txt"}
        for name, text in found.items():
            assert set(fields.findall(text)) == set(fields.findall(english[name])), f"{language}/{name}"
