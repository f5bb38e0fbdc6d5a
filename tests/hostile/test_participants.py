"""Authenticated but hostile or broken participants, over real sockets against a running hub."""

import asyncio
import hashlib
import itertools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import crypto

from sfu.errors import AtCapacity, BadRequest
from sfu.forwarding.peer_transport import Address
from sfu.forwarding.stream_table import LIFETIME_LIMIT, SSRC_LIMIT
from sfu.ids import TrackId
from sfu.rooms.ports import MediaSource, SubscriptionSettings
from sfu.rtp import rtcp
from sfu.sdp.description import ANSWER_MEDIA_LIMIT
from sfu.signaling.messages import TrackSpec
from sfu.transport import ice_transport
from sfu.transport.dtls import Identity, _self_signed
from sfu.transport.endpoint import WebRtcEndpoint
from sfu.transport.publisher import PublisherConnection
from sfu.transport.subscriber import SubscriberConnection
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.peer import RawPeer, negotiate
from tests.support.wire import Rtp, rtp, vp8
from tests.transport.test_connection import DECLARED, Ear, endpoint, published, track_of, until, webrtc_server

__all__ = ["endpoint", "webrtc_server"]

TRACKS = [TrackSpec(mid="0", source="microphone"), TrackSpec(mid="1", source="camera")]


@pytest.fixture
async def loop_faults() -> list[dict[str, object]]:
    """Exceptions that reached the loop's exception handler."""
    faults: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    return faults


async def received(
    sources: Mapping[str, MediaSource], kind: str, endpoint: WebRtcEndpoint, ear: Ear | None = None
) -> tuple[SubscriberConnection, RawPeer, Ear]:
    """A connected subscriber of one track."""
    ear, receiver = ear or Ear(), RawPeer()
    subscriber = endpoint.open_subscriber("PA_b", ear)
    subscriber.subscribe(TrackId("TR_x"), sources[kind], SubscriptionSettings())
    await until(lambda: ear.offers)
    offer_id, offer, _ = ear.offers[-1]
    subscriber.accept_answer(offer_id, receiver.answer(offer))
    receiver.use(offer, role="client")
    receiver.check()
    await until(lambda: receiver.tx, receiver)
    return subscriber, receiver, ear


def close(*things: object) -> None:
    for thing in things:
        thing.close()  # type: ignore[attr-defined]  # all of them have close()


async def test_joining_during_a_mute_gets_sound_after_it(webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint) -> None:
    publisher, peer, _ = await published(endpoint)
    sources = negotiate(publisher, peer.offer(), DECLARED).sources
    peer.send(rtp(b"opus", ssrc=1, sequence=1, timestamp=960, payload_type=111, extensions={4: b"0"}))
    await until(lambda: track_of(sources["0"]).encodings[""].alive)
    await asyncio.sleep(0.1)
    sources["0"].set_muted(True)
    subscriber, receiver, _ = await received(sources, "0", endpoint)
    await asyncio.sleep(0.1)
    sources["0"].set_muted(False)
    got: list[Rtp] = []
    for sequence in range(2, 150):
        peer.send(
            rtp(b"opus", ssrc=1, sequence=sequence, timestamp=960 * sequence, payload_type=111, extensions={4: b"0"})
        )
        await asyncio.sleep(0.01)
        got += [Rtp.parse(data) for data in receiver.media()]
    close(subscriber, publisher, peer, receiver)
    assert got


async def test_an_odd_certificate_ends_one_handshake_and_nothing_else(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint, loop_faults: list[dict[str, object]]
) -> None:
    """A version that X.509 does not have: OpenSSL takes it, stricter parsers raise."""
    key = ec.generate_private_key(ec.SECP256R1())
    der = _self_signed(key).public_bytes(serialization.Encoding.DER)
    odd = der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020107"), 1)
    assert odd != der
    identity = Identity(key)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        identity.context.use_certificate(crypto.load_certificate(crypto.FILETYPE_ASN1, odd))
    identity.fingerprint = ":".join(f"{byte:02X}" for byte in hashlib.sha256(odd).digest())
    ear, peer = Ear(), RawPeer(identity)
    publisher = endpoint.open_publisher("PA_a", ear)
    peer.use(negotiate(publisher, peer.offer(), DECLARED).sdp, role="client")
    peer.check()
    await until(lambda: peer.tx or ear.lost or loop_faults, peer)
    close(publisher, peer)
    assert loop_faults == []


