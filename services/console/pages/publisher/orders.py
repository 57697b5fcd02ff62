"""The orders that a publisher answers, live."""

import hashlib
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from services.console.areas import Attention
from services.console.deeds import Deed, again, carry_out
from services.console.doors import Refused, Unreachable, path
from services.console.shapes.publishing import PublishersOrder, PublishersOrders
from services.console.texts import marked
from services.console.visits import Visit

STATUSES: Final = {
    "awaiting": marked("to answer"),
    "failed": marked("declined"),
    "abandoned": marked("given up by the partner"),
    "confirmed": marked("confirmed"),
    "ended": marked("ended"),
}
TAGS: Final = {"awaiting": "open", "failed": "bad", "abandoned": "off", "confirmed": "good", "ended": "off"}


async def orders(visit: Visit) -> Response:
    """List the orders, those that wait for an answer first.

    The page asks for itself every few seconds; an unchanged one is answered with 204.
    """
    if visit.wants_csv:
        return await visit.export("marketplace", "/publisher/orders", "orders", "status")
    seen = visit.request.query_params.get("seen", "")
    try:
        found = await visit.see_list("marketplace", "/publisher/orders", PublishersOrders, "status")
    except (Refused, Unreachable):
        if seen:  # it asks again by itself
            return Response(status_code=HTTPStatus.NO_CONTENT)
        raise
    digest = hashlib.sha256(found.model_dump_json().encode()).hexdigest()[:16]
    if seen == digest:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    return visit.page(
        "publisher/orders.html",
        found=found,
        digest=digest,
        statuses=[(name, visit.texts.gettext(text)) for name, text in STATUSES.items()],
        words={name: visit.texts.gettext(text) for name, text in STATUSES.items()},
        tags=TAGS,
    )


async def waiting(visit: Visit) -> Sequence[Attention]:
    """Return what waits for the publisher's people: orders without an answer."""
    found = await visit.see("marketplace", "/publisher/orders", PublishersOrders, status="awaiting", limit="200")
    if not found.items:
        return ()
    number = len(found.items)
    text = visit.texts.ngettext("%(num)d order waits for your answer.", "%(num)d orders wait for your answer.", number)
    return (Attention(text=text % {"num": number}, path="/publisher/orders?status=awaiting", urgent=True),)


async def _asked_order(visit: Visit) -> PublishersOrder | None:
    subscription_id = visit.id("subscription_id")
    found = await visit.see("marketplace", "/publisher/orders", PublishersOrders, q=subscription_id)
    return next((each for each in found.items if each.subscription_id == subscription_id), None)


async def order(visit: Visit) -> Response:
    """Show an order, and the forms that answer it."""
    found = await _asked_order(visit)
    if found is None:
        return visit.page("not-found.html", HTTPStatus.NOT_FOUND)
    for name in ("reference", "reason"):
        visit.form.values.setdefault(name, "")
    words = {name: visit.texts.gettext(text) for name, text in STATUSES.items()}
    return visit.page("publisher/order.html", order=found, words=words, tags=TAGS)


async def answer(visit: Visit) -> Response:
    """Confirm or decline the order, once the person has confirmed that."""
    form, texts = visit.form, visit.texts
    accepted = form["do"] != "decline"
    given = "reference" if accepted else "reason"
    if not form.require(texts, given):
        return await again(visit, order)
    at = path("/publisher/orders/{subscription_id}", subscription_id=visit.id("subscription_id"))
    confirmed = texts.gettext("The subscription begins, with its term, seats and instalments.")
    declined = texts.gettext("The partner reads the reason. It can correct the order and send it again, or give it up.")
    accept = texts.gettext("Confirm the order?"), texts.gettext("Confirm it"), confirmed
    decline = texts.gettext("Decline the order?"), texts.gettext("Decline it"), declined
    question, button, follows = accept if accepted else decline
    deed = Deed(
        service="marketplace",
        method="POST",
        path=f"{at}/confirmation" if accepted else f"{at}/decline",
        body={given: form[given].strip(), "order": form["order"]},
        question=question,
        button=button,
        says=lambda outcome: [
            follows if outcome.events else texts.gettext("The order was changed or answered meanwhile: look again.")
        ],
        grave=accepted,
        then="/publisher/orders?status=awaiting",
        notice="answer-yes" if accepted else "answer-no",
    )
    return await carry_out(visit, deed, order)
