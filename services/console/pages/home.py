"""Home, and the person's own profile."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from pydantic import JsonValue
from starlette.responses import Response

from services.console.areas import EVERYONE, Area, Attention, Link, PageAt, Watch
from services.console.doors import Refused, Unreachable, part_of_page, path
from services.console.pages import account as own_account
from services.console.pages import joining
from services.console.texts import LOCALES, countries, marked, zones
from services.console.visits import Visit


async def home(visit: Visit) -> Response:
    """Say what waits for the person, who they are, and for which organisation they act."""
    kind = visit.account.organisation_kind if visit.account else ""
    asked = [watch for area in visit.request.app.state.areas for watch in area.watches if kind in watch.kinds]
    noticed, administers = await asyncio.gather(
        asyncio.gather(*(_noticed(visit, watch) for watch in asked)),
        _administers(visit) if any(watch.administrators for watch in asked) else _yes(),
    )
    found = [part for watch, part in zip(asked, noticed, strict=True) if administers or not watch.administrators]
    waiting = [each for part in found if part is not None for each in part]
    return visit.page(
        "home.html",
        now=visit.clock.now if visit.clock else datetime.now(UTC),
        waiting=sorted(waiting, key=lambda each: not each.urgent),
        watched=bool(asked),
        incomplete=None in found,
    )


async def _yes() -> bool:
    return True


async def _administers(visit: Visit) -> bool:
    """Return whether the person has a role on a contract, or manages people.

    These are the ones who may see the organisation's people. Where that can't be looked up, they may.
    """
    me = visit.account.account_id if visit.account else ""
    try:
        async with part_of_page():
            await visit.do("identity", "GET", path("/people/{account_id}", account_id=me))
    except Refused as refused:
        return refused.problem.status != HTTPStatus.FORBIDDEN
    except Unreachable:
        return True
    return True


async def _noticed(visit: Visit, watch: Watch) -> Sequence[Attention] | None:
    """Return what a watch finds; None while a service does not answer.

    It finds nothing where the person may not see it.
    """
    try:
        async with part_of_page():
            return await watch.find(visit)
    except Refused as refused:
        return () if refused.problem.status < HTTPStatus.INTERNAL_SERVER_ERROR else None
    except Unreachable:
        return None


async def profile(visit: Visit) -> Response:
    """Show the person's profile."""
    account = await visit.enter() if visit.account is None else visit.account
    visit.form.values |= {
        "name": account.name,
        "email": account.email or "",
        "country": account.country or "",
        "time_zone": account.time_zone or "",
        "locale": account.locale or "",
    }
    return _profile_page(visit)


async def save_profile(visit: Visit) -> Response:
    """Change the profile."""
    form, account = visit.form, visit.account
    if not form.require(visit.texts, "name", "email", "country", "time_zone", "locale") or account is None:
        return _profile_page(visit, again=True)
    body: dict[str, JsonValue] = {
        name: form[name].strip() for name in ("name", "email", "country", "time_zone", "locale")
    }
    try:
        await visit.do("identity", "PUT", "/me/profile", body)
    except Refused as refused:
        return _profile_page(visit, refused, again=True)
    return visit.go("/profile", "saved")


def _profile_page(visit: Visit, refused: Refused | None = None, *, again: bool = False) -> Response:
    texts, form = visit.texts, visit.form
    values: dict[str, object] = {
        "countries": countries(texts.locale),
        "zones": _with(zones(), form["time_zone"]),
        "locales": {tag: texts.locale_name(tag) for tag in _with(LOCALES, form["locale"])},
    }
    if again:
        return visit.again("profile.html", refused, **values)
    return visit.page("profile.html", HTTPStatus.OK, **values)


def _with(offered: Sequence[str], chosen: str) -> list[str]:
    """Return the options with what the profile has, which another client may have set."""
    return [*offered, *([chosen] if chosen and chosen not in offered else [])]


AREA: Final = Area(
    name="home",
    pages=(
        PageAt(path="/", show=home),
        PageAt(path="/profile", show=profile, act=save_profile),
        PageAt(path="/profile/password", show=own_account.password, act=own_account.change_password),
        PageAt(path="/profile/close", show=own_account.closing, act=own_account.close),
        PageAt(path="/check-mail", show=joining.check_mail, act=joining.mail_again),
        PageAt(path="/verify-address", show=joining.verify_address, act=joining.confirm_address),
    ),
    links=(Link(path="/", text=marked("Home"), kinds=EVERYONE),),
)
