"""The engine's end of a Unix socket: what another process is sent, what it sends, and what happens when it is slow."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal

import pytest

from sfu.forwarding.layers import Size
from sfu.forwarding.track import Track
from sfu.ids import PeerId, TrackId
from sfu.rooms.media_stats import QualityLimitation
from sfu.rooms.ports import MediaConsumer, MediaSource, SubscriptionSettings
from sfu.rtp import rtcp
from sfu.transport.plain_transport import PAYLOAD_TYPES, EncodingParameters, PlainTransport, pair
from sfu.transport.published_track import PublishedTrack
from sfu.transport.settings import Settings
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.wire import EXTENSIONS, Rtp, Wire, rtp, vp8

TRACK = TrackId("TR_1")


@dataclass
class Stand:
    """A server without a port, a publisher of three layers, and a plain transport with the process's end of its socket."""

    webrtc_server: WebRtcServer = field(default_factory=lambda: WebRtcServer(Settings()))
    now: float = 100.0

    def __post_init__(self) -> None:
        self.uplink = Wire(tag=0)
        self.publisher = self.webrtc_server.engine.open_plain_peer(PeerId(900), 77, self.uplink)
        track = self.webrtc_server.engine.add_track(
            self.publisher,
            mid="1",
            kind="video",
            codec="VP8",
            parameters="",
            clock_rate=90_000,
            payload_types={96: "VP8"},
            rtx={},
            extensions=EXTENSIONS,
            rids=("q", "h", "f"),
            ssrcs=(),
        )
        self.source = PublishedTrack(self.webrtc_server.engine, track, "PA_1")
        self.source.declared = {"q": Size(160, 90), "h": Size(320, 180), "f": Size(640, 360)}
        self.plain_transport = PlainTransport(self.webrtc_server, "egress")
        ours, self.far = pair()
        self.far.setblocking(False)
        self.plain_transport.attach(ours)

    def send(self, rid: str, sequence: int, *, key: bool = False, size: int = 100) -> None:
        ssrc = {"q": 11, "h": 12, "f": 13}[rid]
        packet = rtp(
            vp8(key=key, size=size), ssrc=ssrc, sequence=sequence, timestamp=3000 * sequence,
            extensions={4: b"1", 10: rid.encode()},
        )  # fmt: skip
        self.webrtc_server.engine.receive(self.publisher, memoryview(packet), len(packet), self.now)

    def start(self, *, sequence: int = 1) -> None:
        """All layers send, and have done so for a while."""
        for rid in "qhf":
            self.send(rid, sequence)
        self.webrtc_server.engine.flush(self.now)
        for encoding in self.source.track.encodings.values():
            encoding.alive, encoding.first_arrival = True, float("-inf")

    def received(self) -> list[bytes]:
        out: list[bytes] = []
        while True:
            try:
                message = self.far.recv(70_000)
            except BlockingIOError:
                return out
            size = struct.unpack_from("!H", message)[0]
            out += [message[at : at + size] for at in range(2, len(message), size)]

    def media(self) -> list[Rtp]:
        return [Rtp.parse(packet) for packet in self.received() if not 191 < packet[1] < 224]


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    stand = Stand()
    yield stand
    stand.plain_transport.close()
    stand.far.close()


async def test_a_subscription_is_plain_rtp_of_the_layer_that_fits(stand: Stand) -> None:
    stand.start()
    stand.plain_transport.subscribe(TRACK, stand.source, SubscriptionSettings(width=320, height=180))
    stand.send("h", 2, key=True)
    stand.send("h", 3)
    stand.send("f", 2, key=True)
    stand.webrtc_server.engine.flush(stand.now)
    media = stand.media()
    assert [packet.ssrc for packet in media] == [stand.plain_transport.ssrc(TRACK)] * 2
    assert {packet.payload_type for packet in media} == {PAYLOAD_TYPES["VP8"]}
    assert [packet.sequence for packet in media] == [1, 2]


