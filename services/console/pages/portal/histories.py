"""Histories: who did what, when and why, in sentences."""

from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from services.console.names import names_of
from services.console.shapes.histories import History
from services.console.texts import marked
from services.console.visits import Visit

WHAT: Final[Mapping[str, str]] = {
    # Contracts
    "ContractOpened": marked("The contract was opened by its first confirmed order."),
    "RoleAssigned": marked("A role was given."),
    "RoleRequested": marked("A role was asked for."),
    "RoleRequestDeclined": marked("A request for a role was declined."),
    "RoleRevoked": marked("A role was taken."),
    "AgreementScheduled": marked("An agreement was scheduled for the term's first day."),
    "AgreementStarted": marked("An agreement began."),
    "AgreementEnded": marked("An agreement ended."),
    # Subscriptions
    "SubscriptionOrdered": marked("The order was sent to the publisher."),
    "SubscriptionConfirmed": marked("The publisher accepted the order."),
    "SubscriptionOrderFailed": marked("The publisher declined the order."),
    "SubscriptionOrderAbandoned": marked("The partner gave the order up."),
    "AutoRenewDisableRequested": marked("Turning auto-renew off was asked for."),
    "AutoRenewDisabled": marked("Auto-renew was turned off."),
    "AutoRenewDisableRefused": marked("Turning auto-renew off was refused: seats are assigned."),
    "SeatsAdded": marked("Seats were added to the running term."),
    "SeatDecreaseScheduled": marked("Fewer seats were ordered for the next term."),
    "SeatsRequested": marked("More seats were asked for."),
    "SeatsRequestConfirmed": marked("The partner added the seats that were asked for."),
    "SeatsRequestDeclined": marked("The partner declined the request for seats."),
    "RenewalReminded": marked("The renewal was announced."),
    "SubscriptionRenewed": marked("The next term began."),
    "SubscriptionEnded": marked("The subscription ended."),
    # Pools of seats
    "SeatPoolOpened": marked("The seats were bought."),
    "SeatAssigned": marked("A seat was assigned."),
    "SeatUnassigned": marked("A seat was taken away."),
    "SeatPoolCleared": marked("Auto-renew may be turned off: no seat is assigned."),
    "SeatPoolHeld": marked("Auto-renew stays on: seats are assigned."),
    "SeatPoolResized": marked("The number of seats changed."),
    "SeatPoolRenewed": marked("The seats continue in the next term."),
    "SeatPoolExpired": marked("The last term is over. The seats can still be used for some days."),
    "SeatPoolSuspended": marked("The seats can't be used any more, and are kept for their users."),
    "SeatPoolEnded": marked("The seats ended."),
    "PoolCsnNoted": marked("The publisher's customer number was noted."),
    "UpdateRightGranted": marked("The right to updates was given."),
    "UpdateRightLost": marked("The right to updates was lost."),
}
"""What happened, by the event's type."""
SUBJECTS: Final = ("account_id", "user", "to")
"""The fields of an event that name whom it concerns."""


async def show(visit: Visit, service: str, at: str, title: str, back: str) -> Response:
    """Show the history of what a service has at a path, the newest first."""
    asked = {"sort": "-version", **visit.listed()}
    history = await visit.see(service, f"{at}/history", History, **asked)
    concerned = [_concerned(each.data) for each in history.items]
    names = await names_of(visit, [*(each.actor for each in history.items), *concerned])
    return visit.page(
        "portal/history.html",
        history=history,
        names=names,
        what=WHAT,
        concerned=concerned,
        title_=title,
        back=back,
    )


def _concerned(data: Mapping[str, object]) -> str:
    return next((str(data[name]) for name in SUBJECTS if isinstance(data.get(name), str)), "")
