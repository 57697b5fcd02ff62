"""What the console's pages read of the verbs' results."""

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel

from services.console.shapes.operations import Explained, FoundStreams, Restores, ShownStream, SystemNow

VERB_SHAPES: Final[Mapping[str, type[BaseModel]]] = {
    "now": SystemNow,
    "restore status": Restores,
    "stream find": FoundStreams,
    "stream show": ShownStream,
    "why": Explained,
}
"""By verb."""
