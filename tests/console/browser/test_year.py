"""A year that passes in a sandbox: its reminders come into the inbox and the mail folder, by the pages."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import httpx
import pytest
from babel import Locale
from babel.dates import format_date, format_time

from deploy.story.doors import ZONE
from deploy.year.customers import PASSWORD
from shared.runtime.zones import zone_name
from shared.services import url_variable
from tests.console.browser.bought import Bought, bought
from tests.console.browser.conftest import Site
from tests.console.browser.hands import BY_HAND, Hand, confirm, sign_in
from tests.console.browser.looking import evaluates

if TYPE_CHECKING:
    from playwright.sync_api import Page

BEFORE: Final = ("You are Contract Manager now", "the order is confirmed", "cloud credits for")
"""What the inbox says of the time before the year: the role, the order and the credits."""
INBOX: Final = "header a[href='/inbox']"
POLLED_MS: Final = 30_000
"""How often a page asks for the number of unread notifications."""


@dataclass(frozen=True, slots=True)
class Term:
    """The term of what was bought, and until when auto-renew can be turned off."""

    product: str
    ends: date
    last_day: date
    zone: str
    deadline: datetime

    def before(self, days: int) -> datetime:
        """The morning of the day that is so many days before its last one: one day in all zones of this test."""
        return datetime.combine(self.ends - timedelta(days=days), time_of_day(9), ZoneInfo(ZONE))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A person's language and zone, and what a reminder says in them."""

    locale: str
    zone: str
    title: str
    text: str
    mark: str
    """What the subject of a sandbox's mails begins with."""
    first_line: str
    """How such a mail itself begins."""

    def day(self, moment: datetime) -> str:
        """The day as the banner and the inbox write it."""
        return format_date(moment.astimezone(ZoneInfo(self.zone)), "medium", self.locale)

    def title_of(self, term: Term) -> str:
        return self.title.format(product=term.product, ends=format_date(term.ends, "long", self.locale))

    def last_day_of(self, term: Term) -> str:
        """The sentence about the last day to turn auto-renew off, also by the person's own clock."""
        local, locale = term.deadline.astimezone(ZoneInfo(self.zone)), Locale.parse(self.locale)
        last_day, day = (format_date(each, "long", locale) for each in (term.last_day, local))
        at = f"{day}, {format_time(local, 'short', locale=locale)} {zone_name(local, locale)}"
        return self.text.format(last_day=last_day, zone=term.zone, deadline=at)


ENGLISH: Final = Reader(
    locale="en_GB",
    zone=ZONE,
    title="{product} renews after {ends}",
    text="Auto-renew can be turned off until the end of {last_day} ({zone}); on your clock that is {deadline}.",
    mark="[Sandbox]",
    first_line="SANDBOX: this is about an organisation for trying things out",
)
GERMAN: Final = Reader(
    locale="de_DE",
    zone="Pacific/Auckland",
    title="{product} verlängert sich nach dem {ends}",
    text="Die automatische Verlängerung kann bis zum Ende des {last_day} ({zone}) abgeschaltet werden; nach Ihrer Uhr "
    "ist das {deadline}.",
    mark="[Testumgebung]",
    first_line="TESTUMGEBUNG: Hier geht es um eine Organisation zum Ausprobieren",
)


@pytest.fixture
def customer(site: Site) -> Bought:
    assert site.url  # which starts first
    return bought(f"year-{secrets.token_hex(4)}", seats=2, colleagues=0)


@pytest.fixture
def term(site: Site, customer: Bought) -> Term:
    answer = httpx.get(
        f"{site.env[url_variable('marketplace')]}/subscriptions/{customer.subscription_id}",
        headers={"Authorization": f"Bearer {customer.manager.token}"},
    )
    found: dict[str, Any] = answer.raise_for_status().json()
    last = found["auto_renew"]["cancel_by"]
    return Term(
        product=found["plan"]["product_name"],
        ends=date.fromisoformat(found["term"]["ends"]),
        last_day=date.fromisoformat(last["last_day"]),
        zone=last["time_zone"],
        deadline=datetime.fromisoformat(last["deadline"]),
    )


@BY_HAND
def test_a_year_passes_with_its_reminders(page: "Page", hand: Hand, site: Site, customer: Bought, term: Term) -> None:
    email = customer.manager.email
    sign_in(page, hand, email, PASSWORD)
    _verify(page, hand, site, email)
    _read_all(page, hand)
    beside = _beside(page)

    _move_to(page, hand, ENGLISH, term.before(90), "Nothing of your subscriptions falls due until then.")
    _counts(beside, 1)
    _read_reminder(page, hand, ENGLISH, term, term.before(90))
    _is_mailed(site, email, ENGLISH, term, 1)

    _prefer_german(page, hand)
    for days in (60, 30):
        _counts(beside, 0)
        _move_by_30_days(page, hand, GERMAN, term.before(days))
        _counts(beside, 1)
        _read_reminder(page, hand, GERMAN, term, term.before(days))
    _is_mailed(site, email, GERMAN, term, 2)

    last_day, ends = (format_date(day, "medium", GERMAN.locale) for day in (term.last_day, term.ends))
    falls_due = (
        f"{last_day}: der letzte Tag, um die automatische Verlängerung von {term.product} abzuschalten.",
        f"{ends}: Die Laufzeit von {term.product} endet und verlängert sich.",
    )
    _move_to(page, hand, GERMAN, term.before(-1), *falls_due)
    _inbox_has(page, hand, f"{term.product} wurde verlängert")
    hand.look("inbox")
    assert page.locator(f"main h2:has-text('{GERMAN.title_of(term)}')").count() == 3, page.inner_text("main")
    assert (len(_mails(site, email, ENGLISH, term)), len(_mails(site, email, GERMAN, term))) == (1, 2)


