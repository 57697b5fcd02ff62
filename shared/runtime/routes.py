"""Commands as HTTP routes: a decorator for the function that completes a command.

The route reads the caller's part of the command from the body and the path, and knows the caller and the time. The
function looks up what the caller can't give (ids, facts of other streams) and returns the finished command with the key
of its stream; the log decides on it. `dispatch.py` does the HTTP part. These are plain Starlette routes, because
FastAPI's request handling would cost two thirds of the throughput.
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
from shared.runtime.conditions import Precondition
from shared.runtime.database import Pool
from shared.runtime.forms import form_of, has_secret, many_of, part_of, path_types, text_fields
from shared.runtime.in_order import Place
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
    """One request for a command, or one item of a bulk request, and what its function can read."""

    asked: F_co
    """The caller's part: the command itself, whose SUPPLIED fields are not set yet (reading one raises AttributeError),
    or the route's own form. A command's fields that the path names are set."""
    actor: Actor
    now: datetime
    """The current time for the caller's organisation, in UTC."""
    command_id: str
    dry_run: bool
    streams: Reader
    parts: Parts
    app: State
    """The service's own state besides the runtime's parts, such as identity's keys."""
    condition: Precondition | None = None
    """What the version of the stream that decides has to meet."""
    place: Place | None = None
    """An item's place among those of its bulk request."""
    shared_db: Pool | None = None
    """The database as the items of its bulk request share it."""

    @property
    def log(self) -> Log:
        return self.parts.log

    @property
    def db(self) -> Pool:
        return self.shared_db or self.parts.db

    def asking(self, asked: G, command_id: str = "", place: Place | None = None) -> "RequestContext[G]":
        """Return the same request for another part of the caller's, with nothing read yet.

        The streams of an item are read once what the items before it have changed is committed.
        """
        place = place or self.place
        return RequestContext(
            asked=asked,
            actor=self.actor,
            now=self.now,
            command_id=command_id or self.command_id,
            dry_run=self.dry_run,
            streams=self.log.reader(None if place is None else place.all_before_are_answered),
            parts=self.parts,
            app=self.app,
            condition=self.condition,
            place=place,
            shared_db=self.shared_db,
        )

    async def state(self, stream: Stream[S, C, E], key: str) -> S:
        """Return a stream's state, read once a request.

        The decision is made on the same state or a newer one.
        """
        return await self.streams.state(stream, key)

    def further_id(self, name: str) -> str:
        """Return the id of a further command of this request.

        As with the items of a bulk request, no key of a caller makes the same id.

        Args:
            name: a word that names the command within the request.
        """
        account, _, named = self.command_id.partition(":")
        return derived_id(account, f"~{name}:{named}")

    def new_id(self) -> str:
        return self.parts.new_id()

    def time_of(self, organisation_id: str) -> datetime:
        """Return the current time for an organisation; a sandbox's clock may be ahead."""
        return self.parts.clocks.time_of(organisation_id)


@dataclass(frozen=True, slots=True)
class Completion:
    """The progress of an accepted command's consequences."""

    done: bool
    """Whether they are complete; the response is 202 if not."""
    extra_response: BaseModel
    """Fields that are added to the response."""


@dataclass(frozen=True, slots=True)
class Addressed(Generic[C_co]):
    """A finished command, and the key of the stream that decides on it."""

    key: str
    command: C_co
    extra_response: Callable[[Accepted], Awaitable[BaseModel | None]] | None = None
    """Returns more fields for the response if this request made the events: not in a dry run, for a repeated request or
    for a refusal. They are not stored."""
    completion: Callable[[str], Awaitable[Completion]] | None = None
    """Returns the progress of the consequences once the command is accepted, now or before; not in a dry run. Called
    with the request's Authorization header."""


