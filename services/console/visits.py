"""One request of a browser: its session, language and form, and the page that answers it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

import structlog
import uuid_utils
from pydantic import BaseModel, JsonValue
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from services.console.areas import links_for
from services.console.cookies import Cookies, Session, new_seed
from services.console.doors import (
    Call,
    Caller,
    Condition,
    Doors,
    Method,
    NoSuchId,
    Nothing,
    Refused,
    SessionOver,
    Unreachable,
    path,
)
from services.console.forms import Form, entered
from services.console.notices import NOTICES, Notice
from services.console.providers import ProviderClient
from services.console.rendering import HEADERS, OVER_TLS, environment
from services.console.shapes.histories import History
from services.console.shapes.identity import Account, Clock, Tokens, Unread
from services.console.texts import Texts, marked, texts_for
from shared import rules

logger = structlog.get_logger("pages")

SANDBOX: Final = "sandbox"
"""What the session keeps for people of a sandbox, so that its clock is asked for at once."""
EARLY_S: Final = 30
"""How long before its expiry an access token is renewed."""
OF_LISTS: Final = ("q", "sort", "after")
"""What the address of every list's page may say, besides its filters."""
LONGEST: Final = 4000
"""The greatest length of what an address says about a list: a cursor has the text of a row, of up to 200 characters."""
NOT_A_TIME: Final = marked("Choose a day and a time.")
TOO_EARLY: Final = marked(
    "There was nothing of this at that time yet. Its history begins on %(time)s. Choose a later time."
)
FIRST_TIME: Final = datetime.fromisoformat("1900-01-02")
LAST_TIME: Final = datetime.fromisoformat("8999-12-30")
"""The first and the last time that every service accepts, in any zone. Nothing began before, or will be known after."""
OF_ONE_ANSWER: Final = ("notice", "format", "seen")
"""What the address of a page says for one answer, and its links leave out."""
Answer = TypeVar("Answer", bound=BaseModel)


class Forged(Exception):
    """A form that this console has not given to this browser, or too long ago."""


class NotSignedIn(Exception):
    """The page is for people who are signed in."""