async def test_streams_are_capped_before_libsrtp_learns_of_them(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    publisher, peer, _ = await published(endpoint)
    for number in range(4 * SSRC_LIMIT):
        peer.send(rtp(vp8(), ssrc=1000 + number, sequence=1, timestamp=1, extensions={4: b"1"}))
        if number % 32 == 0:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.1)
    close(publisher, peer)
    assert webrtc_server.port.dropped["ssrc_limit"]


async def test_reports_under_ever_new_names_are_capped_too(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    """libsrtp keeps a context for every SSRC that ever sent SRTCP, and walks them all for each packet."""
    publisher, peer, _ = await published(endpoint)
    assert peer.tx is not None
    for number in range(LIFETIME_LIMIT + 100):
        report = rtcp.encode_receiver_report(rtcp.ReceiverReport(1000 + number, ()))
        peer.sock.sendto(peer.tx.session.protect_rtcp(report), peer.server)
        if number % 32 == 0:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.1)
    close(publisher, peer)
    assert webrtc_server.port.dropped["ssrc_limit"]


@pytest.mark.parametrize("size", [1450, 1900])
async def test_a_burst_of_large_packets_leaves_segmentation_on_and_raises_nothing(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint, loop_faults: list[dict[str, object]], size: int
) -> None:
    publisher, peer, _ = await published(endpoint)
    if not webrtc_server.port.sockets[0].segments:
        pytest.skip("no segmentation offload here")
    sources = negotiate(publisher, peer.offer(), DECLARED).sources
    subscriber, receiver, _ = await received(sources, "1", endpoint)
    peer.send(rtp(vp8(key=True), ssrc=2, sequence=1, timestamp=1, extensions={4: b"1"}))
    await until(lambda: track_of(sources["1"]).encodings[""].alive, peer)
    peer.send(rtp(vp8(key=True), ssrc=2, sequence=2, timestamp=1, extensions={4: b"1"}))
    await until(receiver.media, receiver)
    assert peer.tx is not None
    # straight to the engine what the socket would bring: pylibsrtp's own `protect` stops at 1,400 bytes
    engine, connection = webrtc_server.engine, next(c for c in webrtc_server.connections if c.peer.tracks)
    for sequence in range(3, 3 + 44):
        packet = bytearray(rtp(vp8(size=size), ssrc=2, sequence=sequence, timestamp=2, extensions={4: b"1"}))
        engine.receive(connection.peer, memoryview(packet), len(packet), 1.0)
    try:
        engine.flush(1.0)
    finally:
        close(subscriber, publisher, peer, receiver)
    assert webrtc_server.port.sockets[0].segments, "one participant disabled segmentation for all"


