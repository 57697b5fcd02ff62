"""What reaches the desktops: updates, groups, policies, rollouts, and one's own updates."""

from typing import Final

from services.console.areas import Area, Link, PageAt, Watch
from services.console.pages.updates import approving, available, groups, mine, policies, rollouts, steering
from services.console.texts import marked

_CONTRACT: Final = "/updates/{contract_id}"
_UPDATE: Final = f"{_CONTRACT}/of/{{publisher}}/{{update_id}}"
_GROUP: Final = f"{_CONTRACT}/groups/{{group_id}}"
_ROLLOUT: Final = f"{_CONTRACT}/rollouts/{{rollout_id}}"

AREA: Final = Area(
    name="updates",
    pages=(
        PageAt(path="/updates", show=available.contracts),
        PageAt(path="/updates/mine", show=mine.my_updates),
        PageAt(path=_CONTRACT, show=available.updates),
        PageAt(path=f"{_CONTRACT}/policies", show=policies.overview),
        PageAt(path=f"{_CONTRACT}/groups", show=groups.groups, act=groups.create),
        PageAt(path=f"{_CONTRACT}/rollouts", show=rollouts.rollouts),
        PageAt(path=_UPDATE, show=available.update),
        PageAt(path=f"{_UPDATE}/approve", show=approving.approval, act=approving.approve),
        PageAt(path=f"{_UPDATE}/hold", show=approving.holding, act=approving.hold),
        PageAt(path=_GROUP, show=groups.group, act=groups.change),
        PageAt(path=f"{_GROUP}/file", show=groups.upload, act=groups.put_file),
        PageAt(path=f"{_GROUP}/policy", show=policies.policy, act=policies.set_policy),
        PageAt(path=_ROLLOUT, show=rollouts.rollout),
        PageAt(path=f"{_ROLLOUT}/{{deed}}", show=steering.ask, act=steering.steer),
    ),
    links=(Link(path="/updates", text=marked("Updates"), kinds=frozenset({"customer"})),),
    watches=(
        Watch(find=rollouts.paused, kinds=frozenset({"customer"})),
        Watch(find=available.undecided, kinds=frozenset({"customer"})),
    ),
)