@dataclass(kw_only=True)
class Visit:
    """A request with everything that a page needs to answer it."""

    request: Request
    doors: Doors
    cookies: Cookies
    session: Session | None
    seed: str
    texts: Texts
    form: Form = field(default_factory=Form)
    account: Account | None = None
    clock: Clock | None = None
    unread: int = 0
    """How many notifications the person has not read, up to 100."""
    ended: bool = False
    """Whether the browser's session is to be deleted."""
    present: bool = False
    """Whether the present is shown after all, as the past that was asked for can't be."""
    stored: str = ""
    """What a command of this visit has stored, as `service:stream@version`."""

    @staticmethod
    async def of(request: Request) -> "Visit":
        """Read the cookies, the language and the form of a request."""
        cookies: Cookies = request.app.state.cookies
        return Visit(
            request=request,
            doors=request.app.state.doors,
            cookies=cookies,
            session=cookies.session(request.cookies),
            seed=cookies.seed(request.cookies),
            texts=texts_for(None, request.headers.get("accept-language", "")),
            form=await entered(request) if request.method == "POST" else Form(),
        )

    # ── Who it is ──────────────────────────────────────────────────────────────────────────────────────

    def check_form(self) -> None:
        """Check that the form was given to this browser and session, and sent by its page.

        Raises:
            Forged: It was not.
        """
        headers = self.request.headers
        site, origin = headers.get("sec-fetch-site", "same-origin"), headers.get("origin")
        here = headers.get("host", "")
        foreign = site not in ("same-origin", "none") or origin not in (None, f"http://{here}", f"https://{here}")
        token = self.form.values.pop("csrf", "")
        if foreign or not self.cookies.is_token(token, self.seed, self.session_id):
            raise Forged

    async def enter(self) -> Account:
        """Return the account of the person who is signed in.

        Raises:
            NotSignedIn: Nobody is.
            SessionOver: The session has ended.
        """
        if self.session is None:
            raise NotSignedIn
        await self._signed_in_caller()  # renews the session once, before several requests need it
        account, unread, clock = await asyncio.gather(
            self.ask("identity", "GET", "/me", Account),
            self.ask("identity", "GET", "/me/notifications/unread", Unread),
            self.ask("identity", "GET", "/me/clock", Clock) if self.kept(SANDBOX) else _nothing(),
        )
        if account.sandbox and clock is None:
            clock = await self.ask("identity", "GET", "/me/clock", Clock)
            self.keep(SANDBOX, "yes")
        self.account, self.unread, self.clock = account, unread.unread, clock if account.sandbox else None
        accepted = self.request.headers.get("accept-language", "")
        self.texts = texts_for(account.locale, accepted, account.time_zone)
        return account

    @property
    def session_id(self) -> str:
        return self.session.session_id if self.session else ""

    def begin(self, tokens: Tokens) -> None:
        """Continue with a session that has just begun or was renewed."""
        now = int(time.time())
        self.session = Session(
            access_token=tokens.access_token,
            access_until=now + tokens.expires_in,
            refresh_token=tokens.refresh_token,
            until=now + tokens.refresh_expires_in,
            session_id=tokens.session_id,
            kept=self.session.kept if self.session is not None and self.session_id == tokens.session_id else {},
        )
        self.ended = False

    def end(self) -> None:
        """Forget the session. The forms that were given out in it are not valid any more."""
        self.session, self.account, self.clock, self.ended = None, None, None, True

    def kept(self, name: str) -> str:
        """Return what a page has kept in the session; "" for nothing."""
        return self.session.kept.get(name, "") if self.session else ""

    def keep(self, name: str, value: str) -> None:
        """Keep a short text in the session; "" for nothing."""
        if self.session is not None and value != self.kept(name):
            others = {key: each for key, each in self.session.kept.items() if key != name}
            kept = {**others, name: value} if value else others
            self.session = self.session.model_copy(update={"kept": kept})

    def id(self, name: str) -> str:
        """Return an id of the page's path."""
        return str(self.request.path_params[name])

    # ── Asking services ────────────────────────────────────────────────────────────────────────────────

    async def ask(
        self,
        service: str,
        method: Method,
        path_: str,
        answer: type[Answer],
        body: dict[str, JsonValue] | None = None,
        lines: str = "",
        *,
        condition: Condition | None = None,
    ) -> Answer:
        """Send a request to a service, for the person who is signed in, if anybody is.

        A command has the key of the form that it comes from, so that a form that is sent twice acts once.
        """
        key = "" if method == "GET" else self.form.key
        call = Call(
            service=service, method=method, path=path_, body=body, lines=lines, key=key, condition=condition or {}
        )

        def stored(version: str) -> None:
            self.stored = f"{service}:{version}"

        return await self.doors.ask(call, await self._signed_in_caller(), answer, stored)

    async def see(self, service: str, path_: str, answer: type[Answer], **query: str) -> Answer:
        """Ask a service for what it shows, with what the command before this page has stored."""
        there, _, version = self.cookies.stored(self.request.cookies).partition(":")
        asked = {name: value for name, value in query.items() if value}  # a service refuses an empty text
        call = Call(service=service, method="GET", path=path(path_, asked))
        caller = await self._signed_in_caller()
        if version and there == service:
            try:
                return await self.doors.ask(replace(call, at_least=version), caller, answer)
            except Refused as refused:
                if refused.problem.status not in (HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE):
                    raise  # else its tables are far behind: shown as they are
        return await self.doors.ask(call, caller, answer)

    async def see_list(self, service: str, path_: str, answer: type[Answer], *filters: str) -> Answer:
        """Ask for the part of a list that the page's address names by OF_LISTS and `filters`."""
        return await self.see(service, path_, answer, **self.listed(*filters))

    async def see_then(self, service: str, path_: str, answer: type[Answer]) -> Answer:
        """Ask a service for what it shows, as it stood at the time that the page's address names.

        If there was nothing yet, or the time is refused, the form says so, and the present is shown.
        """
        wanted = self.request.query_params.get("as_of", "").strip()
        if self.as_of is None:
            if wanted:
                self.form.errors["as_of"] = self.texts.gettext(NOT_A_TIME)
            return await self.see(service, path_, answer)
        try:
            return await self.see(service, path_, answer, as_of=self.as_of.isoformat())
        except Refused as refused:
            if refused.problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            self.form.values["as_of"], self.present = wanted, True
            self.form.refuse(refused, self.texts)
            if refused.problem.rule == rules.AS_OF_TOO_EARLY and (begins := await self._begins(service, path_)):
                self.form.errors["as_of"] = self.texts.gettext(TOO_EARLY) % {"time": self.texts.time(begins)}
            return await self.see(service, path_, answer)

    async def _begins(self, service: str, path_: str) -> datetime | None:
        """Return when the history of what a service shows begins; None if the history can't be seen."""
        try:
            history = await self.see(service, f"{path_}/history", History, sort="version", limit="1")
        except Refused:
            return None
        return history.items[0].at if history.items else None

    @property
    def as_of(self) -> datetime | None:
        """The time whose state the page shows, in UTC; None for the present.

        It is written in the address without a zone, and means the person's own.
        """
        try:
            moment = datetime.fromisoformat(self.request.query_params.get("as_of", "").strip())
        except ValueError:
            return None
        known = min(max(moment.replace(tzinfo=None), FIRST_TIME), LAST_TIME)
        local = known.replace(tzinfo=moment.tzinfo or self.texts.zone or UTC)
        return None if self.present else local.astimezone(UTC)

    def listed(self, *filters: str) -> dict[str, str]:
        """Return what the page's address says about a list, as the query of the list's route."""
        given = {name: self.request.query_params.get(name, "").strip() for name in (*OF_LISTS, *filters)}
        return {name: value[:LONGEST] for name, value in given.items() if value}

    @property
    def wants_csv(self) -> bool:
        """Whether the page's list is asked for as a file."""
        return self.request.query_params.get("format") == "csv"

    async def export(self, service: str, path_: str, name: str, *filters: str) -> Response:
        """Return the list that the page shows as a CSV file, all its pages, as it is read."""
        return await self.export_as(service, path_, name, self.listed(*filters))

    async def export_as(self, service: str, path_: str, name: str, query: Mapping[str, str]) -> Response:
        """Return a list as a CSV file, by a query of the page's own."""
        asked = {key: value for key, value in query.items() if key != "after"}
        call = Call(service=service, method="GET", path=path(path_, {**asked, "format": "csv"}))
        file = await self.doors.open(call, await self._signed_in_caller())
        headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
        close = BackgroundTask(file.aclose)
        return StreamingResponse(file.aiter_bytes(), 200, headers, "text/csv; charset=utf-8", close)

    async def do(self, service: str, method: Method, path_: str, body: dict[str, JsonValue] | None = None) -> None:
        """Send a request of whose answer nothing is read."""
        await self.ask(service, method, path_, Nothing, body)

    async def token(self) -> str:
        """Return the access token of the person who is signed in.

        Raises:
            NotSignedIn, SessionOver, Refused, Unreachable: Nobody is, or it can't be renewed.
        """
        if self.session is None:
            raise NotSignedIn
        return (await self._signed_in_caller()).token

    async def _signed_in_caller(self) -> Caller:
        if self.session is not None and self.session.access_until - time.time() < EARLY_S:
            await self._renew(self.session)
        return self._caller(self.session.access_token if self.session else "")

    async def _renew(self, session: Session) -> None:
        """Exchange the refresh token. Two requests at once get the same successor.

        Raises:
            SessionOver: The session has ended.
        """
        call = Call(
            service="identity", method="POST", path="/sessions/refresh", body={"refresh_token": session.refresh_token}
        )
        try:
            self.begin(await self.doors.ask(call, self._caller(""), Tokens))
        except Refused as refused:
            if refused.problem.status == HTTPStatus.UNAUTHORIZED:
                raise SessionOver from refused
            raise

    def _caller(self, token: str) -> Caller:
        state, client = self.request.state, self.request.client
        return Caller(
            token=token,
            address=client.host if client else "",
            correlation_id=state.correlation_id,
            traceparent=state.traceparent,
        )

    @property
    def providers(self) -> Mapping[str, ProviderClient]:
        """The providers that people can sign in by, by name."""
        found: Mapping[str, ProviderClient] = self.request.app.state.providers
        return found

    # ── Answering ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def notice(self) -> Notice | None:
        """What the page says first: one of NOTICES."""
        return NOTICES.get(self.request.query_params.get("notice", ""))

    @property
    def following(self) -> str:
        """The page that the person wanted before they had to sign in.

        It is a path of the console's, never another URL.
        """
        wanted = self.form["next"] or self.request.query_params.get("next", "")
        plain = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
        return wanted[:500] if plain and "\\" not in wanted else "/"

    def page(self, template: str, status: int = HTTPStatus.OK, /, **values: object) -> Response:
        """Return a page from a template."""
        self.seed = self.seed or new_seed()
        self.form.key = self.form.key or str(uuid_utils.uuid4())
        shown = (
            environment(self.texts.language)
            .get_template(template)
            .render(
                visit=self,
                texts=self.texts,
                form=self.form,
                csrf=self.cookies.token(self.seed, self.session_id),
                links=links_for(self.request.app.state.areas, self.account.organisation_kind if self.account else ""),
                **values,
            )
        )
        return Response(shown, int(status), media_type="text/html")

    def again(self, template: str, refused: Refused | None = None, /, **values: object) -> Response:
        """Return the form's page with what is wrong with it.

        The next attempt is another command; only if it is unknown what became of this one, it keeps its key.
        """
        if refused is not None:
            self.form.refuse(refused, self.texts)
        if refused is None or refused.problem.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            self.form.key = ""
        return self.page(template, HTTPStatus.UNPROCESSABLE_ENTITY, **values)

    def with_listed(self, **changed: str) -> str:
        """Return the page's address with other values in its query; one that is "" is left out."""
        kept = {name: value for name, value in self.request.query_params.items() if name not in OF_ONE_ANSWER}
        query = {name: value for name, value in {**kept, **changed}.items() if value}
        return f"{self.request.url.path}?{urlencode(query)}" if query else self.request.url.path

    def go(self, to: str, notice: str = "") -> Response:
        """Return a redirect to one of the console's pages, which first says one of NOTICES."""
        if notice:
            to += f"{'&' if '?' in to else '?'}notice={notice}"
        return RedirectResponse(to, int(HTTPStatus.SEE_OTHER))

    def finish(self, response: Response) -> Response:
        """Add the headers and cookies that every answer has."""
        response.headers.update(HEADERS)
        response.headers["Cache-Control"] = "no-store"
        if self.cookies.secure:
            response.headers.update(OVER_TLS)
        if self.session is not None:
            self.cookies.keep(response, self.session, int(time.time()))
        elif self.ended:
            self.cookies.drop(response)
        if self.seed:
            self.cookies.keep_seed(response, self.seed)
        if self.stored:
            self.cookies.keep_stored(response, self.stored)
        return response


