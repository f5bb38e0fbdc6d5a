"""Admission by a full or draining node, with the wiring of the application but without listening sockets."""

from collections.abc import Callable

import pytest

from sfu import config
from sfu.app import Server
from sfu.errors import AtCapacity
from sfu.resources.capacity import Usage
from sfu.rooms.room import Room


@pytest.fixture
def server() -> Server:
    flags = [("auth.keys", "{app: 0123456789abcdef0123456789abcdef}"), ("node.capacity_limit", "0.9")]
    return Server(config.load(flags=flags))


def work(server: Server, share: float) -> None:
    for second in range(0, 100, 5):
        server.node._capacity.observe(Usage(second, share * second, share * second, 0, 0))


def test_full(server: Server) -> None:
    server._admit("room")
    assert server.node.no_new_rooms() == ""
    work(server, 0.97)
    reason = "CPU usage is 97%, the limit is 90%"
    with pytest.raises(AtCapacity, match=reason) as refused:
        server._admit("room")
    assert (refused.value.code, refused.value.http_status) == ("at_capacity", 503)
    assert server.node.no_new_rooms() == reason
    assert server.node.not_ready() == ""
    assert server.node.joins_refused == {"capacity": 1, "draining": 0}
    assert server.node.capacity_used() == pytest.approx(0.97, abs=0.01)
    assert server.node.capacity()["cpu"] == pytest.approx(0.97, abs=0.01)


def test_out_of_memory() -> None:
    flags = [("auth.keys", "{app: 0123456789abcdef0123456789abcdef}"), ("node.memory", "1000000")]
    server = Server(config.load(flags=flags))
    calls: tuple[Callable[[], object], ...] = (lambda: server._admit("room"), server.node.admit_egress)
    for refused in calls:
        with pytest.raises(AtCapacity, match="memory usage is 100%, the limit is 90%"):
            refused()
    assert "memory" in server.node.no_new_rooms()
    assert server.node.not_ready() == ""
    assert server.node.capacity()["memory"] == server.node.capacity_used() == 1.0
    assert server.node.memory.used > server.node.memory.limit == 1_000_000


def test_draining(server: Server) -> None:
    room: Room = server.rooms.create("open")
    server.node.draining = True
    server._admit(room.name)
    server._admit("")  # a client whose room is not known yet
    with pytest.raises(AtCapacity) as refused:
        server._admit("another")
    assert refused.value.code == "draining"
    assert server.node.not_ready() == server.node.no_new_rooms() == "draining"


def test_turn_credentials() -> None:
    flags = [("turn.urls", "turns:turn.example.org:443"), ("turn.secret", "s")]
    server = Server(config.load(flags=flags))
    claims = None
    (ice_server,) = server._ice_servers(claims)  # type: ignore[arg-type]  # the claims are not used
    assert ice_server.urls == ["turns:turn.example.org:443"]
    assert ice_server.username.partition(":")[0].isdigit()
    assert ice_server.credential
