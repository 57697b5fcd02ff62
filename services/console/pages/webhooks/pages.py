"""The list of webhooks, one of them, and the form that registers another."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from pydantic import JsonValue
from starlette.responses import Response

from services.console.areas import Attention
from services.console.deeds import Deed, again, carry_out
from services.console.doors import path
from services.console.names import names_of
from services.console.pages.one_time import SecretWords, overlap, rotation, show_once
from services.console.shapes.machines import Machines
from services.console.shapes.webhooks import Webhook, Webhooks, WebhookSecret
from services.console.texts import marked
from services.console.visits import Page, Visit

AT: Final = "/webhooks"
TOPICS: Final = tuple(f"{service}.events.v1" for service in ("marketplace", "entitlements", "distribution", "identity"))
READS: Final = "read"
"""The scope of machines whose events a webhook may be sent."""
REASONS: Final[Mapping[str, str]] = {
    "not-accepted": marked("Its address did not accept an event for too long."),
    "events-not-kept": marked("The events that come next are not kept any more."),
    "secret-missing": marked("It has no secret to sign with: make a new one, then resume it."),
    "removed": marked("It was removed."),
    "gone": marked("Its address answered that it is gone for good."),
    "account-ended": marked("The account of its person was closed."),
    "machine-ended": marked("Its machine may not read any more."),
}
"""Why a webhook is parked or has ended."""
NOT_A_POSITION: Final = marked("Enter a position, such as 4211.")

# ── The list, and one of them ──────────────────────────────────────────────────────────────────────────


async def webhooks(visit: Visit) -> Response:
    """List the webhooks of the organisation that the person may see."""
    if visit.wants_csv:
        return await visit.export("identity", AT, "webhooks", "state")
    found = await visit.see_list("identity", AT, Webhooks, "state")
    return visit.page(
        "webhooks/webhooks.html", found=found, names=await names_of(visit, [each.registered_by for each in found.items])
    )


async def parked(visit: Visit) -> Sequence[Attention]:
    """Say how many webhooks wait for somebody to resume them."""
    found = await visit.see("identity", AT, Webhooks, state="parked", limit="100")
    count, texts = len(found.items), visit.texts
    if not count:
        return ()
    text = texts.ngettext(
        "A webhook is parked: its address did not accept an event.", "%(num)d webhooks are parked.", count
    )
    at = path("/webhooks/{id}", id=found.items[0].webhook_id) if count == 1 else f"{AT}?state=parked"
    return [Attention(text=text % {"num": count}, path=at, urgent=True)]


async def webhook(visit: Visit) -> Response:
    """Show a webhook, what became of its events, and the forms that change it."""
    found = await visit.see("identity", path("/webhooks/{id}", id=visit.id("webhook_id")), Webhook)
    visit.form.values.setdefault("overlap", "1")
    visit.form.values.setdefault("from", str(found.first_waiting or ""))
    return visit.page(
        "webhooks/webhook.html",
        webhook=found,
        reason=visit.texts.gettext(REASONS[found.reason or ""]) if found.reason in REASONS else "",
        now=datetime.now(UTC),
        names=await names_of(visit, [found.registered_by]),
    )


async def change(visit: Visit) -> Response:
    """Pause, resume, replay or remove the webhook, or give it a new secret."""
    match visit.form["act"]:
        case "rotate":
            return await _rotate(visit)
        case "replay":
            return await _replay(visit)
        case "remove":
            return await carry_out(visit, _removal(visit), webhook)
        case "resume":
            return await carry_out(visit, _resumption(visit), webhook)
        case _:
            return await carry_out(visit, _pause(visit), webhook)


def _pause(visit: Visit) -> Deed:
    texts = visit.texts
    says = texts.gettext("Nothing is sent until you resume it. Then it goes on where it stopped.")
    question, button = texts.gettext("Pause this webhook?"), texts.gettext("Pause it")
    return _command(visit, "/webhooks/{id}/pause", question, button, says, "webhook-paused")


def _resumption(visit: Visit) -> Deed:
    texts = visit.texts
    says = texts.gettext("It goes on with the event that it stopped at.")
    question, button = texts.gettext("Resume this webhook?"), texts.gettext("Resume it")
    return _command(visit, "/webhooks/{id}/resume", question, button, says, "webhook-resumed")


def _command(visit: Visit, route: str, question: str, button: str, says: str, notice: str) -> Deed:
    webhook_id = visit.id("webhook_id")
    return Deed(
        service="identity",
        method="POST",
        path=path(route, id=webhook_id),
        question=question,
        button=button,
        says=lambda _: [says],
        moves=True,
        then=path("/webhooks/{id}", id=webhook_id),
        notice=notice,
    )


def _removal(visit: Visit) -> Deed:
    texts = visit.texts
    return Deed(
        service="identity",
        method="DELETE",
        path=path("/webhooks/{id}", id=visit.id("webhook_id")),
        question=texts.gettext("Remove this webhook?"),
        button=texts.gettext("Remove it"),
        says=lambda _: [texts.gettext("Nothing more is sent to its address, and its secret is deleted.")],
        grave=True,
        moves=True,
        then=AT,
        notice="webhook-removed",
    )


async def _replay(visit: Visit) -> Response:
    form, texts, webhook_id = visit.form, visit.texts, visit.id("webhook_id")
    first = _position(form["from"])
    if first is None or first < 1:
        form.errors["from"] = texts.gettext(NOT_A_POSITION)
        return await again(visit, webhook)
    deed = Deed(
        service="identity",
        method="POST",
        path=path("/webhooks/{id}/replay", id=webhook_id),
        body={"after": first - 1},
        question=texts.gettext("Send the events from this position on?"),
        button=texts.gettext("Send them"),
        says=lambda _: [
            texts.gettext("The first one is at position %(position)s.") % {"position": texts.number(first)},
            texts.gettext(
                "What was accepted before is sent again, with the same ids. What waits before it is not sent."
            ),
        ],
        moves=True,
        then=path("/webhooks/{id}", id=webhook_id),
        notice="webhook-replays",
    )
    return await carry_out(visit, deed, webhook)


def _position(text: str) -> int | None:
    """Return the position that somebody entered; None if it is none."""
    digits = text.strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 15 else None


async def _rotate(visit: Visit) -> Response:
    texts, days = visit.texts, overlap(visit)
    kept = texts.ngettext(
        "Events are signed with the secret before it, too, for %(num)d day.",
        "Events are signed with the secret before it, too, for %(num)d days.",
        days,
    )
    deed = rotation(
        visit,
        path("/webhooks/{id}", id=visit.id("webhook_id")),
        question=texts.gettext("Give this webhook a new secret?"),
        before=kept % {"num": days} if days else texts.gettext("Nothing is signed with the secret before it any more."),
        moves=True,
    )
    return await _with_secret(visit, deed, webhook)


async def _with_secret(visit: Visit, deed: Deed, show: Page) -> Response:
    texts = visit.texts
    words = SecretWords(
        heading=texts.gettext("The webhook's secret"),
        keep=texts.gettext("It is shown this once. Keep it where the receiver checks signatures, and nowhere else."),
        lost=texts.gettext("It was shown already, and is not shown again. If it is lost, give the webhook a new one."),
        back=(AT, texts.gettext("Webhooks")),
    )

    def rows(made: WebhookSecret) -> Mapping[str, str]:
        return {texts.gettext("Secret"): made.secret} if made.secret else {}

    return await show_once(visit, deed, show, WebhookSecret, rows, words)


# ── Registering ────────────────────────────────────────────────────────────────────────────────────────


async def new(visit: Visit) -> Response:
    """Show the form that registers a webhook."""
    visit.form.values = {
        "name": "",
        "address": "https://",
        "topic": TOPICS[0],
        "types": "",
        "client_id": "",
        "after": "",
        **visit.form.values,
    }
    machines = await visit.see("identity", "/machines", Machines, revoked="false")
    reading = [(each.client_id, each.name) for each in machines.items if READS in each.scopes]
    return visit.page("webhooks/new.html", topics=TOPICS, machines=reading)


async def register(visit: Visit) -> Response:
    """Register the webhook, and show its secret once the person has confirmed that."""
    form, texts = visit.form, visit.texts
    form.require(texts, "name", "address")
    body: dict[str, JsonValue] = {
        "name": form["name"].strip(),
        "address": form["address"].strip(),
        "topic": form["topic"] if form["topic"] in TOPICS else TOPICS[0],
    }
    if types := form["types"].replace(",", " ").split():
        body["types"] = [*types]
    if form["client_id"]:
        body["client_id"] = form["client_id"]
    if form["after"].strip():
        first = _position(form["after"])
        if first is None or first < 1:
            form.errors["after"] = texts.gettext(NOT_A_POSITION)
        else:
            body["after"] = first - 1
    if form.wrong:
        return await again(visit, new)
    sent = texts.gettext("Events of %(topic)s are sent to %(address)s.") % body
    deed = Deed(
        service="identity",
        method="POST",
        path=AT,
        body=body,
        question=texts.gettext("Register this webhook?"),
        button=texts.gettext("Register it"),
        says=lambda _: [
            sent,
            texts.gettext("Whoever has this address reads what you may see: choose one that is yours."),
            texts.gettext("The webhook's secret is shown once: prepare the place where you keep it."),
        ],
        then=AT,
        notice="saved",
    )
    return await _with_secret(visit, deed, new)
