"""Commands that a pool of seats may be sent."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import strategies as st

from services.entitlements.domain import seat_pool
from tests.examples.entitlements import account

START = datetime(2026, 1, 1, tzinfo=UTC)

PEOPLE = st.sampled_from(["ana", "ben", "chiyo", "mina", "dora"])

TIMES = st.integers(0, 900).map(lambda days: START + timedelta(days=days))

YEARS = st.integers(2026, 2029).map(lambda year: date(year, 12, 31))

CSNS = st.one_of(st.none(), st.sampled_from(["N1", "N2"]))

USER, OTHER = account("anybody"), account("anybody", "other")

POOL_COMMANDS = st.one_of(
    st.builds(
        seat_pool.OpenPool,
        subscription_id=st.just("s"),
        contract_id=st.just("c"),
        customer=st.just("org"),
        product=st.just("p"),
        product_name=st.just("P"),
        seats=st.integers(1, 4),
        starts=st.just(date(2026, 1, 1)),
        ends=st.just(date(2026, 12, 31)),
        partner=st.just("reseller"),
        publisher=st.just("autodesk"),
        period=st.sampled_from(["monthly", "annual", "three_year"]),
    ),
    st.builds(seat_pool.AssignSeat, PEOPLE, st.just("admin"), st.sampled_from([USER, USER, USER, OTHER, None])),
    st.builds(seat_pool.AssignSeat, PEOPLE, st.just("admin"), st.just(USER)),
    st.builds(seat_pool.UnassignSeat, PEOPLE, st.just("admin")),
    st.builds(
        seat_pool.TransferSeat,
        account_id=PEOPLE,
        to_account_id=PEOPLE,
        transferred_by=st.just("admin"),
        to=st.sampled_from([USER, USER, OTHER, None]),
    ),
    st.builds(seat_pool.ResizePool, st.integers(1, 6)),
    st.builds(seat_pool.RenewPool, st.integers(1, 6), YEARS),
    st.builds(seat_pool.EndTerm, YEARS, TIMES),
    st.builds(seat_pool.AdvanceLadder, TIMES),
    st.builds(seat_pool.NoteCsn, st.sampled_from(["org", "reseller", "x"]), CSNS, st.integers(1, 9)),
    st.builds(seat_pool.AnswerAutoRenewRequest, st.just("s"), st.sampled_from("12")),
)

OPENING = seat_pool.OpenPool(
    subscription_id="s",
    contract_id="c",
    customer="org",
    product="p",
    product_name="P",
    seats=3,
    starts=date(2026, 1, 1),
    ends=date(2026, 12, 31),
    partner="reseller",
    publisher="autodesk",
)
