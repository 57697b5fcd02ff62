"""Unique names derived from identity's events, as a restore does, against those that the doors have taken."""

import pytest

from services.identity.__main__ import SERVICE
from services.identity.domain.account import ACCOUNT
from services.identity.persons import Persons
from shared.eventlog.repair.importing import claims_of
from tests.services.identity_bench import Bench, sign_up
from tests.services.issuer import OWN, from_issuer, signs_in, verified

pytestmark = pytest.mark.system


@pytest.mark.parametrize("leaving", [1, 2])
async def test_accounts_without_an_address_hold_no_name_however_many(bench: Bench, leaving: int) -> None:
    """People who have left, with an identity elsewhere and without; somebody whose unproven address was another's."""
    _, session = await verified(bench, "mina")
    await signs_in(bench)
    for left in [session, *[(await bench.join(f"ben{n}"))[1] for n in range(1, leaving)]]:
        assert (await bench.when(left, "DELETE", "/me")).status_code == 200
    attacker, _ = await bench.join("ana")
    proven = sign_up("ana", **OWN) | await from_issuer(bench, sub="2", email="ana@x.example")
    victim = (await bench.when("", "POST", "/accounts", proven)).json()["session"]["account_id"]
    assert victim != attacker
    await bench.settle()
    async with bench.pool.acquire() as db:
        derived = await claims_of(db, bench.store, SERVICE.whole().streams, Persons(bench.pool), lambda _: None)
        taken = {row["key"]: row["stream"] for row in await db.fetch("select key, stream from log.claims")}
    assert derived == (taken, [])
    assert taken["email:ana@x.example"] == ACCOUNT.id(victim) and "email:" not in taken
