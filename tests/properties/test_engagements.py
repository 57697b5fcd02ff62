"""What holds for a customer and a partner, whatever the customer's people command."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.marketplace.domain import engagement
from tests.examples import marketplace as ex
from tests.properties.live import live, nothing_more

_engagement_commands = st.one_of(
    st.builds(
        engagement.EngagePartner,
        partner=st.just(ex.PARTNER),
        customer=st.just(ex.CUSTOMER),
        engaged_by=st.just("a"),
        is_partner=st.booleans(),
    ),
    st.builds(
        engagement.ReleasePartner,
        partner=st.just(ex.PARTNER),
        customer=st.just(ex.CUSTOMER),
        released_by=st.just("a"),
        ordered_before=st.booleans(),
    ),
)


@given(st.lists(_engagement_commands, max_size=12))
def test_engagement_decisions_survive_a_retry_and_alternate(commands: list[engagement.Command]) -> None:
    history = live(engagement.ENGAGEMENT, commands, nothing_more)
    kinds = [event.type() for event in history]
    assert all(one != other for one, other in pairwise(kinds))