async def _nothing() -> None:
    return None


Page = Callable[[Visit], Awaitable[Response]]


def shown(page: Page, *, signed_in: bool = False) -> Callable[[Request], Awaitable[Response]]:
    """Return the route of a page, which checks its form and turns every error into a page."""

    async def respond(request: Request) -> Response:
        visit = await Visit.of(request)
        try:
            if request.method == "POST":
                visit.check_form()
            if signed_in:
                await visit.enter()
            response = await page(visit)
        except (NotSignedIn, SessionOver) as reason:
            response = _sign_in_first(visit, ended=isinstance(reason, SessionOver))
        except NoSuchId:
            response = visit.page("not-found.html", HTTPStatus.NOT_FOUND)
        except Forged:
            response = visit.page("form-expired.html", HTTPStatus.FORBIDDEN)
        except Refused as refused:
            visit.form.refuse(refused, visit.texts)
            response = visit.page("refused.html", refused.problem.status)
        except Unreachable:
            response = visit.page("unreachable.html", HTTPStatus.SERVICE_UNAVAILABLE)
        except Exception as error:  # the last resort: a page without internal details
            logger.error("a page failed", exc_info=error)
            response = visit.page("failed.html", HTTPStatus.INTERNAL_SERVER_ERROR)
        return visit.finish(response)

    return respond


