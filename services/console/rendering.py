"""Pages from templates, the headers of every response, and the files beside them."""

import hashlib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from importlib.util import cache_from_source
from pathlib import Path
from typing import Final

from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import Response

from services.console.texts import LANGUAGES, catalogue
from shared.organisations import called

HERE: Final = Path(__file__).parent
TEMPLATES: Final = HERE / "templates"
POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""What a page may load, run and send: files and routes of the console, and nothing inline."""
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # Not no-referrer: with that, browsers send `Origin: null` with a form.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
OVER_TLS: Final[Mapping[str, str]] = {"Strict-Transport-Security": "max-age=31536000"}
_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_FOR_EVER: Final = "public, max-age=31536000, immutable"


@cache
def assets() -> Mapping[str, bytes]:
    """Return the files that pages load, by name: the console's own, and htmx's of its package."""
    own = {file.name: file.read_bytes() for file in (HERE / "static").iterdir() if file.suffix[1:] in _TYPES}
    htmx = files("django_htmx").joinpath("static", "django_htmx", "htmx-2.min.js")
    return {**own, "htmx.js": htmx.read_bytes()}


@cache
def asset_path(name: str) -> str:
    """Return the path of a file, which changes with its content."""
    return f"/static/{name}?v={_digest(assets()[name])}"


async def static(request: Request) -> Response:
    """Return a file that pages load."""
    name = request.path_params["name"]
    content = assets().get(name)
    if content is None:
        return Response(status_code=HTTPStatus.NOT_FOUND, headers=dict(HEADERS))
    current = asset_path(name).endswith(f"?{request.scope['query_string'].decode('latin-1')}")
    headers = {**HEADERS, "Cache-Control": _FOR_EVER if current else "no-cache"}
    return Response(content, headers=headers, media_type=_TYPES[name.rpartition(".")[2]])


def breakable(address: str) -> Markup:
    """Return an address that a narrow place breaks before its @, and not within a word."""
    return escape(address).replace("@", Markup("<wbr>@"))


def dotted(name: str) -> Markup:
    """Return a field's name that a narrow place breaks after its dots and underscores."""
    return escape(name).replace(".", Markup(".<wbr>")).replace("_", Markup("_<wbr>"))


def coded(text: str) -> Markup:
    """Return a text in which what stands between backticks is code."""
    pieces = escape(text).split("`")
    if len(pieces) % 2 == 0:  # the last backtick has no other one
        pieces[-2:] = [pieces[-2] + "`" + pieces[-1]]
    code = Markup("<code>{}</code>")
    return Markup("").join(code.format(piece) if at % 2 else piece for at, piece in enumerate(pieces))


class Compiled(BytecodeCache):
    """The code of the templates, which is the same in every language.

    It is kept where Python keeps the bytecode of this module, if Python may write there, so that the next start need
    not compile them. Jinja checks that it is the code of the template as it is now.
    """

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}
        self._folder = Path(cache_from_source(__file__)).parent / f"templates-{_digest(Path(__file__).read_bytes())}"

    def load_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError):
            code = self._code.get(bucket.key) or (self._folder / bucket.key).read_bytes()
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        code = self._code[bucket.key] = bucket.bytecode_to_string()
        if sys.dont_write_bytecode:
            return
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            written = self._folder / f"{bucket.key}.{os.getpid()}"
            written.write_bytes(code)
            written.replace(self._folder / bucket.key)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


_COMPILED: Final = Compiled()


@cache
def environment(language: str) -> Environment:
    """Return the templates in a language."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        bytecode_cache=_COMPILED,
        auto_reload=False,
    )
    found = catalogue(language)
    install = vars(made)["install_gettext_callables"]
    install(found.gettext, found.ngettext, newstyle=True)
    made.globals["asset"] = asset_path
    made.filters["breakable"] = breakable
    made.filters["dotted"] = dotted
    made.filters["called"] = called
    made.filters["coded"] = coded
    made.globals["zip"] = zip
    return made


@cache
def prepare() -> None:
    """Load every template, catalogue and file, so that none is missing later."""
    for language in LANGUAGES:
        made = environment(language)
        for name in made.list_templates():
            made.get_template(name)
    for name in assets():
        asset_path(name)
