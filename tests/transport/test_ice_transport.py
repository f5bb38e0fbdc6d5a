"""Addresses, credentials and consent of one connection, without sockets; the time is an argument."""

from collections import Counter

import pytest

from sfu.forwarding.engine import Engine
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.peer_transport import Address, DatagramSink
from sfu.ids import PeerId
from sfu.transport.candidate_pairs import ADDRESSES, INTERVAL
from sfu.transport.ice_transport import TAKEN_FOR, IceTransport
from sfu.transport.settings import Settings
from sfu.transport.srtp import SrtpEncryptor
from sfu.transport.stun import BindingRequest, parse_binding_request
from sfu.transport.udp import DatagramHandler
from tests.support.peer import binding_request

HOME: Address = ("192.0.2.1", 1000)
AWAY: Address = ("::ffff:198.51.100.2", 2000)
TCP: Address = ("192.0.2.1", 3000, "tcp")


class Port:
    def __init__(self) -> None:
        self.by_address: dict[Address, DatagramHandler] = {}
        self.dropped: Counter[str] = Counter()


class Server:
    """Keeps what ICE transports ask of the server."""

    def __init__(self) -> None:
        self.engine = Engine(SrtpEncryptor(), segments=False)
        self.settings = Settings(consent_timeout=30.0)
        self.port = Port()
        self.by_ufrag: dict[str, DatagramHandler] = {}
        self.released: list[Address] = []
        self.watched: set[IceTransport] = set()

    def learn_ufrag(self, ufrag: str, handler: DatagramHandler) -> None:
        self.by_ufrag[ufrag] = handler

    def forget_ufrag(self, ufrag: str) -> None:
        self.by_ufrag.pop(ufrag, None)

    def release(self, address: Address) -> None:
        self.released.append(address)

    def watch(self, ice: IceTransport) -> None:
        self.watched.add(ice)


class Socket:
    segments = False

    def send(self, data: bytes | memoryview, address: Address) -> bool:
        raise AssertionError("an ICE transport sends nothing itself")

    def send_segments(self, data: memoryview, size: int, address: Address) -> bool:
        raise AssertionError("an ICE transport sends nothing itself")


class Handler:
    """A connection that only has an ICE transport. `check` is a valid check of the client."""

    def __init__(self, server: Server) -> None:
        self.peer: EnginePeer = server.engine.open_peer(PeerId(len(server.engine.peers) + 1), 1)
        self.ice = IceTransport(server, self.peer, self)
        self.socket: DatagramSink = Socket()

    def check(self, address: Address, now: float, *, nominate: bool = True) -> bytes | None:
        username, password = f"{self.ice.agent.ufrag}:peer", self.ice.agent.pwd
        data = memoryview(binding_request(username, password, nominate=nominate))
        return self.check_received(parse_binding_request(data), data, self.socket, address, now)

    def check_received(
        self, request: BindingRequest, data: memoryview, source: DatagramSink, address: Address, now: float
    ) -> bytes | None:
        return self.ice.check_received(request, data, source, address, now)

    def check_repeated(self, data: memoryview, source: DatagramSink, address: Address, now: float) -> bytes | None:
        return self.ice.check_repeated(data, source, address, now)

    def dtls_received(self, datagram: bytes) -> None:
        raise AssertionError("no DTLS here")

    def packet_received(self, address: Address, now: float) -> None:
        self.ice.packet_received(address, now)

    def yield_address(self, address: Address, now: float) -> bool:
        return self.ice.yield_address(address, now)

    def path_closed(self, address: Address) -> None:
        self.ice.path_closed(address)


def holders(server: Server) -> dict[Address, object]:
    return dict(server.port.by_address)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def handler(server: Server) -> Handler:
    return Handler(server)


def test_the_first_valid_check_claims_its_address_and_directs_media_to_it(server: Server, handler: Handler) -> None:
    assert (handler.ice.selected, handler.ice.protocol, handler.ice.remote_host) == (None, "", "")
    assert handler.ice.has_consent(1000.0), "consent cannot expire before an address is selected"
    assert handler.check(HOME, 1.0) == handler.ice.agent.pwd.encode()
    assert holders(server) == {HOME: handler}
    assert (handler.peer.address, handler.peer.datagram_sink) == (HOME, handler.socket)
    assert (handler.ice.selected, handler.ice.protocol, handler.ice.remote_host) == (HOME, "udp", "192.0.2.1")
    assert handler.ice.checked(HOME) == 1.0
    assert handler.ice.checked(AWAY) == float("-inf")


@pytest.mark.parametrize(("address", "protocol", "host"), [(AWAY, "udp", "198.51.100.2"), (TCP, "tcp", "192.0.2.1")])
def test_the_selected_address_names_protocol_and_host(
    handler: Handler, address: Address, protocol: str, host: str
) -> None:
    handler.check(address, 1.0)
    assert (handler.ice.protocol, handler.ice.remote_host) == (protocol, host)


def test_a_check_with_a_wrong_password_claims_nothing(server: Server, handler: Handler) -> None:
    data = memoryview(binding_request(f"{handler.ice.agent.ufrag}:peer", "wrong"))
    assert handler.ice.check_received(parse_binding_request(data), data, handler.socket, HOME, 1.0) is None
    assert (server.port.by_address, handler.ice.selected) == ({}, None)


