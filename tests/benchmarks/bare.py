"""An empty Starlette application with pydantic, on uvicorn: `python -m tests.benchmarks.bare PORT`.

It reads a body into a model and answers. A durable command is measured beside it.
"""

import sys
from typing import Final

import uvicorn
from pydantic import BaseModel, ConfigDict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PATH: Final = "/carts"


class Nothing(BaseModel):
    """The body of a command without fields of the caller's, as POST /carts has it."""

    model_config = ConfigDict(extra="forbid", strict=True)


async def accept(request: Request) -> Response:
    Nothing.model_validate_json(await request.body())
    return Response(b'{"ok":true}', 200, media_type="application/json")


if __name__ == "__main__":
    app = Starlette(routes=[Route(PATH, accept, methods=["POST"])])
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="critical")
