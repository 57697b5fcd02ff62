"""The end of a process's HTTP: not ready first, then nothing new, then what it has begun."""

from typing import Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CLOSE: Final = (b"connection", b"close")


class Drain:
    """Middleware of a process that may be about to stop.

    Once it is, `/ready` answers 503, so that no balancer sends anything new, and each response asks its client to close
    the connection and to open the next one elsewhere.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.begun = app, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if self.begun and message["type"] == "http.response.start":
                others = [pair for pair in message["headers"] if pair[0].lower() != b"connection"]
                message = {**message, "headers": [*others, _CLOSE]}
            await send(message)

        if self.begun and scope["path"] == "/ready":
            body = {"ready": False, "waiting_for": {"stop": "the process is stopping"}}
            await JSONResponse(body, 503)(scope, receive, answer)
        else:
            await self.app(scope, receive, answer)
