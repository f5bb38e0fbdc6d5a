"""Publishers and subscribers on a real port, met by a client of a few lines over real sockets."""

import asyncio
import gc
import socket
import time
import weakref
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from sfu.errors import BadRequest
from sfu.forwarding.track import Track
from sfu.ids import TrackId
from sfu.rooms.ports import MediaSource, SubscriptionSettings
from sfu.signaling.messages import TrackSpec
from sfu.transport.connection import State
from sfu.transport.dtls import Identity
from sfu.transport.dtls import State as DtlsState
from sfu.transport.endpoint import WebRtcEndpoint
from sfu.transport.published_track import PublishedTrack
from sfu.transport.publisher import PublisherConnection
from sfu.transport.settings import Settings
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.peer import RawPeer, binding_request, negotiate
from tests.support.wire import Rtp, rtp, vp8

SETTINGS = Settings(udp_port=0, bind=("127.0.0.1",), include_loopback=True, handshake_timeout=0.4, connect_timeout=0.5)

DECLARED = [TrackSpec(mid="0", source="microphone"), TrackSpec(mid="1", source="camera")]


@dataclass
class Ear:
    """Listens to either kind of connection."""

    offers: list[tuple[int, str, dict[str, TrackId]]] = field(default_factory=list)
    states: list[tuple[TrackId, bool, str, str]] = field(default_factory=list)
    data: list[tuple[str | bytes, bool]] = field(default_factory=list)
    lost: int = 0

    def offer_made(self, offer_id: int, sdp: str, tracks: dict[str, TrackId]) -> None:
        self.offers.append((offer_id, sdp, tracks))

    def subscription_changed(
        self, track: TrackId, *, paused: bool, reason: str, layer: str, width: int, height: int
    ) -> None:
        self.states.append((track, paused, reason, layer))

    def data_received(self, payload: bytes | str, *, reliable: bool) -> None:
        self.data.append((payload, reliable))

    def data_refused(self, size: int) -> None: ...

    def subscriber_lost(self) -> None:
        self.lost += 1

    def layers_wanted(self, mid: str, rids: tuple[str, ...]) -> None: ...

    def publisher_lost(self) -> None:
        self.lost += 1


@pytest.fixture
async def webrtc_server() -> AsyncIterator[WebRtcServer]:
    webrtc_server = WebRtcServer(SETTINGS)
    webrtc_server.open()
    yield webrtc_server
    webrtc_server.close()
    assert not webrtc_server.connections
    assert not webrtc_server.port.by_ufrag
    assert not webrtc_server.port.by_address
    assert not webrtc_server.engine.peers


@pytest.fixture
def endpoint(webrtc_server: WebRtcServer) -> WebRtcEndpoint:
    return WebRtcEndpoint(webrtc_server)


