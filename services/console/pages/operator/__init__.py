"""What the operator's people do: mails, contracts, people and invitations."""

from typing import Final

from services.console.areas import Area, Kind, Link, PageAt, Watch
from services.console.pages.operator import contracts, mails, people
from services.console.texts import marked

OPERATOR: Final[frozenset[Kind]] = frozenset({"operator"})

AREA: Final = Area(
    name="operator",
    pages=(
        PageAt(path="/operator/mails", show=mails.mails),
        PageAt(path="/operator/contracts", show=contracts.contracts),
        PageAt(path="/operator/contracts/{contract_id}", show=contracts.contract, act=contracts.hand_over),
        PageAt(path="/operator/organisations/{organisation_id}", show=people.organisation),
        PageAt(path="/operator/people/{account_id}", show=people.person, act=people.change),
        PageAt(path="/operator/invite", show=people.invite_page, act=people.invite),
    ),
    links=(
        Link(path="/operator/contracts", text=marked("Contracts"), kinds=OPERATOR),
        Link(path="/operator/mails", text=marked("Mails"), kinds=OPERATOR),
        Link(path="/operator/invite", text=marked("Invite"), kinds=OPERATOR),
    ),
    watches=(Watch(find=mails.bounced, kinds=OPERATOR), Watch(find=contracts.first_steps, kinds=OPERATOR)),
)
