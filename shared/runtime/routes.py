"""Commands as HTTP routes: a decorator above the function that finishes the command.

The route reads the caller's part of the command from the body and the path, and knows who calls and what time it is.
The function looks up what the caller can't say (ids, facts of other streams) and returns the finished command with the
key of its stream; the log decides on it. `dispatch.py` does the HTTP side. These are plain Starlette routes: FastAPI's
machinery would cost two thirds of the throughput.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import (
    Concatenate,
    Final,
    Generic,
    Literal,
    NamedTuple,
    ParamSpec,
    TypeAlias,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import BaseModel, TypeAdapter
from starlette.datastructures import State

from shared.eventlog.decision import Stream
from shared.eventlog.write.log import Accepted, Answer, Log, Meta
from shared.eventlog.write.reader import Reader
from shared.events.base import Event
from shared.events.envelope import derived_id
from shared.events.identity import MachineScope
from shared.runtime.auth import Actor
from shared.runtime.database import Pool
from shared.runtime.forms import form_of, has_secret, many_of, part_of, path_types, text_fields
from shared.runtime.parts import Parts
from shared.runtime.sizes import BODY_BYTES, body_bytes

S = TypeVar("S")
C = TypeVar("C")
C_co = TypeVar("C_co", covariant=True)
E = TypeVar("E", bound=Event)
F = TypeVar("F")
F_co = TypeVar("F_co", covariant=True)
G = TypeVar("G")
P = ParamSpec("P")

Method: TypeAlias = Literal["POST", "PUT", "DELETE"]
_PLACE: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext(Generic[F_co]):
    """One request for a command, or one item of a bulk request, with what its function may look up."""

    asked: F_co
    """The caller's part: the command itself, whose SUPPLIED fields are not set yet (reading one raises AttributeError),
    or the route's own form. What the path names is set in it, too."""
    actor: Actor
    now: datetime
    """What time it is for the caller's organisation, UTC."""
    command_id: str
    dry_run: bool
    streams: Reader
    parts: Parts
    app: State
    """What the service keeps beside the runtime's own parts, such as identity's keys."""

    @property
    def log(self) -> Log:
        return self.parts.log

    @property
    def db(self) -> Pool:
        return self.parts.db

    def asking(self, asked: G, command_id: str = "") -> "RequestContext[G]":
        """Return the same request with something else asked, and nothing read yet."""
        return RequestContext(
            asked=asked,
            actor=self.actor,
            now=self.now,
            command_id=command_id or self.command_id,
            dry_run=self.dry_run,
            streams=self.log.reader(),
            parts=self.parts,
            app=self.app,
        )

    async def state(self, stream: Stream[S, C, E], key: str) -> S:
        """Return a stream's state, read once a request; the decision is made on the same reading or a newer one."""
        return await self.streams.state(stream, key)

    def further_id(self, name: str) -> str:
        """Return the id of a further command of this request. `name` is a word; no caller's key makes the same id, as
        with the items of a bulk request."""
        account, _, named = self.command_id.partition(":")
        return derived_id(account, f"~{name}:{named}")

    def new_id(self) -> str:
        return self.parts.new_id()

    def time_of(self, organisation_id: str) -> datetime:
        """Return what time it is for this organisation: a sandbox's may be ahead. `now` is the caller's own."""
        return self.parts.clocks.time_of(organisation_id)


@dataclass(frozen=True, slots=True)
class Completion:
    """How far the consequences of an accepted command have come: answered 202 unless `done`, with `extra_response`."""

    done: bool
    extra_response: BaseModel


@dataclass(frozen=True, slots=True)
class Addressed(Generic[C_co]):
    """A finished command, and the key of the stream that decides on it."""

    key: str
    command: C_co
    extra_response: Callable[[Accepted], Awaitable[BaseModel | None]] | None = None
    """More fields for the answer, where this very request brought the events about: not in a dry run, not when it is
    repeated, not for a refusal. They are not stored."""
    completion: Callable[[str], Awaitable[Completion]] | None = None
    """What the answer waits for once the command is accepted, now or before; not in a dry run. Called with the
    request's Authorization header."""


Finish: TypeAlias = Callable[Concatenate[RequestContext[F], P], Awaitable[Addressed[C]]]
"""A route's function. Its parameters after the context are the path's, those that are no field of the command."""
Decide: TypeAlias = Callable[
    [RequestContext[BaseModel], Mapping[str, str], Callable[[str], Meta], Mapping[str, Sequence[Event]]],
    Awaitable[tuple[Answer, Addressed[object]]],
]
"""Finishes a form's command and has it decided, with the metadata that it makes for the stream's key; in a dry run
after these events, by stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRoute:
    """A command's route, as the document and the HTTP side know it."""

    method: Method
    path: str
    command: type[object]
    form: type[BaseModel]
    decide: Decide
    open: bool
    """Whether it needs no token: sign-up, and nothing else."""
    secret: bool
    """Whether the form has a secret. It is left out of the fingerprint: a password is guessed quicker by that than by
    its verifier."""
    bulk: bool
    """Whether `form` has `items`, each of them decided by itself."""
    extra_response: type[BaseModel] | None
    """What `Addressed.extra_response` and a completion may add to an answer."""
    scopes: tuple[MachineScope, ...]
    """Any of these suffices a machine account; without, the route is for people only."""
    completes: bool
    """Whether an accepted command may be answered 202: its completion is not done."""
    body_bytes: int
    """How large a request may be."""
    path_types: Mapping[str, TypeAdapter[str]]
    """What each parameter of the path has to be."""

    @property
    def name(self) -> str:
        return f"{self.command.__name__}Bulk" if self.bulk else self.command.__name__


