"""A pool as it was, from its own events.

`tests/services/test_as_of.py` compares it with what the tables of `projections.py` have for the present.
"""

from datetime import date, timedelta
from typing import assert_never

from services.entitlements.domain import seat_pool_state
from services.entitlements.domain.seat_pool_state import OpenedSeatPool
from services.entitlements.lists import Phase, PoolView, SeatView, is_upcoming
from shared.events import SeatPoolEnded, SeatPoolExpired, SeatPoolSuspended
from shared.runtime.as_of import Past, nothing_then


def pool_then(past: Past[seat_pool_state.State, seat_pool_state.Event]) -> PoolView:
    """Return the view of a pool at a time in the past.

    Raises:
        Problem: 404 if it was not opened then.
    """
    state = past.state()
    if not isinstance(state, OpenedSeatPool):
        raise nothing_then(past.at)
    opened, times = state.opened, {envelope.id: envelope.time for envelope, _ in past.events}
    phase, until = _phase(state)
    if is_upcoming(phase, opened.starts, state.time_zone, past.now):
        phase, until = "upcoming", opened.starts - timedelta(days=1)
    return PoolView(
        subscription_id=opened.subscription_id,
        contract_id=opened.contract_id,
        customer=opened.customer,
        partner=opened.partner,
        product=opened.product,
        product_name=opened.product_name,
        seats=state.seats,
        assigned=len(state.held),
        free=state.seats - len(state.held),
        starts=opened.starts,
        ends=state.ends,
        time_zone=state.time_zone,
        phase=phase,
        until=until,
        updates=state.right is not None,
        holders=[
            SeatView(
                seat=seat,
                account_id=held.account_id,
                assigned_by=held.assigned_by,
                assigned_at=times[held.ref],
                event_id=held.ref,
            )
            for seat, held in sorted(state.held.items())
        ],
    )


def _phase(state: OpenedSeatPool) -> tuple[Phase, date | None]:
    """Return the phase and its last day, as if the first term had begun."""
    match state.over:
        case None:
            return "active", state.ends
        case SeatPoolExpired(access_until=until):
            return "expired", until
        case SeatPoolSuspended(kept_until=until):
            return "suspended", until
        case SeatPoolEnded():
            return "ended", None
        case unreachable:
            assert_never(unreachable)
