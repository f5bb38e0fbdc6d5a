"""Limits and periodic checks of the sessions that HTTP requests create."""

from collections.abc import Sequence

import pytest

from sfu.errors import AtCapacity, RateLimited, RemoteError
from sfu.rooms.quality import Link
from sfu.signaling import http_sessions
from sfu.signaling.http_session import HttpSession, Requester
from sfu.signaling.http_sessions import HttpSessions
from sfu.signaling.settings import Settings
from tests.signaling.fakes import World, claims

ADDRESS = "192.0.2.1"


class Session(HttpSession):
    """A session without media."""

    protocol = "whip"
    connected = False
    closed = 0

    def restart_ice(self, ufrag: str, pwd: str) -> str:
        return ""

    def links(self) -> Sequence[Link]:
        return ()

    def media_stats(self) -> None:
        return None

    def _close_connection(self) -> None:
        self.closed += 1

    def open(self) -> None:
        self._opened()


class Table:
    def __init__(self, settings: Settings | None = None) -> None:
        self.world = World(settings or Settings())
        self.sessions = HttpSessions(self.world.context)

    def open(self, address: str = ADDRESS, identity: str = "encoder") -> Session:
        self.sessions.admit(address)
        session = Session(self.world.context, self.sessions, Requester.of(claims(identity), "token", address))
        session.open()
        return session


def refused(table: Table, address: str = ADDRESS) -> RemoteError:
    with pytest.raises(RemoteError) as error:
        table.open(address)
    return error.value


def test_sessions_are_found_by_the_secret_of_their_url() -> None:
    table = Table()
    session = table.open()
    assert table.sessions.find(session.key) is session
    assert table.sessions.find(session.id) is None
    assert table.sessions.by_protocol() == {"whip": 1, "whep": 0}
    session.leave()
    session.leave()
    table.sessions.remove(session)
    assert table.sessions.find(session.key) is None
    assert (len(table.sessions), session.closed) == (0, 1)
    assert table.sessions._by_address == {}


def test_the_number_of_sessions_is_bounded() -> None:
    table = Table(Settings(max_http_sessions=2))
    first = table.open("192.0.2.1")
    table.open("192.0.2.2")
    assert isinstance(refused(table, "192.0.2.3"), AtCapacity)
    first.leave()
    table.open("192.0.2.3")


def test_a_draining_server_takes_no_session() -> None:
    table = Table()
    table.world.context.draining = True
    assert refused(table).code == "draining"


def test_an_address_creates_sessions_at_a_bounded_rate() -> None:
    table = Table(Settings(http_session_rate=0.5, http_session_burst=3, unjoined_per_address=100))
    for _ in range(3):
        table.open()
    error = refused(table)
    assert isinstance(error, RateLimited)
    assert error.retry_after == pytest.approx(2.0)
    assert table.world.context.counters.rate_limited == 1
    table.open("192.0.2.2")
    table.world.now += 2.0
    table.open()
    refused(table)


def test_the_addresses_of_an_ipv6_network_count_as_one() -> None:
    table = Table(Settings(http_session_rate=0.5, http_session_burst=1))
    table.open("2001:db8::1")
    refused(table, "2001:db8::ffff")
    table.open("2001:db8:0:1::1")


def test_unconnected_sessions_of_an_address_are_bounded() -> None:
    table = Table(Settings(unjoined_per_address=2))
    first, _ = table.open(), table.open()
    error = refused(table)
    assert isinstance(error, RateLimited)
    assert error.retry_after == http_sessions.UNCONNECTED_RETRY_AFTER
    table.open("192.0.2.2")
    first.connected = True
    table.open()


def test_the_table_of_rates_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_sessions, "RATE_LIMIT_ENTRIES", 3)
    table = Table(Settings(http_session_rate=0.001, http_session_burst=1, unjoined_per_address=100))
    for number in (1, 2, 3):
        table.open(f"192.0.2.{number}")
    refused(table, "192.0.2.1")  # now the latest
    table.open("192.0.2.4")
    assert len(table.sessions._rates) == 3
    refused(table, "192.0.2.1")
    table.open("192.0.2.2")  # forgotten


@pytest.mark.parametrize(("end_with_token", "left"), [(True, 0), (False, 1)])
def test_sessions_end_with_their_token_if_the_operator_wants_it(end_with_token: bool, left: int) -> None:
    table = Table(Settings(end_with_token=end_with_token))
    table.open()
    table.sessions.check(1.0, 2e9 - 1)
    assert len(table.sessions) == 1
    table.sessions.check(1.0, 2e9)
    assert len(table.sessions) == left


def test_sessions_of_revoked_tokens_end() -> None:
    table = Table()
    kicked, other = table.open(identity="kicked"), table.open(identity="other")
    access = table.world.context.access
    table.world.context.access = type(access)(
        access.authenticate, access.revoke, is_revoked=lambda one: one.identity == "kicked"
    )
    table.sessions.check(1.0, 0.0)
    assert (kicked.ended, other.ended) == (True, False)


def test_a_session_that_takes_too_much_loop_time_ends() -> None:
    table = Table()
    busy, other = table.open(), table.open()
    for second in range(60):
        now = 1000.0 + second
        for budget in busy.budgets.values():
            budget.charge(2.0, now)
            budget.admits(now)
        table.sessions.check(now, 0.0)
        if busy.ended:
            break
    assert (busy.ended, other.ended) == (True, False)
    assert table.world.context.counters.overloads == 1


def test_close_ends_all_sessions() -> None:
    table = Table()
    sessions = [table.open() for _ in range(3)]
    table.sessions.close("The server stops.")
    assert all(session.ended for session in sessions)
    assert len(table.sessions) == 0