def part(page: Page) -> Callable[[Request], Awaitable[Response]]:
    """Return the route of a part of a page, which stays as it is where it can't be shown."""

    async def respond(request: Request) -> Response:
        visit = await Visit.of(request)
        try:
            await visit.enter()
            response = await page(visit)
        except (NotSignedIn, SessionOver, NoSuchId, Refused, Unreachable):
            response = Response(status_code=HTTPStatus.NO_CONTENT)
        return visit.finish(response)

    return respond


def _sign_in_first(visit: Visit, *, ended: bool) -> Response:
    """Return a redirect to the sign-in, which says why.

    It leads back to a page that was only looked at.
    """
    url = visit.request.url
    wanted = f"{url.path}?{url.query}" if url.query else url.path
    visit.end()
    notice = "ended" if ended else "needed"
    back = f"&next={quote(wanted, safe='')}" if visit.request.method != "POST" and wanted != "/" else ""
    if "hx-request" in visit.request.headers and "hx-boosted" not in visit.request.headers:
        # A part of a page that asks for itself: the whole page is to go.
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"HX-Redirect": f"/sign-in?notice={notice}"})
    silent = not ended and wanted == "/"
    return RedirectResponse("/sign-in" if silent else f"/sign-in?notice={notice}{back}", HTTPStatus.SEE_OTHER)


async def not_found(request: Request, error: Exception) -> Response:
    """Return the page for an address that no page has, or for a method that it does not answer."""
    visit = await Visit.of(request)
    status, headers = HTTPStatus.NOT_FOUND, dict[str, str]()
    if isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        status, headers = HTTPStatus.METHOD_NOT_ALLOWED, dict(error.headers or {})
    response = visit.page("not-found.html", status)
    response.headers.update(headers)
    return visit.finish(response)
