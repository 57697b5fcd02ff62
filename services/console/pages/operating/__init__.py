"""What the operator's people do to the running system: the verbs of `tenure`, dry run first."""

from typing import Final

from services.console.areas import Area, Kind, Link, PageAt
from services.console.pages.operating import overview, parked, restores, runs, verbs
from services.console.texts import marked

OPERATOR: Final[frozenset[Kind]] = frozenset({"operator"})

AREA: Final = Area(
    name="operating",
    pages=(
        PageAt(path="/operator/operate", show=overview.overview),
        PageAt(path="/operator/operate/parked", show=parked.groups),
        PageAt(path="/operator/operate/parked/{fingerprint}", show=parked.group),
        PageAt(path="/operator/operate/records/{handle}", show=parked.record, act=parked.edit),
        PageAt(path="/operator/operate/verbs/{verb}", show=verbs.verb, act=verbs.run),
        PageAt(path="/operator/operate/operations/{operation_id}", show=runs.run, act=runs.confirm),
        PageAt(path="/operator/operate/operations/{operation_id}/cancel", show=runs.ask_to_cancel, act=runs.cancel),
        PageAt(path="/operator/operate/restores", show=restores.restores),
    ),
    links=(Link(path="/operator/operate", text=marked("Operate"), kinds=OPERATOR),),
)
