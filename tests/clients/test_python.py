"""The client for Python against answers as a system under load gives them."""

import json
from collections.abc import Callable, Iterator
from itertools import islice

import httpx
import pytest
from tenure_client import HistoryGone, Options, Person, Refused, Tenure, Token, Unavailable

ACCEPTED = {"stream": "pool-s", "version": 3, "events": []}
Answering = Callable[[httpx.Request], httpx.Response]


def problem(status: int, rule: str, **headers: str) -> httpx.Response:
    body = {"rule": rule, "status": status, "detail": f"It is {rule}.", "remedy": "Do otherwise.", "because": []}
    return httpx.Response(status, json=body, headers=headers)


class Server:
    """Gives its answers one after the other, and keeps what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception | Answering) -> None:
        self._answers = iter(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked.append(request)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(request)


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr("tenure_client.client.time.sleep", waited.append)
    return waited


def client(server: Server, patience_s: float = 60) -> Tenure:
    return Tenure(Token("t"), transport=httpx.MockTransport(server), patience_s=patience_s)


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_command_is_sent_again_with_its_key_until_it_is_answered(without_pauses: list[float]) -> None:
    busy = problem(503, "busy", **{"Retry-After": "2"})
    server = Server(
        httpx.ConnectError("refused"), busy, problem(429, "too-many-requests"), httpx.Response(200, json=ACCEPTED)
    )
    assert client(server).commands.assign_seat(subscription_id="s", email="a@b.example") == ACCEPTED
    assert len({request.headers["Idempotency-Key"] for request in server.asked}) == 1
    assert len({request.content for request in server.asked}) == 1
    assert len(without_pauses) == 3 and without_pauses[1] >= 2


def test_an_id_is_one_part_of_the_path_and_what_is_not_given_is_left_out() -> None:
    server = Server(httpx.Response(200, json=ACCEPTED))
    options = Options(key="k", dry_run=True, if_match='"pool-s@2"')
    client(server).commands.assign_seat(subscription_id="a/b?c", email="a@b.example", options=options)
    (asked,) = server.asked
    assert asked.url.raw_path == b"/pools/a%2Fb%3Fc/seats?dry_run=true"
    assert json.loads(asked.content) == {"email": "a@b.example"}
    assert (asked.headers["Idempotency-Key"], asked.headers["If-Match"]) == ("k", '"pool-s@2"')


def test_a_refusal_is_not_sent_again() -> None:
    server = Server(problem(409, "no-seat"))
    with pytest.raises(Refused) as refused:
        client(server).commands.assign_seat(subscription_id="s", email="a@b.example")
    assert (refused.value.rule, refused.value.remedy, refused.value.status) == ("no-seat", "Do otherwise.", 409)
    assert len(server.asked) == 1


def test_patience_ends() -> None:
    server = Server(*(problem(503, "busy") for _ in range(9)))
    with pytest.raises(Unavailable, match="It is busy"):
        client(server, patience_s=0).commands.assign_seat(subscription_id="s", email="a@b.example")
    assert len(server.asked) == 1


def session(number: int) -> httpx.Response:
    body = {"access_token": f"t{number}", "refresh_token": f"r{number}", "expires_in": 300}
    return httpx.Response(200, json=body)


def test_a_token_that_has_ended_is_renewed_once() -> None:
    server = Server(session(1), problem(401, "not-signed-in"), session(2), httpx.Response(200, json=ACCEPTED))
    tenure = Tenure(Person("a@b.example", "secret"), transport=httpx.MockTransport(server))
    assert tenure.commands.assign_seat(subscription_id="s", email="a@b.example") == ACCEPTED
    assert [request.url.path for request in server.asked] == [
        "/sessions",
        "/pools/s/seats",
        "/sessions/refresh",
        "/pools/s/seats",
    ]
    assert server.asked[-1].headers["Authorization"] == "Bearer t2"


def test_a_wrong_password_is_told_at_once() -> None:
    server = Server(problem(401, "not-signed-in"))
    tenure = Tenure(Person("a@b.example", "secret"), transport=httpx.MockTransport(server))
    with pytest.raises(Refused):
        next(tenure.subscribe("t"))
    assert len(server.asked) == 1


# ── Events ─────────────────────────────────────────────────────────────────────────────────────────────


def item(position: int) -> dict[str, object]:
    return {"id": f"e{position}", "position": str(position), "type": "internal.tenure.SeatAssigned", "data": {}}


def block(position: int) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (position, json.dumps(item(position)).encode())


class Broken(httpx.SyncByteStream):
    """A body that ends with a lost connection."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts
        raise httpx.ReadError("lost")


def test_a_subscription_goes_on_after_its_last_event_and_gives_none_twice() -> None:
    server = Server(
        httpx.Response(200, stream=Broken(b"retry: 1\nid: 4\n\n", block(5), block(6), b"id: 7\nda")),
        problem(503, "busy"),
        httpx.Response(200, stream=Broken(b": alive\nid: 6\n\n", block(6), block(7), b": alive\nid: 9\n\n")),
        httpx.Response(200, stream=Broken(block(11))),
    )
    events = [*islice(client(server).subscribe("t", types=["SeatAssigned"]), 4)]
    assert [event.position for event in events] == [5, 6, 7, 11]
    assert {event.type for event in events} == {"SeatAssigned"}
    assert [request.url.params.get("after") for request in server.asked] == [None, "6", "6", "9"]
    assert all(request.url.params.get_list("type") == ["SeatAssigned"] for request in server.asked)


def test_a_history_that_is_gone_is_told() -> None:
    reset = b'event: reset\nid: 40\ndata: {"after": 5, "nearest": 41, "snapshot": "https://x.example/pools"}\n\n'
    server = Server(httpx.Response(200, stream=Broken(b"retry: 1\nid: 5\n\n", reset)))
    with pytest.raises(HistoryGone) as gone:
        next(client(server).subscribe("t", after=5))
    assert (gone.value.nearest, gone.value.snapshot) == (41, "https://x.example/pools")


def test_what_there_is_is_read_to_its_end() -> None:
    pages = [{"items": [item(1), item(3)], "position": 4}, {"items": [], "position": 4}]
    server = Server(*(httpx.Response(200, json=page) for page in pages))
    assert [event.position for event in client(server).read("t")] == [1, 3]
    assert [request.url.params["after"] for request in server.asked] == ["0", "4"]


def test_an_event_that_is_sent_again_has_the_same_id() -> None:
    taken = {
        "status": 202,
        "source": "urn:publisher:p",
        "id": "1",
        "type": "PlanListed",
        "location": "/events/urn:publisher:p/1",
    }
    server = Server(httpx.ReadTimeout("late"), httpx.Response(202, json=taken))
    sent = client(server).emit("urn:publisher:p", "PlanListed", {"a": 1})
    assert sent.location == "/events/urn:publisher:p/1"
    first, second = (json.loads(request.content) for request in server.asked)
    assert first == second and first["data"] == {"a": 1}
    assert {request.headers["Content-Type"] for request in server.asked} == {"application/cloudevents+json"}