class CommandRoutes:
    """The routes of one service's commands, matched in the order of their declaration."""

    def __init__(self, *included: "CommandRoutes") -> None:
        self.routes: list[CommandRoute] = [route for each in included for route in each.routes]

    def route(
        self,
        method: Method,
        path: str,
        stream: Stream[S, C, E],
        *,
        open: bool = False,
        bulk: bool = False,
        extra_response: type[BaseModel] | None = None,
        scopes: tuple[MachineScope, ...] = (),
        completes: bool = False,
    ) -> Callable[[Finish[F, P, C]], Finish[F, P, C]]:
        """Declare the route of the function below: `async def name(context: RequestContext[F]) -> Addressed[C]`.

        F is the command, whose public fields are then the form, or a form of the route's own. A `bulk` route takes many
        at once, `{"items": [...]}`, and answers each in their order: they are decided one by one, each under an id of
        its own, so a request that is sent again gets the first answers of those that were done.

        Raises:
            TypeError: the function's annotations and the path don't fit.
        """

        def declare(finish: Finish[F, P, C]) -> Finish[F, P, C]:
            signature = _Signature.of(finish, path)
            item = signature.form(path, bulk=bulk)
            form = many_of(item, f"{signature.command.__name__}Bulk") if bulk else item
            self.routes.append(
                CommandRoute(
                    method=method,
                    path=path,
                    command=signature.command,
                    form=form,
                    decide=_decide(stream, finish, signature, signature.reader(item, path)),
                    open=open,
                    secret=not bulk and has_secret(form),
                    bulk=bulk,
                    extra_response=extra_response,
                    scopes=scopes,
                    completes=completes,
                    body_bytes=body_bytes(form) if bulk else BODY_BYTES,
                    path_types=path_types(signature.command, _PLACE.findall(path)),
                )
            )
            return finish

        return declare


class _Signature(NamedTuple):
    """What a route's function says of itself."""

    command: type[object]
    asked: type[object]
    parameters: tuple[str, ...]
    """Those of the path that it takes."""

    @staticmethod
    def of(finish: Callable[..., object], path: str) -> "_Signature":
        """Read the annotations. Raises TypeError where they and the path don't fit."""
        first, *parameters = inspect.signature(finish).parameters
        hints = get_type_hints(finish)
        context, answer = hints.get(first), hints.get("return")
        where = f"{finish.__qualname__}, the function of {path},"
        if get_origin(context) is not RequestContext or get_origin(answer) is not Addressed:
            raise TypeError(f"{where} takes a RequestContext[...] and returns an Addressed[...]")
        (asked,), (command,) = get_args(context), get_args(answer)
        named = _PLACE.findall(path)
        if wrong := [name for name in parameters if name not in named or hints[name] is not str]:
            raise TypeError(f"{where} has parameters that are not the path's, or no str: {wrong}")
        filled = text_fields(command) if asked is command else ()
        if lost := [name for name in named if name not in parameters and name not in filled]:
            raise TypeError(f"{where} does not read what the path names: {lost}")
        return _Signature(command, asked, tuple(parameters))

    def form(self, path: str, *, bulk: bool) -> type[BaseModel]:
        """The form that the body is: the route's own, or the command's public fields."""
        if issubclass(self.asked, BaseModel):
            return self.asked
        return form_of(self.command, path, f"{self.command.__name__}Item" if bulk else "")

    def reader(self, form: type[BaseModel], path: str) -> Callable[[BaseModel, Mapping[str, str]], object]:
        """Make what the function is asked, from a form and the path."""
        if issubclass(self.asked, BaseModel):
            return lambda given, _path: given
        return part_of(self.command, form, _PLACE.findall(path))


def _decide(
    stream: Stream[S, C, E],
    finish: Finish[F, P, C],
    signature: _Signature,
    asked_of: Callable[[BaseModel, Mapping[str, str]], object],
) -> Decide:
    # Both casts say what `signature` has read from the function's own annotations.
    read = cast("Callable[[BaseModel, Mapping[str, str]], F]", asked_of)
    call = cast("Callable[..., Awaitable[Addressed[C]]]", finish)

    async def decide(
        context: RequestContext[BaseModel],
        path: Mapping[str, str],
        meta: Callable[[str], Meta],
        given: Mapping[str, Sequence[Event]],
    ) -> tuple[Answer, Addressed[object]]:
        own = context.asking(read(context.asked, path))
        addressed = await call(own, **{name: path[name] for name in signature.parameters})
        key, command = addressed.key, addressed.command
        if not own.dry_run:
            return await own.log.execute(stream, key, command, meta(key)), addressed
        before = cast("Sequence[E]", given.get(stream.id(key), ()))  # a stream's events are of its own kinds
        return await own.log.dry_run(stream, key, command, before, own.streams), addressed

    return decide
