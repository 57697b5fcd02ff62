"""What several consumers did together, and the requests of bulk commands."""

from itertools import islice

from tests.benchmarks.consuming import together
from tests.benchmarks.load import post
from tests.benchmarks.web import grants


def done(applied: int, began_ns: int, ended_ns: int) -> dict[str, float]:
    return {"applied": applied, "began_ns": began_ns, "ended_ns": ended_ns, "cpu_s": 0.5, "requests": 10}


def test_processes_count_from_the_first_begin_to_the_last_end() -> None:
    second = 1_000_000_000
    both = together([done(3_000, second, 2 * second), done(1_000, 2 * second, 3 * second)])
    assert both == {"events_s": 2_000, "cpu_us": 250.0, "requests": 0.005}


def test_a_process_without_partitions_does_not_count_as_begun() -> None:
    assert together([done(1_000, 5, 1_000_000_005), done(0, 0, 0)])["events_s"] == 1_000


def test_each_contract_gets_as_many_requests_before_the_next() -> None:
    paths = [each.split(b" ")[1] for each in islice(grants("token", "/bulk", lambda number: number, 2), 4)]
    assert paths == [f"/contracts/c-{number}/credits/grants/bulk".encode() for number in (0, 0, 1, 1)]
    assert next(grants("token", "", lambda number: {"n": number}, 2)) == post(
        "/contracts/c-0/credits/grants", b'{"n": 0}', "token"
    )
