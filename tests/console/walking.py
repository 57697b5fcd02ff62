"""The way of a person through the pages: from Home by the links, to one page of each path."""

import re
from html import unescape
from typing import Final
from urllib.parse import urlsplit

import httpx
from starlette.routing import compile_path

from deploy.cast import COORDINATOR, CUSTOMER, OPERATOR, PARTNER, PASSWORD, PUBLISHERS, USERS
from services.console.app import AREAS

PATHS: Final = tuple(each.path for area in AREAS for each in area.pages)
EXAMPLES: Final = (CUSTOMER, COORDINATOR, USERS[0], PARTNER, PUBLISHERS, OPERATOR)
"""An example person of each kind, as `make up` has them."""
_PATTERNS: Final = tuple((path, compile_path(path)[0]) for path in sorted(PATHS, key=lambda path: path.count("{")))
_LINK: Final = re.compile(r'<a\s[^>]*?href="(/[^"#]*)"')


def path_of(address: str) -> str:
    """The path of a page as its area has it, "" for what is no page."""
    plain = urlsplit(address).path
    return next((path for path, pattern in _PATTERNS if pattern.match(plain)), "")


class Way:
    """The addresses to go to; those that lead to a path where one has been are left out."""

    def __init__(self) -> None:
        self._ahead, self._been = ["/"], set[str]()

    def next(self) -> str | None:
        """Where to go now, None at the end."""
        while self._ahead:
            address = self._ahead.pop(0)
            path = path_of(address)
            if path and path not in self._been:
                self._been.add(path)
                return address
        return None

    def found(self, page: str) -> None:
        """Note the links of a page, without their queries: those are the same page in another order."""
        self._ahead += [urlsplit(unescape(link)).path for link in _LINK.findall(page)]


async def signed_in(browser: httpx.AsyncClient, email: str) -> None:
    """Sign in by the form, so that the client has the cookies of a session."""
    page = await browser.get("/sign-in")
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
    answer = await browser.post("/sign-in", data={**fields, "email": email, "password": PASSWORD})
    if answer.status_code != httpx.codes.SEE_OTHER:
        raise RuntimeError(f"{email} can't sign in: {answer.status_code}")
