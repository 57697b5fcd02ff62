"""The CSNs that a publisher issues to partners, and revokes."""

import asyncio

from starlette.responses import Response

from services.console.deeds import Deed, again, carry_out
from services.console.shapes.publishing import IssuedCsns, PartnersNamed
from services.console.visits import Visit


async def csns(visit: Visit) -> Response:
    """List the CSNs, and show the form for another."""
    if visit.wants_csv:
        return await visit.export("marketplace", "/publisher/csns", "csns", "status")
    wanted = visit.request.query_params.get("partner", "").strip()[:100]
    found, partners = await asyncio.gather(
        visit.see_list("marketplace", "/publisher/csns", IssuedCsns, "status"),
        visit.see("marketplace", "/publisher/partners", PartnersNamed, limit="200", q=wanted),
    )
    for name in ("csn", "organisation_id", "reason"):
        visit.form.values.setdefault(name, "")
    return visit.page("publisher/csns.html", found=found, partners=partners, wanted=wanted)


async def change(visit: Visit) -> Response:
    """Issue a CSN, or revoke one."""
    form, texts = visit.form, visit.texts
    if form["do"] == "revoke":
        revocation = Deed(
            service="marketplace",
            method="POST",
            path="/publisher/csns/revocations",
            body={
                "csn": form["csn"],
                "organisation_id": form["organisation_id"],
                "reason": form["reason"].strip(),
            },
            question=texts.gettext("Revoke CSN %(csn)s?") % {"csn": form["csn"]},
            button=texts.gettext("Revoke it"),
            says=lambda _: [
                texts.gettext(
                    "The partner can't order specialised products any more, and its customers lose the right to "
                    "updates of what it ordered with this CSN."
                )
            ],
            then="/publisher/csns",
            notice="csn-revoked",
        )
        return await carry_out(visit, revocation, csns)
    if not form.require(texts, "organisation_id", "csn"):
        return await again(visit, csns)
    deed = Deed(
        service="marketplace",
        method="POST",
        path="/publisher/csns",
        body={"csn": form["csn"].strip(), "organisation_id": form["organisation_id"]},
        question=texts.gettext("Issue CSN %(csn)s?") % {"csn": form["csn"].strip()},
        button=texts.gettext("Issue it"),
        says=lambda _: [texts.gettext("The partner can order specialised products at once.")],
        idle=texts.gettext("The partner has this CSN already."),
        then="/publisher/csns",
        notice="csn-issued",
    )
    return await carry_out(visit, deed, csns)