async def test_settings_select_the_layer_and_pause(stand: Stand) -> None:
    stand.start()
    stand.plain_transport.subscribe(TRACK, stand.source, SubscriptionSettings(height=90))
    stand.plain_transport.subscribe(TRACK, stand.source, SubscriptionSettings(height=360))
    stand.send("q", 2, key=True)
    stand.send("f", 2, key=True, size=300)
    stand.webrtc_server.engine.flush(stand.now)
    assert [len(packet.payload) for packet in stand.media()] == [316]
    stand.plain_transport.update(TRACK, SubscriptionSettings(paused=True))
    stand.send("f", 3, key=True)
    stand.webrtc_server.engine.flush(stand.now)
    assert stand.media() == []


async def test_equal_datagrams_are_one_message(stand: Stand) -> None:
    stand.start()
    stand.plain_transport.subscribe(TRACK, stand.source, SubscriptionSettings())
    stand.send("f", 2, key=True)
    stand.webrtc_server.engine.flush(stand.now)
    stand.received()
    for sequence in range(3, 8):
        stand.send("f", sequence)
    stand.webrtc_server.engine.flush(stand.now)
    message = stand.far.recv(70_000)
    size = struct.unpack_from("!H", message)[0]
    assert (len(message) - 2) / size == 5
    assert stand.received() == []


async def test_keyframes_are_asked_for_once_in_a_while(stand: Stand) -> None:
    stand.start()
    stand.plain_transport.subscribe(TRACK, stand.source, SubscriptionSettings())
    stand.uplink.take()
    stand.webrtc_server.engine._rtcp_handler._publishing[stand.publisher.id].tracks["1"].keyframes.last = float("-inf")
    request = rtcp.encode_pli(1, stand.plain_transport.ssrc(TRACK))
    for _ in range(5):
        stand.far.send(struct.pack("!H", len(request)) + request)
    await asyncio.sleep(0.05)
    assert len(stand.uplink.rtcp()) == 1


async def test_a_slow_process_loses_datagrams_and_delays_no_other(stand: Stand) -> None:
    stand.start()
    stand.plain_transport.subscribe(TRACK, stand.source, SubscriptionSettings())
    for sequence in range(2, 4000):
        stand.send("f", sequence, key=sequence == 2, size=1000)
        stand.webrtc_server.engine.flush(stand.now)
    assert stand.plain_transport.dropped > 0
    kept = len(stand.received())
    assert kept + stand.plain_transport.dropped == 3998
    assert stand.webrtc_server.engine.dropped["send_buffer"] == stand.plain_transport.dropped


async def test_a_process_that_is_gone_is_nobodys_trouble_and_its_successor_goes_on(stand: Stand) -> None:
    stand.start()
    stand.plain_transport.subscribe(TRACK, stand.source, SubscriptionSettings())
    ssrc = stand.plain_transport.ssrc(TRACK)
    stand.send("f", 2, key=True)
    stand.webrtc_server.engine.flush(stand.now)
    stand.far.close()
    await asyncio.sleep(0.02)
    stand.send("f", 3)
    stand.webrtc_server.engine.flush(stand.now)
    ours, stand.far = pair()
    stand.far.setblocking(False)
    stand.plain_transport.attach(ours)
    stand.send("f", 4)
    stand.webrtc_server.engine.flush(stand.now)
    (packet,) = stand.media()
    assert (packet.ssrc, packet.sequence) == (ssrc, 3)


async def test_packets_of_the_process_are_a_publication(stand: Stand) -> None:
    source = stand.plain_transport.publish("video", "H264", [EncodingParameters(4711, size=Size(1280, 720))])
    wire = Wire(tag=0)
    viewer = stand.webrtc_server.engine.open_plain_peer(PeerId(901), 78, wire)
    down_track = stand.webrtc_server.engine.add_down_track(
        source.track, viewer, mid="00", ssrc=5, rtx_ssrc=0, payload_type=102, red_payload_type=None,
        rtx_payload_type=None, first_sequence=1, cname="x",
    )  # fmt: skip
    stand.webrtc_server.engine.set_target(down_track, source.track.encodings[""], stand.now)
    (asked,) = (packet for packet in stand.received() if 191 < packet[1] < 224)
    assert rtcp.parse(asked) == [rtcp.PictureLossIndication(stand.plain_transport.peer.rtcp_ssrc, 4711)]
    idr = b"\x65\x88" + bytes(50)
    packet = rtp(idr, ssrc=4711, sequence=1, timestamp=0, payload_type=102, marker=True)
    stand.far.send(struct.pack("!H", len(packet)) + packet)
    await asyncio.sleep(0.02)
    assert [each.payload for each in wire.media()] == [idr]
    stand.plain_transport.unpublish(source)
    assert source.track.closed