# ── The inbox ──────────────────────────────────────────────────────────────────────────────────────────


def _verify(page: "Page", hand: Hand, site: Site, email: str) -> None:
    """Confirm the address by the link of the mail: nothing is mailed to it before."""
    link = site.link(email, "Confirm")
    page.goto(link)
    if not evaluates(page):
        hand.enter("#token", link)
    hand.press("main button.main")
    page.wait_for_url("**/?notice=verified")


def _read_all(page: "Page", hand: Hand) -> None:
    """Mark everything that came before the year as read."""
    _inbox_has(page, hand, *BEFORE)
    hand.press("main .heading form button")
    page.wait_for_selector(f"{INBOX} .tag", state="detached")


def _inbox_has(page: "Page", hand: Hand, *words: str) -> None:
    """Open the inbox, and load it until it has all these."""
    hand.press(INBOX)
    page.wait_for_url("**/inbox")
    for _ in range(60):
        if all(each in page.inner_text("main") for each in words):
            return
        page.wait_for_timeout(500)
        page.reload()
    raise AssertionError(f"the inbox does not say all of {words}: {page.inner_text('main')}")


def _beside(page: "Page") -> "Page":
    """Open Home in another tab, which nobody touches from now on."""
    tab = page.context.new_page()
    if evaluates(page):
        tab.clock.install()
    tab.goto("/")
    if evaluates(tab):
        tab.evaluate("window.stayed = true")
    assert _unread(tab) == 0
    return tab


def _unread(page: "Page") -> int:
    tag = page.locator(f"{INBOX} .tag")
    return int(tag.inner_text().split()[0]) if tag.count() else 0


def _counts(tab: "Page", unread: int) -> None:
    """The tab's header comes to count so many: by itself, or without JavaScript once it is loaded again."""
    for _ in range(100):
        if _unread(tab) == unread:
            break
        if evaluates(tab):
            tab.clock.fast_forward(POLLED_MS)
        else:
            tab.reload()
        tab.wait_for_timeout(300)
    assert _unread(tab) == unread
    assert not evaluates(tab) or tab.evaluate("window.stayed") is True


def _read_reminder(page: "Page", hand: Hand, reader: Reader, term: Term, at: datetime) -> None:
    """Find the reminder as the newest notification, of the day that it is now, and mark it as read."""
    hand.press(INBOX)
    page.wait_for_url("**/inbox")
    shown = " ".join(page.locator("main article").first.inner_text().split())
    assert all(each in shown for each in (reader.title_of(term), reader.last_day_of(term), reader.day(at))), shown
    assert _unread(page) == 1
    hand.press("main article form button")
    page.wait_for_selector(f"{INBOX} .tag", state="detached")


def _mails(site: Site, email: str, reader: Reader, term: Term) -> Sequence[EmailMessage]:
    """Return the mails to a person with a reminder in this language."""
    subject = f"{reader.mark} {reader.title_of(term)}"
    read = (message_from_bytes(file.read_bytes(), policy=policy.default) for file in site.mails.glob("*.eml"))
    return [mail for mail in read if mail["To"] == email and mail["Subject"] == subject]


def _is_mailed(site: Site, email: str, reader: Reader, term: Term, times: int) -> None:
    """So many reminders in this language are in the mail folder, and say first that they are about a sandbox."""
    for _ in range(100):
        if len(_mails(site, email, reader, term)) >= times:
            break
        time.sleep(0.2)
    found = _mails(site, email, reader, term)
    assert len(found) == times
    for mail in found:
        body = " ".join(mail.get_content().split())
        assert body.startswith(reader.first_line) and reader.last_day_of(term) in body, body


# ── The clock ──────────────────────────────────────────────────────────────────────────────────────────


def _move_to(page: "Page", hand: Hand, reader: Reader, to: datetime, *falls_due: str) -> None:
    """Move the clock to a time, once the page has said what falls due until then."""
    _open_clock(page, hand)
    hand.enter("#to", f"{to.astimezone(ZoneInfo(reader.zone)):%Y-%m-%dT%H:%M}")
    hand.press("main button.main")
    page.wait_for_selector("main input[name=confirmed]", state="attached")
    hand.look(f"clock-{reader.locale}")
    confirm(page, hand, *falls_due, notice="clock-moved")
    _banner_shows(page, reader, to)


def _move_by_30_days(page: "Page", hand: Hand, reader: Reader, to: datetime) -> None:
    _open_clock(page, hand)
    hand.press("button[name=by][value='30']")
    confirm(page, hand, notice="clock-moved")
    _banner_shows(page, reader, to)


def _open_clock(page: "Page", hand: Hand) -> None:
    hand.press("aside.sandbox a")
    page.wait_for_url("**/clock")


def _banner_shows(page: "Page", reader: Reader, moment: datetime) -> None:
    assert reader.day(moment) in page.inner_text("aside.sandbox")


def _prefer_german(page: "Page", hand: Hand) -> None:
    """Choose another language and zone in the profile: what comes from now on is in them."""
    hand.press("header a[href='/profile']")
    page.wait_for_url("**/profile")
    hand.choose("#time_zone", GERMAN.zone)
    hand.choose("#locale", page.locator("#locale option[value='de-DE']").inner_text())
    hand.press("main button.main")
    page.wait_for_url("**/profile?notice=saved")
