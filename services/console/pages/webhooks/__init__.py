"""Webhooks: registered with an address, paused, resumed, replayed and removed."""

from typing import Final

from services.console.areas import EVERYONE, Area, PageAt, Watch
from services.console.pages.webhooks import pages

AREA: Final = Area(
    name="webhooks",
    pages=(
        PageAt(path="/webhooks", show=pages.webhooks),
        PageAt(path="/webhooks/new", show=pages.new, act=pages.register),
        PageAt(path="/webhooks/{webhook_id}", show=pages.webhook, act=pages.change),
    ),
    watches=(Watch(find=pages.parked, kinds=EVERYONE),),
)