@pytest.mark.parametrize(
    "message",
    [b"", b"\0", b"\0\0\0", b"\xff\xff" + bytes(100), b"\0\x0c" + bytes(12), b"\0\x20" + b"\x90" + bytes(31)],
)
async def test_malformed_messages_are_counted_and_dropped(stand: Stand, message: bytes) -> None:
    if message:
        stand.far.send(message)
    await asyncio.sleep(0.02)
    dropped = stand.webrtc_server.port.dropped["plain_malformed"] + stand.plain_transport.peer.counters.unrouted
    assert dropped == bool(message)
    good = rtcp.encode_pli(1, 2)
    assert stand.far.send(struct.pack("!H", len(good)) + good)


async def test_closing_leaves_nothing_behind(stand: Stand) -> None:
    stand.start()
    stand.plain_transport.subscribe(TRACK, stand.source, SubscriptionSettings())
    stand.plain_transport.publish("audio", "opus", [EncodingParameters(5)])
    stand.plain_transport.close()
    stand.plain_transport.close()
    assert stand.source.consumers == {}
    assert stand.plain_transport.peer.id not in stand.webrtc_server.engine.peers
    assert all(total >= 0 for total in stand.plain_transport.peer.totals().values())
    with pytest.raises(OSError, match="Broken pipe"):
        stand.far.send(b"x", socket.MSG_NOSIGNAL)


class IngestSource:
    """A MediaSource that no browser publishes, as an ingest or a relay from another node would implement it."""

    kind: Literal["audio", "video"] = "video"
    stream, screen = "ingest", False
    limitation: QualityLimitation = "none"

    def __init__(self, track: Track) -> None:
        self.track, self.codec = track, track.codec
        self.declared = {"": Size(640, 360)}
        self.consumers: list[MediaConsumer] = []

    def max_height(self, sent: int) -> int:
        return sent

    def add_consumer(self, name: TrackId, consumer: MediaConsumer) -> None:
        self.consumers.append(consumer)

    def remove_consumer(self, name: TrackId, consumer: MediaConsumer) -> None:
        self.consumers.remove(consumer)

    def touch(self) -> None: ...

    def set_muted(self, muted: bool) -> None: ...

    def take_level(self) -> int | None:
        return self.track.take_level()


async def test_any_media_source_is_forwarded(stand: Stand) -> None:
    engine = stand.webrtc_server.engine
    encoder = engine.open_plain_peer(PeerId(901), 78, Wire(tag=0))
    source: MediaSource = IngestSource(
        engine.add_track(
            encoder, mid="0", kind="video", codec="VP8", parameters="", clock_rate=90_000, payload_types={96: "VP8"},
            rtx={}, extensions={}, rids=(), ssrcs=((5, None),),
        )
    )  # fmt: skip
    for sequence in (1, 2):
        packet = rtp(vp8(key=True, size=100), ssrc=5, sequence=sequence, timestamp=3000)
        engine.receive(encoder, memoryview(packet), len(packet), stand.now)
        engine.flush(stand.now)
        source.track.encodings[""].alive = True
        stand.plain_transport.subscribe(TRACK, source, SubscriptionSettings())
    (media,) = stand.media()
    assert media.ssrc == stand.plain_transport.ssrc(TRACK)
    stand.plain_transport.unsubscribe(TRACK)


@pytest.mark.parametrize("rids", [(), ("q", "q"), ("", "f")])
async def test_encodings_of_one_track_need_different_rids(stand: Stand, rids: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="different rids"):
        stand.plain_transport.publish("video", "H264", [EncodingParameters(7 + n, rid) for n, rid in enumerate(rids)])
    assert not stand.plain_transport.peer.tracks
