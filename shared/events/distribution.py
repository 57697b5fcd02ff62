"""distribution's events: what reaches the desktops."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from shared.events.base import Event


class UpdatePublished(Event):
    """The publisher offers an update or an extension for a product."""

    update_id: str
    publisher: str
    product: str
    kind: Literal["update", "extension"]
    title: str
    version: str
    platform: str
    severity: Literal["critical", "important", "normal"]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(ge=0)]
    location: str
    published_at: datetime


class UpdateWithdrawn(Event):
    """The publisher takes the update back; it is installed no further."""

    update_id: str
    publisher: str
    reason: str
