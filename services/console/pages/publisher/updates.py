"""The updates that a publisher publishes, and withdraws."""

import asyncio
from http import HTTPStatus
from typing import Final

from pydantic import JsonValue
from starlette.responses import Response

from services.console.deeds import Deed, again, carry_out
from services.console.doors import path
from services.console.forms import whole_number
from services.console.products import offered_products
from services.console.shapes.publishing import PublishedUpdates
from services.console.texts import marked
from services.console.visits import Visit

TEXTS: Final = ("update_id", "product", "title", "version", "platform", "location", "sha256", "size_bytes")
NOT_BYTES: Final = marked("Write the size in bytes, as a whole number.")


async def updates(visit: Visit) -> Response:
    """List the publisher's updates."""
    if visit.wants_csv:
        return await visit.export("distribution", "/publisher/updates", "updates", "status")
    found, products = await asyncio.gather(
        visit.see_list("distribution", "/publisher/updates", PublishedUpdates, "status"), offered_products(visit)
    )
    return visit.page("publisher/updates.html", found=found, products=products)


async def new(visit: Visit) -> Response:
    """Show the form for an update."""
    for name in (*TEXTS, "component"):
        visit.form.values.setdefault(name, "")
    visit.form.values.setdefault("kind", "update")
    visit.form.values.setdefault("severity", "normal")
    return visit.page("publisher/new-update.html")


async def publish(visit: Visit) -> Response:
    """Publish the update, once the person has confirmed it."""
    form, texts = visit.form, visit.texts
    form.require(texts, *TEXTS, "kind", "severity")
    size = whole_number(form["size_bytes"])
    if form["size_bytes"].strip() and size is None:
        form.errors["size_bytes"] = texts.gettext(NOT_BYTES)
    if form.wrong:
        return await again(visit, new)
    body: dict[str, JsonValue] = {name: form[name].strip() for name in (*TEXTS, "kind", "severity", "component")}
    body |= {"size_bytes": size, "sha256": form["sha256"].strip().lower()}
    deed = Deed(
        service="distribution",
        method="POST",
        path="/publisher/updates",
        body=body,
        question=texts.gettext("Publish %(title)s?") % {"title": form["title"].strip()},
        button=texts.gettext("Publish it"),
        says=lambda _: [
            texts.gettext(
                "Every customer of the product is offered it. It can't be changed afterwards, only withdrawn."
            )
        ],
        idle=texts.gettext("It is published so already."),
        then="/publisher/updates",
        notice="update-published",
    )
    return await carry_out(visit, deed, new)


async def update(visit: Visit) -> Response:
    """Show an update, and the form that withdraws it."""
    found, products = await asyncio.gather(
        visit.see("distribution", "/publisher/updates", PublishedUpdates, q=visit.id("update_id")),
        offered_products(visit),
    )
    shown = next((each for each in found.items if each.update_id == visit.id("update_id")), None)
    if shown is None:
        return visit.page("not-found.html", HTTPStatus.NOT_FOUND)
    visit.form.values.setdefault("reason", "")
    return visit.page("publisher/update.html", update=shown, product=products[shown.product])


async def withdraw(visit: Visit) -> Response:
    """Withdraw the update, once the person has confirmed it."""
    form, texts = visit.form, visit.texts
    if not form.require(texts, "reason"):
        return await again(visit, update)
    deed = Deed(
        service="distribution",
        method="POST",
        path=path("/publisher/updates/{update_id}/withdrawal", update_id=visit.id("update_id")),
        body={"reason": form["reason"].strip()},
        question=texts.gettext("Withdraw the update?"),
        button=texts.gettext("Withdraw it"),
        says=lambda _: [
            texts.gettext(
                "Nobody is offered it any more, its rollouts end, and the version before it is offered again."
            )
        ],
        grave=True,
        then="/publisher/updates",
        notice="update-off",
    )
    return await carry_out(visit, deed, update)
