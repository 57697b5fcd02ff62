"""Partners: those whom the organisation has engaged, engaging one, and releasing one."""

from starlette.responses import Response

from services.console.deeds import Deed, again, carry_out
from services.console.doors import path
from services.console.shapes.marketplace import Partners
from services.console.visits import Visit


async def partners(visit: Visit) -> Response:
    """List the organisation's partners."""
    visit.form.values = {"partner": ""} | visit.form.values
    return visit.page("portal/partners.html", found=await visit.see_list("marketplace", "/partners", Partners))


async def change_partner(visit: Visit) -> Response:
    """Engage a partner, or release one."""
    texts, engages = visit.texts, visit.form["act"] == "engage"
    if not visit.form.require(texts, "partner"):
        return await again(visit, partners)
    deed = Deed(
        service="marketplace",
        method="PUT" if engages else "DELETE",
        path=path("/partners/{id}", id=visit.form["partner"].strip()),
        question=texts.gettext("Engage this partner?") if engages else texts.gettext("Release this partner?"),
        button=texts.gettext("Engage the partner") if engages else texts.gettext("Release the partner"),
        says=lambda _: [
            texts.gettext(
                "It may order for you, and sees your name and the subscriptions, seats and instalments that it orders."
            )
            if engages
            else texts.gettext("It orders nothing more for you. What it has ordered goes on, and it supports that.")
        ],
        then="/partners",
        notice="partner-engaged" if engages else "partner-released",
    )
    return await carry_out(visit, deed, partners)
