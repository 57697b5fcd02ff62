"""The notifications of seats, credits, updates and rollouts."""

from collections.abc import Callable, Mapping
from typing import Final

from services.identity.domain.notification_rows import Notification, tell
from shared.events import (
    CreditsExpired,
    CreditsGranted,
    RolloutCompleted,
    RolloutPaused,
    RolloutStarted,
    RolloutStopped,
    SeatAssigned,
    SeatUnassigned,
    UpdateOffered,
    UpdateRecalled,
    UpdateRightLost,
)

_PAUSED: Final[Mapping[str, str]] = {
    "failures": "Too many installs of {product} have failed, so its rollout was paused. Look at the failed machines, "
    "then retry them, exclude them or stop it.",
    "no-users": "The rollout of {product} was paused, because a phase has no users any more. Move on to the next "
    "phase, or stop it.",
    "silence": "The rollout of {product} was paused, because the machines of a phase do not report. Exclude them, move "
    "on to the next phase, or stop it.",
}


def _paused_by(cause: str) -> Callable[[RolloutPaused], bool]:
    return lambda event: event.cause == cause


ROWS: Final[tuple[Notification, ...]] = (
    # Seats, credits and updates
    tell(
        SeatAssigned,
        "seat",
        "person",
        title="You have a seat of {product}",
        text="Seat {seat:number} of {product} was assigned to you. You can use it.",
        facts=lambda e: {"seat": e.seat},
    ),
    tell(
        SeatUnassigned,
        "seat",
        "person",
        title="Your seat of {product} was taken back",
        text="Seat {seat:number} of {product} is no longer assigned to you. Ask your administrators if you need it.",
        facts=lambda e: {"seat": e.seat},
    ),
    tell(
        CreditsGranted,
        "credits",
        "person",
        title="{amount:number} cloud credits for you",
        text="You were granted {amount:number} cloud credits. They can be spent until {until:date}.",
        facts=lambda e: {"amount": e.amount, "until": e.expires_on},
        variant="person",
        applies=lambda e: e.account_id is not None,
    ),
    tell(
        CreditsGranted,
        "credits",
        "administrators",
        title="{amount:number} cloud credits for contract {contract}",
        text="The pool of contract {contract} was granted {amount:number} cloud credits. They can be spent until "
        "{until:date}.",
        facts=lambda e: {"amount": e.amount, "until": e.expires_on, "contract": e.contract_id},
        variant="pool",
        applies=lambda e: e.account_id is None,
    ),
    tell(
        CreditsExpired,
        "credits",
        "person",
        title="{amount:number} of your cloud credits have expired",
        text="{amount:number} cloud credits of yours were not spent in time, and have expired.",
        facts=lambda e: {"amount": e.amount},
        variant="person",
        applies=lambda e: e.account_id is not None,
    ),
    tell(
        CreditsExpired,
        "credits",
        "administrators",
        title="{amount:number} cloud credits of contract {contract} have expired",
        text="{amount:number} cloud credits of the pool of contract {contract} were not spent in time, and have "
        "expired.",
        facts=lambda e: {"amount": e.amount, "contract": e.contract_id},
        variant="pool",
        applies=lambda e: e.account_id is None,
    ),
    tell(
        UpdateRightLost,
        "update-right",
        "administrators",
        title="{product}: no right to updates",
        text="The users of {product} have lost the right to updates. It returns with a valid CSN and an active "
        "subscription.",
    ),
    tell(
        UpdateOffered,
        "update-available",
        "administrators",
        title="{product} is available",
        text="{product} (version {version}) is available for contract {contract}. You approve, schedule or hold it, or "
        "your policies do.",
        facts=lambda e: {"version": e.version, "contract": e.contract_id},
    ),
    tell(
        UpdateRecalled,
        "update-available",
        "administrators",
        title="{product} was withdrawn",
        text="The publisher has withdrawn {product}. It is not installed any more.\n\n{reason:quoted}",
        facts=lambda e: {"reason": e.reason},
    ),
    # Rollouts
    *(
        tell(
            RolloutPaused,
            "rollout-paused",
            "administrators",
            title="The rollout of {product} is paused",
            text=_text,
            variant=_cause,
            applies=_paused_by(_cause),
            own=True,
        )
        for _cause, _text in _PAUSED.items()
    ),
    tell(
        RolloutPaused,
        "rollout-paused",
        "administrators",
        title="The rollout of {product} is paused",
        text="The rollout of {product} was paused.\n\n{reason:quoted}\n\nNobody is offered it until it is resumed.",
        facts=lambda e: {"reason": e.reason},
        applies=lambda e: e.cause not in _PAUSED,
    ),
    tell(
        RolloutStarted,
        "rollout-progress",
        "administrators",
        title="The rollout of {product} has begun",
        text="The rollout of {product} has begun.",
    ),
    tell(
        RolloutCompleted,
        "rollout-progress",
        "administrators",
        title="The rollout of {product} is complete",
        text="Every phase of the rollout of {product} has passed.",
        own=True,
    ),
    tell(
        RolloutStopped,
        "rollout-progress",
        "administrators",
        title="The rollout of {product} was stopped",
        text="The rollout of {product} was stopped for good.\n\n{reason:quoted}",
        facts=lambda e: {"reason": e.reason},
    ),
)