async def test_an_address_left_behind_can_be_used_by_another(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A NAT hands a port on: the one who had it is elsewhere, alive, and must not keep it."""
    monkeypatch.setattr(ice_transport, "TAKEN_FOR", 0.3)
    publisher, peer, _ = await published(endpoint)
    elsewhere = RawPeer(peer.identity)
    elsewhere.remote_ufrag, elsewhere.remote_pwd, elsewhere.server = peer.remote_ufrag, peer.remote_pwd, peer.server
    for _ in range(10):
        elsewhere.check()
        await asyncio.sleep(0.05)
    other = endpoint.open_publisher("PA_b", Ear())
    newcomer = RawPeer()
    newcomer.use(negotiate(other, newcomer.offer(), DECLARED).sdp, role="client")
    newcomer.sock.close()
    newcomer.sock = peer.sock
    newcomer.check()
    await asyncio.sleep(0.05)
    elsewhere.check()
    await until(lambda: newcomer.tx, newcomer)
    close(publisher, other, elsewhere, peer)


async def test_a_refused_offer_leaves_connection_and_tracks_as_they_were(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    publisher, peer, _ = await published(endpoint)
    before = webrtc_server.connections.copy()
    tracks = dict(next(iter(before)).peer.tracks)
    other = RawPeer()
    broken = (
        other.offer()
        .replace("a=group:BUNDLE 0 1\r\n", "")
        .replace("a=rtcp-mux\r\n", "")
        .replace("a=setup:actpass", "a=setup:holdconn")
    )
    with pytest.raises(BadRequest):
        negotiate(publisher, broken, DECLARED)
    assert webrtc_server.connections == before
    assert next(iter(before)).peer.tracks == tracks
    close(publisher, peer, other)


async def test_a_track_for_which_there_was_no_room_is_sent_when_there_is(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    publisher, peer, _ = await published(endpoint)
    sources = negotiate(publisher, peer.offer(), DECLARED).sources
    ear = Ear()
    subscriber = endpoint.open_subscriber("PA_b", ear)
    for number in range(ANSWER_MEDIA_LIMIT):
        subscriber.subscribe(TrackId(f"TR_{number}"), sources["1"], SubscriptionSettings())
    refused = TrackId("TR_more")
    with pytest.raises(AtCapacity):
        subscriber.subscribe(refused, sources["1"], SubscriptionSettings())
    subscriber.unsubscribe(TrackId("TR_0"))
    subscriber.subscribe(refused, sources["1"], SubscriptionSettings())
    await until(lambda: ear.offers)
    close(subscriber, publisher, peer)
    assert refused in ear.offers[0][2].values()


async def test_an_offer_answered_after_its_publisher_left_opens_nothing(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint, loop_faults: list[dict[str, object]]
) -> None:
    publisher, peer, _ = await published(endpoint)
    sources = negotiate(publisher, peer.offer(), DECLARED).sources
    track = track_of(sources["1"])
    ear, receiver = Ear(), RawPeer()
    subscriber = endpoint.open_subscriber("PA_b", ear)
    subscriber.subscribe(TrackId("TR_x"), sources["1"], SubscriptionSettings())
    await until(lambda: ear.offers)
    # the m-line is taken away by a renegotiation, the connection stays
    offer = peer.offer().replace("a=mid:1\r\na=sendonly", "a=mid:1\r\na=inactive")
    negotiate(publisher, offer, DECLARED)
    offer_id, sdp, _ = ear.offers[0]
    subscriber.accept_answer(offer_id, receiver.answer(sdp))
    assert track.down_tracks == []
    close(subscriber, publisher, peer, receiver)


async def test_changes_while_an_offer_is_open_and_answers_to_withdrawn_ones(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    publisher, peer, _ = await published(endpoint)
    sources = negotiate(publisher, peer.offer(), DECLARED).sources
    ear, receiver = Ear(), RawPeer()
    subscriber = endpoint.open_subscriber("PA_b", ear)
    subscriber.subscribe(TrackId("TR_x"), sources["1"], SubscriptionSettings())
    await until(lambda: ear.offers)
    subscriber.unsubscribe(TrackId("TR_x"))
    subscriber.subscribe(TrackId("TR_y"), sources["1"], SubscriptionSettings())
    subscriber.accept_answer(ear.offers[0][0], receiver.answer(ear.offers[0][1]))
    assert track_of(sources["1"]).down_tracks == []
    await until(lambda: len(ear.offers) == 2)
    subscriber.restart()
    with pytest.raises(BadRequest):
        subscriber.accept_answer(ear.offers[1][0], receiver.answer(ear.offers[1][1]))
    await until(lambda: len(ear.offers) == 3)
    with pytest.raises(BadRequest):
        subscriber.accept_answer(ear.offers[1][0], receiver.answer(ear.offers[1][1]))
    subscriber.accept_answer(ear.offers[2][0], receiver.answer(ear.offers[2][1]))
    assert len(track_of(sources["1"]).down_tracks) == 1
    close(subscriber, publisher, peer, receiver)


async def test_media_is_not_kept_on_an_address_that_only_once_claimed_to_want_it(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    """One check with another's source address must not buy a stream towards it: consent is a matter of that address."""
    webrtc_server.settings = replace(webrtc_server.settings, consent_timeout=0.6)
    publisher, peer, _ = await published(endpoint)
    connection = next(iter(webrtc_server.connections))
    victim = RawPeer(peer.identity)
    victim.remote_ufrag, victim.remote_pwd, victim.server = peer.remote_ufrag, peer.remote_pwd, peer.server
    victim.check()
    await until(lambda: connection.peer.address == victim.sock.getsockname())
    for _ in range(25):
        peer.check(nominate=False)
        await asyncio.sleep(0.1)
    moved = connection.peer.datagram_sink is None or connection.peer.address != victim.sock.getsockname()
    close(publisher, peer, victim)
    assert moved


async def test_m_lines_without_an_announcement_cost_no_history(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    """Only announced tracks are counted against the caps, so only they may hold packets."""
    publisher, peer = endpoint.open_publisher("PA_a", Ear()), RawPeer()
    negotiated = negotiate(publisher, peer.offer(), [TrackSpec(mid="0", source="microphone")])
    assert set(negotiated.sources) == {"0"}
    close(publisher, peer)


def twin(peer: RawPeer) -> RawPeer:
    """The same client at another address."""
    other = RawPeer(peer.identity)
    other.ufrag, other.remote_ufrag, other.remote_pwd, other.server = (
        peer.ufrag, peer.remote_ufrag, peer.remote_pwd, peer.server,
    )  # fmt: skip
    return other


async def watched_by(
    endpoint: WebRtcEndpoint,
) -> tuple[PublisherConnection, RawPeer, SubscriberConnection, RawPeer, Callable[[], None]]:
    """A camera and its viewer; the last returned value sends a picture."""
    publisher, peer, _ = await published(endpoint)
    sources = negotiate(publisher, peer.offer(), DECLARED).sources
    subscriber, receiver, _ = await received(sources, "1", endpoint)
    number = itertools.count(1)

    def show() -> None:
        sequence = next(number)
        payload = vp8(key=True, picture=sequence)
        peer.send(rtp(payload, ssrc=2, sequence=sequence, timestamp=3000 * sequence, extensions={4: b"1"}))

    return publisher, peer, subscriber, receiver, show


def address_of(subscriber: SubscriberConnection) -> Address | None:
    """Where its media is sent."""
    assert subscriber._connection is not None
    return subscriber._connection.peer.address


def count(peer: RawPeer) -> int:
    """Datagrams of media that came to this address."""
    peer.pump()
    found = sum(1 for data in peer.received if 127 < data[0] < 192 and not 191 < data[1] < 224)
    peer.received.clear()
    return found


async def test_one_forged_check_sends_no_media_to_a_stranger(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    publisher, peer, subscriber, receiver, show = await watched_by(endpoint)
    victim = twin(receiver)
    victim.dtls = receiver.dtls
    victim.check()
    own = stranger = 0
    for step in range(100):
        show()
        if not step % 20:
            receiver.check()
        await asyncio.sleep(0.02)
        own, stranger = own + count(receiver), stranger + count(victim)
    close(subscriber, publisher, peer, receiver, victim)
    assert stranger == 0
    assert own > 50


async def test_forged_checks_that_end_give_the_media_back(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    publisher, peer, subscriber, receiver, show = await watched_by(endpoint)
    victim = twin(receiver)
    victim.dtls = receiver.dtls
    for _ in range(12):
        victim.check()
        await asyncio.sleep(0.1)
    await until(lambda: address_of(subscriber) == victim.sock.getsockname())
    deadline = asyncio.get_running_loop().time() + 15
    while not count(receiver):
        assert asyncio.get_running_loop().time() < deadline, "the media is still sent to a stranger"
        receiver.check(nominate=False)
        show()
        await asyncio.sleep(0.1)
    close(subscriber, publisher, peer, receiver, victim)


@pytest.mark.parametrize("checks", [1, 20])
async def test_a_client_whose_address_changes_is_followed(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint, checks: int
) -> None:
    """One check from the new address, or several: the old one says nothing any more."""
    publisher, peer, subscriber, receiver, show = await watched_by(endpoint)
    receiver.check()
    await asyncio.sleep(0.05)
    moved = twin(receiver)
    moved.dtls = receiver.dtls
    began = asyncio.get_running_loop().time()
    left = checks
    while not count(moved):
        if left:
            left -= 1
            moved.check()
        show()
        await asyncio.sleep(0.05)
        assert asyncio.get_running_loop().time() < began + 10, "media never followed"
    assert address_of(subscriber) == moved.sock.getsockname()
    close(subscriber, publisher, peer, receiver, moved)
