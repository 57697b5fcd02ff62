"""What the console's pages read of the verbs' results."""

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel

from services.console.shapes.operations import Explained, FoundStreams, ShownStream, SystemNow

VERB_SHAPES: Final[Mapping[str, type[BaseModel]]] = {
    "now": SystemNow,
    "stream find": FoundStreams,
    "stream show": ShownStream,
    "why": Explained,
}
"""By verb."""