Finish: TypeAlias = Callable[Concatenate[RequestContext[F], P], Awaitable[Addressed[C]]]
"""A route's function. Its parameters after the context are those of the path that are no fields of the command."""
Decide: TypeAlias = Callable[
    [RequestContext[BaseModel], Mapping[str, str], Callable[[str], Meta], Mapping[str, Sequence[Event]]],
    Awaitable[tuple[Answer, Addressed[object]]],
]
"""Completes the command of a form and executes it, with metadata made for the stream's key; a dry run is decided as if
the given events, by stream, had been appended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRoute:
    """A command's route, for the OpenAPI document and the HTTP dispatch."""

    method: Method
    path: str
    command: type[object]
    form: type[BaseModel]
    operation: str
    """The operation's id in the OpenAPI document: the function's name, and `_bulk` for several in one request."""
    category: str
    """The category of the stream that decides."""
    events: tuple[type[Event], ...]
    """The kinds of events that the stream has."""
    decide: Decide
    open: bool
    """Whether it needs no token, which only sign-up does not."""
    secret: bool
    """Whether the form has a secret. Secrets are not in the fingerprint, because a password could be guessed faster
    from that than from its verifier."""
    bulk: bool
    """Whether `form` has `items`, each of which is decided on its own."""
    extra_response: type[BaseModel] | None
    """The fields that `Addressed.extra_response` and a completion may add to a response."""
    scopes: tuple[MachineScope, ...]
    """The scopes of which a machine account needs one; if there are none, the route is for people only."""
    completes: bool
    """Whether the response may be 202, because the completion is not done."""
    location: str
    """The path of what the command creates, as a format of its first event's fields; "" if it creates nothing."""
    body_bytes: int
    """The greatest size of a request's body."""
    path_types: Mapping[str, TypeAdapter[str]]
    """The type of each path parameter."""

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
        location: str = "",
    ) -> Callable[[Finish[F, P, C]], Finish[F, P, C]]:
        """Declare the route of the decorated function.

        The function is `async def name(context: RequestContext[F]) -> Addressed[C]`. F is the command, whose public
        fields are then the form, or a form of the route's own.

        Args:
            open: the route needs no token.
            bulk: the body is `{"items": [...]}`, and the response has an answer for each item, in order. Items are
                decided in order, each under an id of its own, so a repeated request gets the first answers of the
                items that were decided.
            extra_response: the fields that the function may add to the response.
            scopes: the scopes of which a machine account needs one.
            completes: the function returns a completion.
            location: the path of what the command creates, such as `/carts/{cart_id}`: the response names it.

        Raises:
            TypeError: the function's annotations don't match the path.
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
                    operation=f"{finish.__name__}_bulk" if bulk else finish.__name__,
                    category=stream.category,
                    events=_events(stream),
                    decide=_decide(stream, finish, signature, signature.reader(item, path)),
                    open=open,
                    secret=not bulk and has_secret(form),
                    bulk=bulk,
                    extra_response=extra_response,
                    scopes=scopes,
                    completes=completes,
                    location=location,
                    body_bytes=body_bytes(form) if bulk else BODY_BYTES,
                    path_types=path_types(signature.command, _PLACE.findall(path)),
                )
            )
            return finish

        return declare


class _Signature(NamedTuple):
    """The types and parameters of a route's function."""

    command: type[object]
    asked: type[object]
    parameters: tuple[str, ...]
    """The path parameters that the function takes."""

    @staticmethod
    def of(finish: Callable[..., object], path: str) -> "_Signature":
        """Read the annotations. Raises TypeError if they don't match the path."""
        first, *parameters = inspect.signature(finish).parameters
        hints = get_type_hints(finish)
        context, answer = hints.get(first), hints.get("return")
        where = f"{finish.__qualname__}, the function of {path},"
        if get_origin(context) is not RequestContext or get_origin(answer) is not Addressed:
            raise TypeError(f"{where} must take a RequestContext[...] and return an Addressed[...]")
        (asked,), (command,) = get_args(context), get_args(answer)
        named = _PLACE.findall(path)
        if wrong := [name for name in parameters if name not in named or hints[name] is not str]:
            raise TypeError(f"{where} has parameters that are not in the path, or not str: {wrong}")
        filled = text_fields(command) if asked is command else ()
        if lost := [name for name in named if name not in parameters and name not in filled]:
            raise TypeError(f"{where} does not use these path parameters: {lost}")
        return _Signature(command, asked, tuple(parameters))

    def form(self, path: str, *, bulk: bool) -> type[BaseModel]:
        """Return the form of the body: the route's own, or the command's public fields."""
        if issubclass(self.asked, BaseModel):
            return self.asked
        return form_of(self.command, path, f"{self.command.__name__}Item" if bulk else "")

    def reader(self, form: type[BaseModel], path: str) -> Callable[[BaseModel, Mapping[str, str]], object]:
        """Return a function that makes the caller's part from a form and the path."""
        if issubclass(self.asked, BaseModel):
            return lambda given, _path: given
        return part_of(self.command, form, _PLACE.findall(path))


def _events(stream: Stream[S, C, E]) -> tuple[type[Event], ...]:
    """Return the kinds of events that a stream's `evolve` declares."""
    parameters, hints = [*inspect.signature(stream.evolve).parameters], get_type_hints(stream.evolve)
    accepted = hints.get(parameters[1])
    kinds = get_args(accepted) or (accepted,)
    return tuple(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Event))


def _decide(
    stream: Stream[S, C, E],
    finish: Finish[F, P, C],
    signature: _Signature,
    asked_of: Callable[[BaseModel, Mapping[str, str]], object],
) -> Decide:
    # Both casts repeat what `signature` has read from the function's own annotations.
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
            if own.place is None:
                return await own.log.execute(stream, key, command, meta(key), own.condition), addressed
            await own.place.comes()
            answer = await own.log.execute(stream, key, command, meta(key), own.condition, own.place.decided)
            return answer, addressed
        before = cast("Sequence[E]", given.get(stream.id(key), ()))  # a stream's events are of its own kinds
        return await own.log.dry_run(stream, key, command, before, own.streams, own.condition), addressed

    return decide