async def until(done: Callable[[], object], *peers: RawPeer, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "nothing came of it in time"
        for peer in peers:
            peer.pump()
        await asyncio.sleep(0.005)


def track_of(source: MediaSource) -> Track:
    """The engine's track of a source that a publisher made."""
    assert isinstance(source, PublishedTrack)
    return source.track


async def published(
    endpoint: WebRtcEndpoint, identity: Identity | None = None, *, setup: str = "actpass", data: bool = False
) -> tuple[PublisherConnection, RawPeer, Ear]:
    ear, peer = Ear(), RawPeer(identity)
    publisher = endpoint.open_publisher("PA_a", ear)
    answer = negotiate(
        publisher,
        peer.offer(setup=setup, data=data),
        DECLARED,
    )
    peer.use(answer.sdp, role="server" if setup == "passive" else "client")
    peer.check()
    await until(lambda: peer.tx, peer)
    return publisher, peer, ear


async def test_media_goes_from_a_publisher_to_a_subscriber(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    publisher, sender, _ = await published(endpoint)
    sources = negotiate(publisher, sender.offer(), DECLARED).sources
    assert {mid: source.kind for mid, source in sources.items()} == {"0": "audio", "1": "video"}
    ear, receiver = Ear(), RawPeer()
    subscriber = endpoint.open_subscriber("PA_b", ear)
    subscriber.subscribe(TrackId("TR_mic"), sources["0"], SubscriptionSettings())
    subscriber.subscribe(TrackId("TR_cam"), sources["1"], SubscriptionSettings())
    await until(lambda: ear.offers)
    ((offer_id, offer, tracks),) = ear.offers
    assert sorted(tracks.values()) == ["TR_cam", "TR_mic"]
    subscriber.accept_answer(offer_id, receiver.answer(offer))
    receiver.use(offer, role="client")
    receiver.check()
    await until(lambda: receiver.tx, receiver)
    sequence = 0
    got: list[Rtp] = []
    while {packet.payload_type for packet in got} != {96, 111}:
        sequence += 1
        assert sequence < 500
        sender.send(
            rtp(b"opus", ssrc=1, sequence=sequence, timestamp=960 * sequence, payload_type=111, extensions={4: b"0"})
        )
        sender.send(rtp(vp8(key=True), ssrc=2, sequence=sequence, timestamp=3000 * sequence, extensions={4: b"1"}))
        await asyncio.sleep(0.01)
        got += [Rtp.parse(data) for data in receiver.media()]
    assert {packet.payload for packet in got if packet.payload_type == 111} == {b"opus"}
    report = subscriber.report()
    assert report is not None
    assert report.connected
    subscriber.unsubscribe(TrackId("TR_cam"))
    await until(lambda: len(ear.offers) == 2)
    assert "a=inactive" in ear.offers[1][1]
    subscriber.close()
    publisher.close()
    sender.close()
    receiver.close()


async def test_leaving_frees_memory_without_the_garbage_collector(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    publisher, sender, _ = await published(endpoint, data=True)
    camera = negotiate(publisher, sender.offer(data=True), DECLARED).sources["1"]
    ear, receiver = Ear(), RawPeer()
    subscriber = endpoint.open_subscriber("PA_b", ear)
    subscriber.subscribe(TrackId("TR_cam"), camera, SubscriptionSettings())
    await until(lambda: ear.offers)
    subscriber.accept_answer(ear.offers[0][0], receiver.answer(ear.offers[0][1]))
    receiver.use(ear.offers[0][1], role="client")
    receiver.check()
    await until(lambda: receiver.tx, receiver)
    sender.send(rtp(vp8(key=True), ssrc=2, sequence=1, timestamp=3000, extensions={4: b"1"}))
    encoding = track_of(camera).encodings[""]
    await until(lambda: encoding.received)
    here = [*webrtc_server.connections, publisher, subscriber, camera]
    left = [weakref.ref(one) for one in here]
    gc.collect()
    gc.disable()
    try:
        subscriber.close()
        publisher.close()
        del here, publisher, subscriber, camera
        await asyncio.sleep(0.1)  # the loop's own references to what it called last
        assert [one() for one in left] == [None] * len(left)
    finally:
        gc.enable()
    sender.close()
    receiver.close()


@pytest.mark.parametrize("setup", ["actpass", "active", "passive"])
async def test_the_handshake_in_both_roles(endpoint: WebRtcEndpoint, setup: str) -> None:
    publisher, peer, _ = await published(endpoint, setup=setup)
    report = publisher.report()
    assert report is not None
    assert report.connected
    publisher.close()
    peer.pump()
    await until(lambda: peer.dtls is not None and peer.dtls.state is DtlsState.CLOSED, peer)
    peer.close()


async def test_a_greeting_that_outruns_the_answer_is_kept(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, sender, _ = await published(endpoint)
    ear, receiver = Ear(), RawPeer()
    subscriber = endpoint.open_subscriber("PA_b", ear)
    subscriber.subscribe(
        TrackId("TR_mic"), negotiate(publisher, sender.offer(), DECLARED).sources["0"], SubscriptionSettings()
    )
    await until(lambda: ear.offers)
    ((offer_id, offer, _),) = ear.offers
    receiver.use(offer, role="client")
    assert receiver.dtls is not None
    monkeypatch.setattr(receiver.dtls.__class__, "handle_timeout", lambda _: pytest.fail("it was lost"))
    receiver.check()
    await until(lambda: receiver.dtls and receiver.dtls.state is DtlsState.HANDSHAKING, receiver)
    for _ in range(20):  # datagrams of strangers in the meantime are kept up to a limit
        receiver.sock.sendto(bytes((22, 254, 253)) + bytes(30), receiver.server)
    await asyncio.sleep(0.05)
    (connection,) = (each for each in webrtc_server.connections if each.state is State.CONNECTING)
    assert len(connection._early) == 4
    subscriber.accept_answer(offer_id, receiver.answer(offer))
    await until(lambda: receiver.tx, receiver)
    assert not connection._early
    for each in (publisher, subscriber):
        each.close()
    for raw in (sender, receiver):
        raw.close()


async def test_an_ice_restart_moves_the_media_to_a_new_address(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    publisher, peer, _ = await published(endpoint)
    before = next(iter(webrtc_server.port.by_address))
    peer.ufrag = "raw2"
    answer = negotiate(publisher, peer.offer(), DECLARED)
    old = peer.remote_ufrag
    peer.use(answer.sdp, role="client")
    assert peer.remote_ufrag != old
    moved = RawPeer(peer.identity)
    moved.remote_ufrag, moved.remote_pwd, moved.server, moved.dtls = (
        peer.remote_ufrag, peer.remote_pwd, peer.server, peer.dtls,
    )  # fmt: skip
    moved.check()
    await until(
        lambda: webrtc_server.connections and next(iter(webrtc_server.connections)).peer.address != before, moved
    )
    assert old not in webrtc_server.port.by_ufrag
    assert len(webrtc_server.connections) == 1
    publisher.close()
    peer.close()
    moved.close()


async def test_checks_that_repeat_themselves_are_consent_until_a_restart(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    publisher, peer, _ = await published(endpoint)
    connection = next(iter(webrtc_server.connections))
    for _ in range(3):
        before, peer.received = connection.ice.agent.last_check, []
        peer.check()
        await until(lambda: any(data[:2] == b"\x01\x01" for data in peer.received), peer)
        assert connection.ice.agent.last_check > before
        assert connection.ice.checked(connection.peer.address) == connection.ice.agent.last_check
    old = peer.remote_pwd
    peer.check(password="another")
    await until(lambda: webrtc_server.port.dropped["stun_not_authentic"] == 1, peer)
    peer.ufrag = "raw2"
    peer.use(negotiate(publisher, peer.offer(), DECLARED).sdp, role="client")
    peer.check()
    await until(lambda: connection.ice.agent.settled, peer)
    peer.check(password=old)
    await until(lambda: webrtc_server.port.dropped["stun_not_authentic"] == 2, peer)
    publisher.close()
    peer.close()


async def test_a_check_without_the_password_moves_nothing_and_is_not_answered(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    publisher, peer, _ = await published(endpoint)
    thief = RawPeer()
    thief.remote_ufrag, thief.remote_pwd, thief.server = peer.remote_ufrag, "wrong", peer.server
    thief.check()
    thief.sock.sendto(binding_request("nobody:raw1", "wrong"), peer.server)
    await until(
        lambda: webrtc_server.port.dropped["stun_not_authentic"] and webrtc_server.port.dropped["stun_unknown_user"]
    )
    with pytest.raises(BlockingIOError):
        thief.sock.recv(100)
    assert len(webrtc_server.port.by_address) == 1
    publisher.close()
    peer.close()
    thief.close()


@pytest.mark.parametrize(
    "datagram",
    [b"", b"\x00", bytes(11), bytes(20), b"\x16" * 60, b"\x80" * 60, b"\xff" * 60, b"\x00\x01\x00\x00" + bytes(16)],
    ids=["empty", "one byte", "short", "zeros", "dtls", "media", "unknown", "stun"],
)
async def test_strangers_datagrams_are_counted_and_dropped(webrtc_server: WebRtcServer, datagram: bytes) -> None:
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.setblocking(False)
    stranger.sendto(datagram, ("127.0.0.1", webrtc_server.port.port))
    await until(lambda: sum(webrtc_server.port.dropped.values()) == 1)
    with pytest.raises(BlockingIOError):
        stranger.recv(100)
    stranger.close()


async def test_a_client_hello_from_another_socket_does_not_disturb_the_handshake(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    ear, peer, stranger = Ear(), RawPeer(), RawPeer()
    publisher = endpoint.open_publisher("PA_a", ear)
    answer = negotiate(publisher, peer.offer(), DECLARED)
    for each in (peer, stranger):
        each.use(answer.sdp, role="client")
    assert stranger.dtls is not None
    stranger.dtls.start()
    stranger.pump()
    await until(lambda: webrtc_server.port.dropped["unknown_address"])
    peer.check()
    await until(lambda: peer.tx, peer)
    publisher.close()
    peer.close()
    stranger.close()


async def test_a_bad_tag_ten_thousand_times_does_not_end_the_call(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    publisher, peer, _ = await published(endpoint)
    packet = rtp(b"x" * 20, ssrc=1, sequence=1, timestamp=1, payload_type=111)
    for _ in range(100):
        for _ in range(100):
            peer.sock.sendto(packet, peer.server)
        await asyncio.sleep(0)
    await until(lambda: webrtc_server.port.dropped["srtp"] >= 9_000)
    peer.send(rtp(b"opus", ssrc=1, sequence=1, timestamp=1, payload_type=111, extensions={4: b"0"}))
    connection = next(iter(webrtc_server.connections))
    await until(lambda: connection.peer.packets_in == 1)
    publisher.close()
    peer.close()


async def test_a_half_open_handshake_ends_at_its_deadline(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    ear, peer = Ear(), RawPeer()
    publisher = endpoint.open_publisher("PA_a", ear)
    peer.use(negotiate(publisher, peer.offer(), DECLARED).sdp, role="client")
    peer.check()
    await until(lambda: ear.lost, seconds=3)
    assert webrtc_server.handshakes["failed"] == 1
    publisher.close()
    peer.close()


async def test_a_connection_that_is_never_checked_ends_too(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    ear, peer = Ear(), RawPeer()
    publisher = endpoint.open_publisher("PA_a", ear)
    negotiate(publisher, peer.offer(), DECLARED)
    await until(lambda: ear.lost, seconds=3)
    with pytest.raises(BadRequest, match="closed"):
        negotiate(publisher, peer.offer(), DECLARED)
    peer.close()


async def test_handshakes_of_one_address_are_capped(webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint) -> None:
    webrtc_server.settings = Settings(udp_port=0, half_open_per_address=2)
    opened = []
    for _ in range(4):
        peer = RawPeer()
        publisher = endpoint.open_publisher("PA_a", Ear())
        peer.use(negotiate(publisher, peer.offer(), DECLARED).sdp, role="client")
        peer.check()
        opened.append((publisher, peer))
    await until(lambda: webrtc_server.port.dropped["half_open_limit"] == 2)
    for publisher, peer in opened:
        publisher.close()
        peer.close()


async def test_another_certificate_needs_another_connection(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    publisher, peer, ear = await published(endpoint)
    before = negotiate(publisher, peer.offer(), DECLARED).sources
    again = RawPeer()
    with pytest.raises(BadRequest, match="certificate"):
        negotiate(publisher, again.offer(), DECLARED)
    assert negotiate(publisher, peer.offer(), DECLARED).sources == before
    renewed = endpoint.open_publisher("PA_a", Ear())
    again.use(negotiate(renewed, again.offer(), DECLARED).sdp, role="client")
    again.check()
    await until(lambda: again.tx, again)
    assert ear.lost == 0
    for thing in (publisher, renewed, peer, again):
        thing.close()


async def test_answers_that_do_not_fit_are_refused(endpoint: WebRtcEndpoint) -> None:
    publisher, peer, _ = await published(endpoint)
    sources = negotiate(publisher, peer.offer(), DECLARED).sources
    ear = Ear()
    subscriber = endpoint.open_subscriber("PA_b", ear)
    with pytest.raises(BadRequest, match="no open offer"):
        subscriber.accept_answer(1, "v=0")
    subscriber.subscribe(TrackId("TR_mic"), sources["0"], SubscriptionSettings())
    await until(lambda: ear.offers)
    with pytest.raises(BadRequest):
        subscriber.accept_answer(1, "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n")
    receiver = RawPeer()
    subscriber.accept_answer(1, receiver.answer(ear.offers[0][1]))
    subscriber.close()
    publisher.close()
    peer.close()
    receiver.close()


async def test_slots_are_recycled_and_changes_of_one_turn_make_one_offer(endpoint: WebRtcEndpoint) -> None:
    publisher, peer, _ = await published(endpoint)
    sources = negotiate(publisher, peer.offer(), DECLARED).sources
    ear, receiver = Ear(), RawPeer()
    subscriber = endpoint.open_subscriber("PA_b", ear)
    for number in range(5):
        for name in ("a", "b"):
            subscriber.subscribe(TrackId(f"TR_{name}{number}"), sources["1"], SubscriptionSettings())
        await until(lambda: len(ear.offers) > 0)
        offer_id, offer, tracks = ear.offers.pop()
        assert not ear.offers
        assert list(tracks) == ["00", "01"]
        subscriber.accept_answer(offer_id, receiver.answer(offer))
        for name in ("a", "b"):
            subscriber.unsubscribe(TrackId(f"TR_{name}{number}"))
    subscriber.close()
    publisher.close()
    peer.close()
    receiver.close()


async def test_waiting_alone_beyond_the_deadline_does_not_lose_media(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    ear = Ear()
    subscriber = endpoint.open_subscriber("PA_b", ear)
    await asyncio.sleep(SETTINGS.connect_timeout + 1.2)
    assert ear.lost == 0
    publisher, peer, _ = await published(endpoint)
    subscriber.subscribe(
        TrackId("TR_mic"), negotiate(publisher, peer.offer(), DECLARED).sources["0"], SubscriptionSettings()
    )
    await until(lambda: ear.offers)
    assert ear.lost == 0
    subscriber.close()
    publisher.close()
    peer.close()
