"""The story's chapter through the console's pages.

It fills in their forms, as a browser without JavaScript does.
"""

import html
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Final

import aiohttp

from deploy.story.doors import Person, Wrong, eventually
from deploy.story.steps import Story, expect
from shared.services import EDGES, url_variable

CONSOLE: Final = url_variable(EDGES[0])


class _Forms(HTMLParser):
    """The forms of a page: where each is sent, and its hidden fields."""

    def __init__(self, text: str, at: str) -> None:
        super().__init__()
        self._at, self.found = at, list[tuple[str, dict[str, str]]]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append((given.get("action", self._at), {}))
        elif tag == "input" and given.get("type") == "hidden" and self.found:
            self.found[-1][1][given["name"]] = given.get("value", "")


@dataclass(frozen=True, slots=True)
class Shown:
    """A page: its address, its HTML, and what it says."""

    at: str
    text: str

    @property
    def words(self) -> str:
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", self.text)).split())

    def hidden(self) -> Mapping[str, str]:
        """Return the hidden fields of the form that is sent to the page's own address."""
        for action, fields in _Forms(self.text, self.at).found:
            if action.partition("?")[0] == self.at.partition("?")[0]:
                return fields
        raise Wrong(f"the page {self.at} should have a form: {self.words[:500]}")


@dataclass(frozen=True, slots=True)
class Pages:
    """One person's browser."""

    http: aiohttp.ClientSession
    person: Person

    async def see(self, at: str) -> Shown:
        """Load a page. Redirects are followed.

        Raises:
            Wrong: It is not shown.
        """
        async with self.http.get(at) as answer:
            shown = Shown(answer.url.path_qs, await answer.text())
        if answer.status != 200:
            raise Wrong(f"{self.person.name} should see the page {at}, but {answer.status}: {shown.words[:500]}")
        return shown

    async def send(self, at: str, /, **fields: str) -> Shown:
        """Fill in the form of a page and send it. Return the page that follows, a refusal too."""
        return await self._post(at, {**(await self.see(at)).hidden(), **fields})

    async def confirm(self, question: Shown) -> Shown:
        """Confirm what a page asks with what a dry run says."""
        return await self._post(question.at, dict(question.hidden()))

    async def _post(self, at: str, fields: Mapping[str, str]) -> Shown:
        async with self.http.post(at, data=fields) as answer:
            return Shown(answer.url.path_qs, await answer.text())


@asynccontextmanager
async def browser(url: str, s: Story, person: Person) -> AsyncIterator[Pages]:
    """Sign in to the pages, and out again at the end.

    What the person does there has the story's correlation id.

    Raises:
        Wrong: The pages do not answer, or refuse the password.
    """
    timeout, cookies = aiohttp.ClientTimeout(total=30), aiohttp.CookieJar(unsafe=True)  # an address without a name
    try:
        headers = {"X-Correlation-ID": s.doors.run}
        async with aiohttp.ClientSession(url, timeout=timeout, cookie_jar=cookies, headers=headers) as http:
            pages = Pages(http, person)
            home = await pages.send("/sign-in", email=person.email, password=person.password)
            expect(home.at == "/" and person.name in home.words, f"{person.name} should be signed in: {home.words}")
            yield pages
            left = await pages._post("/sign-out", dict(_own_form(await pages.see("/"), "/sign-out")))
            expect("signed out" in left.words, f"{person.name} should be signed out: {left.words}")
    except aiohttp.ClientError as error:
        raise Wrong(f"the pages do not answer at {url}: {error!r}") from error


def _own_form(page: Shown, action: str) -> Mapping[str, str]:
    return next(fields for at, fields in _Forms(page.text, page.at).found if at == action)


async def through_the_pages(s: Story) -> None:
    """On pages: a user asks for a role, the Contract Manager declines, the partner looks on."""
    url = os.environ.get(CONSOLE, "")
    if not url:
        s.say(f"no console here ({CONSOLE} is not set): this chapter is left out")
        return
    await _asks(s, url)
    await _answers(s, url)
    async with browser(url, s, s.clerk) as clerk:
        order = await clerk.see(f"/orders/{s.annual}")
        expect("confirmed" in order.words.lower(), f"the order should be shown as confirmed: {order.words}")
        s.say(f"{s.clerk.name} looks at the order {s.annual} on its page: it is confirmed")


async def _asks(s: Story, url: str) -> None:
    user = s.designers[-1]
    async with browser(url, s, user) as pages:
        contract = await pages.see(f"/contracts/{s.contract}")
        expect(s.manager.name in contract.words, f"the contract's page should name its manager: {contract.words}")
        question = await pages.send(
            f"/contracts/{s.contract}/ask", role="software_coordinator", message="I plan the updates of our team."
        )
        expect("Ask for this role?" in question.words, f"the page should ask first: {question.words}")
        s.say(f"{user.name} asks for the role on a page, which first says: {_said(question)}")
        done = await pages.confirm(question)
        expect(done.at.startswith(f"/contracts/{s.contract}"), f"the request should be sent: {done.words}")


async def _answers(s: Story, url: str) -> None:
    user = s.designers[-1]
    async with browser(url, s, s.manager) as pages:

        async def waiting() -> bool | None:
            return True if user.name in (await pages.see("/")).words else None

        await eventually(waiting, f"the request of {user.name} on the manager's home page", pause_s=0.2)
        at = f"/contracts/{s.contract}/requests/{user.account_id}"
        unfinished = await pages.send(at, answer="decline", reason="")
        expect("Fill in this field." in unfinished.words, f"a reason should be asked for: {unfinished.words}")
        question = await pages.send(at, answer="decline", reason="Mina does that already.")
        s.say(f"{s.manager.name} finds the request on the home page and declines it: {_said(question)}")
        done = await pages.confirm(question)
        expect(done.at.startswith(f"/contracts/{s.contract}"), f"the answer should be sent: {done.words}")
    async with browser(url, s, user) as pages:

        async def answered() -> bool | None:
            return True if "Mina does that already." in (await pages.see(f"/contracts/{s.contract}")).words else None

        await eventually(answered, "the answer on the page of the contract", pause_s=0.2)
        s.say(f"{user.name} reads the reason there")


def _said(question: Shown) -> str:
    """Return what a page says will happen, between its question and its button."""
    found = re.search(r"<h1>.*?</h1>(.*?)<form", question.text, re.DOTALL)
    return Shown("", found[1]).words if found else ""