def test_a_repeated_check_is_answered_until_an_ice_restart(handler: Handler) -> None:
    password = handler.check(HOME, 1.0)
    assert password is not None
    data = memoryview(binding_request(f"{handler.ice.agent.ufrag}:peer", handler.ice.agent.pwd))
    assert handler.check_repeated(data, handler.socket, HOME, 2.0) is None, "the transport does not expect it yet"
    handler.ice.expect_repetition(parse_binding_request(data), data, HOME, password)
    assert handler.check_repeated(data, handler.socket, AWAY, 2.0) is None
    assert handler.check_repeated(data, handler.socket, HOME, 2.0) is not None
    assert handler.ice.checked(HOME) == handler.ice.agent.last_check == 2.0
    handler.ice.restart()
    assert handler.check_repeated(data, handler.socket, HOME, 3.0) is None


def test_a_repetition_of_another_address_is_not_expected(handler: Handler) -> None:
    password = handler.check(HOME, 1.0)
    assert password is not None
    data = memoryview(binding_request(f"{handler.ice.agent.ufrag}:peer", handler.ice.agent.pwd))
    handler.ice.expect_repetition(parse_binding_request(data), data, AWAY, password)
    assert handler.check_repeated(data, handler.socket, HOME, 2.0) is None


def test_a_restart_keeps_the_last_two_user_fragments_until_the_new_one_is_used(
    server: Server, handler: Handler
) -> None:
    first = handler.ice.agent.ufrag
    server.learn_ufrag(first, handler)
    handler.ice.restart()
    second = handler.ice.agent.ufrag
    assert set(server.by_ufrag) == {first, second}
    handler.ice.restart()
    third = handler.ice.agent.ufrag
    assert set(server.by_ufrag) == {second, third}
    handler.check(HOME, 1.0)
    assert set(server.by_ufrag) == {third}


@pytest.mark.parametrize(("after", "yields"), [(TAKEN_FOR - 0.1, False), (TAKEN_FOR, True)])
def test_an_address_passes_to_another_connection_once_its_proof_is_old(
    server: Server, handler: Handler, after: float, yields: bool
) -> None:
    other = Handler(server)
    handler.check(HOME, 1.0)
    assert (other.check(HOME, 1.0 + after) is not None) == yields
    assert holders(server) == {HOME: other if yields else handler}
    assert (handler.ice.checked(HOME) == 1.0) != yields


def test_a_tcp_connection_belongs_to_its_first_user(server: Server, handler: Handler) -> None:
    handler.check(TCP, 1.0)
    assert Handler(server).check(TCP, 1000.0) is None
    assert holders(server) == {TCP: handler}


def test_addresses_are_bounded_and_released(server: Server, handler: Handler) -> None:
    for number in range(3 * ADDRESSES):
        handler.check(("192.0.2.9", number), 1.0 + number / 1000, nominate=False)
    assert len(server.port.by_address) == ADDRESSES
    assert len(server.released) == 2 * ADDRESSES
    assert handler.ice.selected in server.port.by_address


def test_a_nominated_address_is_watched_until_it_is_selected(server: Server, handler: Handler) -> None:
    handler.check(HOME, 0.0)
    handler.check(AWAY, 0.5)
    assert server.watched == {handler.ice}
    assert handler.peer.address == HOME
    now = 0.5
    while handler.ice.watched(now):
        now += 0.1
        handler.check(AWAY, now)
        assert now < 30
    assert handler.peer.address == handler.ice.selected == AWAY


def test_the_end_of_the_tcp_connection_moves_media_to_the_address_that_checked_last(
    server: Server, handler: Handler
) -> None:
    handler.check(TCP, 1.0)
    handler.check(HOME, 2.0, nominate=False)
    handler.path_closed(TCP)
    assert handler.peer.address == handler.ice.selected == HOME
    assert holders(server) == {HOME: handler}
    assert server.released == [TCP]


def test_after_the_end_of_the_only_path_the_next_check_selects(server: Server, handler: Handler) -> None:
    handler.check(TCP, 1.0)
    handler.path_closed(TCP)
    assert server.port.by_address == {}
    assert handler.ice.has_consent(1.0 + 30.0)
    handler.check(HOME, 5.0)
    assert handler.ice.selected == HOME


def test_consent_expires_after_the_last_check(handler: Handler) -> None:
    handler.check(HOME, 1.0)
    assert handler.ice.has_consent(31.0)
    assert not handler.ice.has_consent(31.1)


def test_media_leaves_a_silent_address_for_one_that_checks(handler: Handler) -> None:
    handler.check(HOME, 0.0)
    for second in range(1, 12):
        handler.check(AWAY, float(second), nominate=False)
        assert handler.ice.has_consent(second + 0.1)
    assert handler.peer.address == AWAY


def test_media_leaves_an_address_without_consent_even_if_packets_come_from_it(handler: Handler) -> None:
    handler.check(HOME, 0.0)
    now = 0.0
    while now < 40:
        now += INTERVAL
        handler.packet_received(HOME, now)
        handler.check(AWAY, now, nominate=False)
        assert handler.ice.has_consent(now)
        assert handler.ice.selected == (HOME if now <= 30 else AWAY)


def test_closing_releases_every_address(server: Server, handler: Handler) -> None:
    handler.check(HOME, 1.0)
    handler.check(TCP, 1.1, nominate=False)
    handler.ice.close()
    handler.ice.close()
    assert server.port.by_address == {}
    assert sorted(server.released) == sorted([HOME, TCP])
    known = set(server.by_ufrag)
    handler.ice.restart()
    assert handler.check(HOME, 2.0) is None
    handler.path_closed(HOME)
    assert not handler.ice.watched(3.0)
    assert (server.port.by_address, set(server.by_ufrag)) == ({}, known)
