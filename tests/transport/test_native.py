"""The packet path in C against the one in Python: the same packets in, the same datagrams and the same state out."""

import asyncio
import itertools
import random
import socket
import struct
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from sfu.forwarding import fanout
from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.engine import Engine
from sfu.forwarding.layer_filter import filtered
from sfu.forwarding.layers import ALL_LAYERS
from sfu.forwarding.offsets import Offsets
from sfu.forwarding.packet import CodecPatch, Packet
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.peer_transport import Address, DatagramSink
from sfu.forwarding.stream import Stream
from sfu.forwarding.track import Track
from sfu.ids import PeerId
from sfu.sdp import capabilities as caps
from sfu.transport.native import load
from sfu.transport.settings import Settings
from sfu.transport.srtp import PROFILES, SrtpEncryptor, SrtpSession
from sfu.transport.tcp_connection import TcpConnection
from sfu.transport.tcp_port import TcpPort
from sfu.transport.udp import UdpPort
from sfu.transport.udp_socket import UdpSocket
from tests.forwarding.test_layer_filter import Encoder
from tests.support.wire import Wire, engine_track

native = load()
pytestmark = pytest.mark.skipif(native is None, reason="the native part was not built")

PROFILE = PROFILES[0]
EXTENSIONS = {
    caps.URI_MID: 4, caps.URI_RID: 10, caps.URI_REPAIRED_RID: 11, caps.URI_TRANSPORT_CC: 3, caps.URI_AUDIO_LEVEL: 1,
    caps.URI_ABS_SEND_TIME: 2, caps.URI_DEPENDENCY_DESCRIPTOR: 8, caps.URI_VIDEO_ORIENTATION: 13,
}  # fmt: skip
VIDEO, REPAIR, AUDIO = 11, 12, 21


class Subscriber(NamedTuple):
    """Parameters of a subscriber that made the offer; None: ids of our offer."""

    extensions: dict[str, int] | None = None
    mid: str = "00"
    allow_mixed: bool = True
    nack_without_rtx: bool = False


USUAL = Subscriber()
OTHERS = (
    Subscriber(EXTENSIONS, "0"),
    Subscriber(EXTENSIONS, "a-mid-with-16-by", nack_without_rtx=True),
    Subscriber({**EXTENSIONS, caps.URI_DEPENDENCY_DESCRIPTOR: 17}, "video0"),
    Subscriber({uri: number + 200 for uri, number in EXTENSIONS.items()}, "a-mid-with-16-by"),
    Subscriber({caps.URI_MID: 9, caps.URI_VIDEO_ORIENTATION: 3}, "01"),
    Subscriber({caps.URI_TRANSPORT_CC: 5, caps.URI_DEPENDENCY_DESCRIPTOR: 7}, "1", allow_mixed=False),
    Subscriber({caps.URI_TRANSPORT_CC: 5, caps.URI_ABS_SEND_TIME: 7}, "1", allow_mixed=False),
    Subscriber({}, "mid"),
    Subscriber(None, "00", nack_without_rtx=True),
)
"""The forms of RFC 8285, subsets of our extensions, mids of several lengths."""
NOT_COMPARED = {"track", "origin", "down_tracks", "batch", "layer_filter", "nack_generator"}


class World:
    """An engine with a publisher and subscribers behind one real socket."""

    def __init__(
        self,
        *,
        with_native: bool,
        segments: bool = True,
        subscribers: int = 3,
        codec: str = "VP8",
        kinds: Sequence[Subscriber] = (USUAL,),
        tcp: bool = False,
    ) -> None:
        """`kinds`: of the subscribers, in turn. `tcp`: each has an ICE-TCP connection."""
        self.with_native = with_native
        self.kinds = kinds
        self.engine = Engine(SrtpEncryptor(), segments=True)
        if with_native:
            assert native is not None
            self.engine.set_fan_out(native.fan_out)
        self.loop = asyncio.new_event_loop() if tcp else None
        self.outs: list[UdpSocket | TcpConnection] = [UdpSocket(bound(), segments=segments)]
        self.sinks = [bound()]
        self.sinks[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.uplink = Wire()
        self.keep: list[SrtpSession] = []
        self.publisher = self.engine.open_peer(PeerId(1), 1)
        self.key = bytes(range(PROFILE.key + PROFILE.salt))
        self.keyed(self.publisher, self.uplink, ("127.0.0.1", 9))
        self.video = self.track("1", "video", codec, {96: codec}, {97: 96}, (VIDEO, REPAIR))
        self.audio = self.track("0", "audio", "opus", {111: "opus", 63: "red"}, {}, (AUDIO, None))
        self.down_tracks: list[DownTrack] = []
        for number in range(subscribers):
            peer = self.engine.open_peer(PeerId(number + 2), number + 2)
            self.keyed(peer, *self.receiver())
            self.down_track(peer, self.video, number)
            self.down_track(peer, self.audio, number + 100)
        self.now = 50.0
        self.buffer = bytearray(2048)

    @property
    def out(self) -> UdpSocket | TcpConnection:
        """Socket of the last subscriber."""
        return self.outs[-1]

    @property
    def sink(self) -> socket.socket:
        return self.sinks[-1]

    def receiver(self) -> tuple[DatagramSink, Address]:
        """Of another subscriber."""
        if self.loop is None:
            return self.out, self.sink.getsockname()
        port = TcpPort(Settings(), UdpPort(Settings(native=False), self.engine), self.engine)
        ours, theirs = connected()
        self.sinks.append(theirs)
        self.outs.append(TcpConnection(ours, (*ours.getpeername(), "tcp"), port, self.loop))
        return self.outs[-1], ("127.0.0.1", 9, "tcp")

    def keyed(self, peer: EnginePeer, datagram_sink: DatagramSink, address: Address) -> None:
        contexts = [SrtpSession(PROFILE, self.key, outbound=outbound) for outbound in (False, True)]
        self.keep += contexts
        self.engine.set_srtp_sessions(peer, contexts[0].handle, contexts[1].handle, PROFILE.tag)
        self.engine.set_peer_address(peer, datagram_sink, address)

    def track(
        self,
        mid: str,
        kind: Literal["audio", "video"],
        codec: str,
        payload_types: dict[int, str],
        rtx: dict[int, int],
        ssrcs: tuple[int, int | None],
    ) -> Track:
        return self.engine.add_track(
            self.publisher, mid=mid, kind=kind, codec=codec, parameters="", payload_types=payload_types, rtx=rtx,
            clock_rate=90_000 if kind == "video" else 48_000, extensions=EXTENSIONS, rids=(), ssrcs=(ssrcs,),
        )  # fmt: skip

    def down_track(self, peer: EnginePeer, track: Track, number: int) -> DownTrack:
        kind = self.kinds[number % 100 % len(self.kinds)]
        down_track = self.engine.add_down_track(
            track, peer, mid=kind.mid, ssrc=7000 + number, rtx_ssrc=8000 + number, payload_type=100,
            red_payload_type=63 if number % 2 else None, rtx_payload_type=None if kind.nack_without_rtx else 101,
            first_sequence=500, cname="x", extensions=kind.extensions, allow_mixed=kind.allow_mixed,
            nack_without_rtx=kind.nack_without_rtx,
        )  # fmt: skip
        self.down_tracks.append(down_track)
        self.engine.set_target(down_track, track.encodings[""], 0.0)
        return down_track

    def send(self, packets: list[bytes]) -> None:
        take = native.take if native is not None and self.with_native else None
        for packet in packets:
            self.buffer[: len(packet)] = packet
            view, n = memoryview(self.buffer), len(packet)
            ssrc = int.from_bytes(packet[8:12], "big")
            if not (
                take is not None and ssrc and take(self.publisher, view, n, self.now, self.engine.pending_encodings)
            ):
                self.engine.receive(self.publisher, view, n, self.now)
        self.engine.flush(self.now)
        self.now += 0.01

    def sent(self) -> list[bytes]:
        return [*queued(self.sinks[0]), *(frame for sink in self.sinks[1:] for frame in framed(sink))]

    def state(self) -> dict[str, object]:
        out: dict[str, object] = {"dropped": dict(self.engine.dropped)}
        for track in (self.video, self.audio):
            encoding = track.encodings[""]
            for name in (*Stream.__slots__, *Encoding.__slots__):
                value = getattr(encoding, name)
                if name not in NOT_COMPARED:
                    out[f"{track.kind}.{name}"] = value
            out[f"{track.kind}.level"] = track.level
            if encoding.nack_generator is not None:
                out[f"{track.kind}.nack_generator"] = sorted(encoding.nack_generator.missing)
        peer = self.publisher
        out["peer"] = [peer.packets_in, peer.bytes_in, peer.last_arrival, peer.counters.unrouted, sorted(peer.streams)]
        assert peer.twcc is not None
        out["twcc"] = list(peer.twcc._pending)
        out["down_tracks"] = [
            (
                down_track.packets,
                down_track.octets,
                down_track.offsets,
                down_track.peer.twcc_number,
                down_track.datagrams,
            )
            for down_track in self.down_tracks
        ]
        return out

    def close(self) -> None:
        for each in (*self.outs, *self.sinks):
            each.close()
        if self.loop is not None:
            self.loop.close()


def connected() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    theirs.setblocking(False)
    return ours, theirs


def framed(sock: socket.socket) -> Iterator[bytes]:
    """The frames (RFC 4571) that have arrived. The last one is whole."""
    data = b"".join(queued(sock))
    at = 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        assert end <= len(data)
        yield data[at + 2 : end]
        at = end


def bound(family: int = socket.AF_INET) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
    sock.setblocking(False)
    return sock


def queued(sock: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            yield sock.recv(4096)
        except BlockingIOError:
            return


@pytest.fixture
def worlds() -> Iterator[Callable[..., tuple[World, World]]]:
    made: list[World] = []

    def make(
        *,
        segments: bool = True,
        subscribers: int = 3,
        codec: str = "VP8",
        kinds: Sequence[Subscriber] = (USUAL,),
        tcp: bool = False,
    ) -> tuple[World, World]:
        for with_native in (False, True):
            world = World(
                with_native=with_native, segments=segments, subscribers=subscribers, codec=codec, kinds=kinds, tcp=tcp
            )
            made.append(world)
        return made[-2], made[-1]

    yield make
    for world in made:
        world.close()


class Traffic:
    """Packets of a publisher: mostly what libwebrtc sends, and everything else that a peer can think of."""

    def __init__(self, seed: int, strangeness: float) -> None:
        self.random = random.Random(seed)
        self.strangeness = strangeness
        self.wide = 0.0
        """Fraction of packets in two-byte form, with a dependency descriptor that has a template structure."""
        self.sequences = {VIDEO: 65_500, AUDIO: 300, REPAIR: 9}
        self.timestamps = {VIDEO: 4_294_960_000, AUDIO: 48_000, REPAIR: 0}
        self.transport_wide = 65_530
        self.picture = 32_760

    def strange(self) -> bool:
        return self.random.random() < self.strangeness

    def packet(self) -> bytes:
        choose = self.random
        ssrc = choose.choice((VIDEO, VIDEO, VIDEO, AUDIO))
        if self.strange():
            ssrc = choose.choice((REPAIR, 999))
        video = ssrc != AUDIO
        step = 1 if not self.strange() else choose.choice((0, 2, 5, -3, 700))
        sequence = self.sequences.get(ssrc, 0) + step
        if step > 0:
            self.sequences[ssrc] = sequence
        if choose.random() < 0.5:
            self.timestamps[ssrc] = self.timestamps.get(ssrc, 0) + (
                3000 if not self.strange() else choose.getrandbits(32)
            )
        self.transport_wide += 1 if not self.strange() else choose.randrange(-3, 4)
        payload_type = 97 if ssrc == REPAIR else 96 if video else choose.choice((111, 111, 63))
        if self.strange():
            payload_type = choose.randrange(128)
        first = 0x90
        if self.strange():
            first = choose.choice((0x80, 0xB0, 0x92, 0x10, 0xD0))
        head = struct.pack(
            "!BBHII", first, payload_type | choose.choice((0, 128)), sequence & 0xFFFF,
            self.timestamps.get(ssrc, 0) & 0xFFFFFFFF, ssrc,
        )  # fmt: skip
        return head + (self.extensions(video) if first & 0x10 else b"") + self.payload(ssrc, video)

    def extensions(self, video: bool) -> bytes:
        choose = self.random
        elements = [(3, struct.pack("!H", self.transport_wide & 0xFFFF)), (2, b"\1\2\3")]
        if not video:
            elements.append((1, bytes((choose.randrange(256),))))
        if choose.random() < 0.2:
            elements += [(4, b"1"), (13, b"\1")]
        if choose.random() < 0.3:
            elements.append((8, choose.randbytes(choose.randrange(1, 17))))
        while self.strange():
            elements.append((choose.randrange(15), choose.randbytes(choose.randrange(1, 17))))
        choose.shuffle(elements)
        if self.wide and choose.random() < self.wide:
            elements.append((8, choose.randbytes(choose.randrange(17, 80))))
            block = b"".join(bytes((number, len(value))) + value for number, value in elements)
            block += bytes(-len(block) % 4)
            return struct.pack("!HH", 0x1000, len(block) // 4) + block
        block = b""
        for number, value in elements:
            block += bytes((number << 4 | len(value) - 1,)) + value + bytes(choose.choice((0, 0, 1)))
        profile = 0xBEDE
        if self.strange():
            profile = choose.choice((0x1000, 0xBEDE, 0x1234))
            block = choose.randbytes(choose.randrange(40))
        block += bytes(-len(block) % 4)
        words = len(block) // 4 + (choose.randrange(-2, 3) if self.strange() else 0)
        return struct.pack("!HH", profile, max(0, words)) + block

    def payload(self, ssrc: int, video: bool) -> bytes:
        choose = self.random
        if self.strange():
            return choose.randbytes(choose.randrange(30))
        if not video:
            return choose.randbytes(choose.choice((40, 80, 81)))
        self.picture += 1
        begin, key = choose.random() < 0.3, self.strange()
        head = struct.pack(
            "!BBHBB", 0x90 if begin else 0x80, 0xE0 | choose.choice((0, 0x10)), 0x8000 | self.picture & 0x7FFF,
            self.picture & 0xFF, choose.randrange(256),
        )  # fmt: skip
        frame = b"\x10\2\0\x9d\1\x2a\x80\2\x68\1" if key else b"\x11\2\0"
        body = head + (frame if begin else b"") + bytes(choose.choice((1000, 1000, 1000, 996, 500)))
        return (b"\0\7" if ssrc == REPAIR else b"") + body


KEYS = {"VP9": b"\x88\x80\1", "H264": b"\x65\x88", "AV1": b"\x18"}


def key_frame(sequence: int, codec: str = "VP8") -> bytes:
    head = struct.pack("!BBHII", 0x90, 96, sequence, 5, VIDEO) + b"\xbe\xde\0\1\x31\0\1\0"
    if codec != "VP8":
        return head + KEYS[codec] + bytes(100)
    return head + b"\x90\xe0\x80\1\1\x20\x10\2\0\x9d\1\x2a\x80\2\x68\1" + bytes(100)


@pytest.mark.parametrize("segments", [True, False])
@pytest.mark.parametrize("strangeness", [0.0, 0.02, 0.2])
@pytest.mark.parametrize("seed", range(6))
def test_both_do_the_same(
    worlds: Callable[..., tuple[World, World]], seed: int, strangeness: float, segments: bool
) -> None:
    traffic = Traffic(seed, strangeness)
    ours, theirs = worlds(segments=segments)
    audio = struct.pack("!BBHII", 0x80, 111, 300, 0, AUDIO) + b"sound"
    batches = [[key_frame(65_499), audio], [key_frame(65_500)]]
    batches += [[traffic.packet() for _ in range(traffic.random.choice((1, 1, 3, 8, 40)))] for _ in range(60)]
    total = 0
    for number, batch in enumerate(batches):
        change = traffic.random.random()
        for world in (ours, theirs):
            if number > 1 and change < 0.2:
                for down_track in world.down_tracks[::2]:  # as after a switch of layers
                    down_track.offsets = Offsets(
                        number * 999 & 0xFFFF, number << 20, number, number * 3, number * 7, True
                    )
            elif number > 1 and change < 0.25:
                world.engine.mute(world.audio, not world.audio.muted, world.now)
            world.send(batch)
        sent = ours.sent()
        total += len(sent)
        assert theirs.sent() == sent
        assert theirs.state() == ours.state()
    assert total > 50


@pytest.mark.parametrize("out", [{"segments": True}, {"segments": False}, {"tcp": True}], ids=["GSO", "UDP", "TCP"])
@pytest.mark.parametrize("kinds", [(USUAL, *OTHERS), *((other,) for other in OTHERS)])
def test_subscribers_with_their_own_extensions_get_the_same_from_both(
    worlds: Callable[..., tuple[World, World]], kinds: Sequence[Subscriber], out: dict[str, bool]
) -> None:
    traffic = Traffic(len(kinds), 0.03)
    traffic.wide = 0.1
    ours, theirs = worlds(**out, kinds=kinds, subscribers=len(kinds))
    total = 0
    for number in range(60):
        batch = [traffic.packet() for _ in range(traffic.random.choice((1, 3, 8, 40)))]
        for world in (ours, theirs):
            if number % 7 == 6:
                for down_track in world.down_tracks:
                    down_track.offsets = Offsets(number * 999 & 0xFFFF, 5, number, number * 3, number * 7, True)
            world.send(batch if number > 1 else [key_frame(65_498 + number)])
        sent = ours.sent()
        total += len(sent)
        assert theirs.sent() == sent
        assert theirs.state() == ours.state()
    assert total > 200


def test_sizes_that_differ_after_translation_fill_many_messages(worlds: Callable[..., tuple[World, World]]) -> None:
    """More messages than one system call takes: every other packet has an extension that the subscriber does not get."""
    ours, theirs = worlds(kinds=[Subscriber({caps.URI_MID: 1}, "0")], subscribers=4)
    for batch in range(4):
        packets = [key_frame(1)]
        if batch:
            packets = [
                struct.pack("!BBHII", 0x90, 96, batch * 40 + number - 38, 9, VIDEO)
                + (b"\xbe\xde\0\2\x31\0\1\xd0\1\0\0\0" if number % 2 else b"\xbe\xde\0\1\x31\0\1\0")
                + b"\x80\xe0\x80\2\1\x20\x11\2\0"
                + bytes(100 + number // 8)
                for number in range(40)
            ]
        for world in (ours, theirs):
            world.send(packets)
        sent = ours.sent()
        assert theirs.sent() == sent
        assert len(sent) == 4 * len(packets)
        assert theirs.state() == ours.state()


@pytest.mark.parametrize("codec", ["VP9", "H264", "AV1"])
@pytest.mark.parametrize("strangeness", [0.0, 0.05])
def test_other_codecs_are_described_in_python(
    worlds: Callable[..., tuple[World, World]], codec: str, strangeness: float
) -> None:
    traffic = Traffic(1, strangeness)
    ours, theirs = worlds(codec=codec)
    for number in range(80):
        batch = [traffic.packet() for _ in range(6)] if number > 2 else [key_frame(65_498 + number, codec)]
        for world in (ours, theirs):
            for down_track in world.down_tracks[: number % 2]:
                down_track.offsets = down_track.offsets._replace(picture=number, tl0picidx=1, frame=9, rewrites=True)
            world.send(batch)
        assert theirs.sent() == ours.sent()
        assert theirs.state() == ours.state()
    assert ours.down_tracks[0].track is ours.video
    assert ours.down_tracks[0].packets > 20


def test_a_keyframe_of_an_unknown_payload_type_changes_no_size(worlds: Callable[..., tuple[World, World]]) -> None:
    sps = bytes.fromhex("6764000dacd941419fa6a2020203c0000003004000000f23c50a6580")  # 320 × 180
    for world in worlds(codec="H264"):
        encoding = world.video.encodings[""]
        world.send([key_frame(65_499, "H264")])
        packet = bytearray(key_frame(65_500, "H264")[:20] + sps)
        packet[1] = 99
        world.send([bytes(packet)])
        assert (encoding.width, encoding.height) == (0, 0)
        assert world.publisher.counters.unrouted == 1
        packet[1] = 96
        world.send([bytes(packet)])
        assert encoding.width == 320


def test_layers_that_are_left_out_are_left_out_by_both(worlds: Callable[..., tuple[World, World]]) -> None:
    """With all subscribers on filtered streams the encoding itself has no down track, and is still read."""
    chance = random.Random(4)
    ours, theirs = worlds()
    encoder = Encoder(packets=3)
    for step in range(120):
        batch = encoder.picture(step * 3000)
        if chance.random() < 0.1:
            batch = batch[1:] + batch[:1]
        chosen = chance.choice((0, 1, ALL_LAYERS)), chance.randrange(3)
        for world in (ours, theirs):
            if step > 3 and step % 5 == 0:
                down_track = [down_track for down_track in world.down_tracks if down_track.track is world.video][
                    chosen[1]
                ]
                world.engine.set_target(
                    down_track, filtered(world.video.encodings[""], ALL_LAYERS, chosen[0]), world.now
                )
            elif step == 60:
                for down_track in world.down_tracks:
                    stream = filtered(engine_track(down_track).encodings[""], ALL_LAYERS, 0)
                    world.engine.set_target(down_track, stream, world.now)
            world.send(batch)
        assert theirs.sent() == ours.sent()
        assert theirs.state() == ours.state()
    assert ours.video.encodings[""].layer_filter is not None


def test_every_kind_of_receiver_in_one_batch(worlds: Callable[..., tuple[World, World]]) -> None:
    """Sealed and plain, sockets and others, addresses of both families and addresses that are none."""
    results = []
    for world in worlds(subscribers=2):
        six = bound(socket.AF_INET6)
        six_out = UdpSocket(bound(socket.AF_INET6), segments=True)
        wire, plain, closed = Wire(), Wire(tag=0), UdpSocket(bound(), segments=True)
        closed.close()
        receivers: list[tuple[DatagramSink, Address]] = [
            (six_out, six.getsockname()), (wire, ("x", 1)), (world.out, ("no address", 5)), (closed, ("127.0.0.1", 9)),
        ]  # fmt: skip
        for number, (datagram_sink, address) in enumerate(receivers):
            peer = world.engine.open_peer(PeerId(10 + number), 10)
            world.keyed(peer, datagram_sink, address)
            world.down_track(peer, world.video, 10 + number)
        world.down_track(world.engine.open_plain_peer(PeerId(20), 20, plain), world.video, 20)
        world.down_track(world.engine.open_peer(PeerId(21), 21), world.video, 21)  # has no keys yet
        world.send([key_frame(1)])
        world.send([key_frame(2), key_frame(3), key_frame(4)])
        results.append((world.sent(), list(queued(six)), wire.take(), plain.take(), world.state()))
        for sock in (six, six_out.sock):
            sock.close()
    assert results[0] == results[1]
    assert [len(each) for each in results[1][:4]] == [8, 4, 4, 4]


def test_a_peer_that_moves_or_is_keyed_again_is_not_sent_to_where_it_was(
    worlds: Callable[..., tuple[World, World]],
) -> None:
    results = []
    for world in worlds(subscribers=1):
        world.send([key_frame(1)])
        first = world.sent()
        (peer,) = {down_track.peer for down_track in world.down_tracks}
        assert isinstance(peer, EnginePeer)
        elsewhere = bound()
        world.engine.set_peer_address(peer, world.out, elsewhere.getsockname())
        world.send([key_frame(2)])
        world.key = bytes(reversed(world.key))
        world.keyed(peer, world.out, elsewhere.getsockname())
        world.send([key_frame(3)])
        assert world.sent() == []
        results.append((first, list(queued(elsewhere))))
        elsewhere.close()
    assert results[0] == results[1]
    assert [len(each) for each in results[1]] == [1, 2]


def test_datagrams_that_the_kernel_refuses_are_counted(worlds: Callable[..., tuple[World, World]]) -> None:
    counts = []
    for world in worlds(subscribers=2):
        peer = world.down_tracks[0].peer
        assert isinstance(peer, EnginePeer)
        world.engine.set_peer_address(
            peer, world.out, ("255.255.255.255", 9)
        )  # broadcasting is not allowed to this socket
        world.send([key_frame(1)])
        world.send([key_frame(2), key_frame(3)])
        counts.append((world.engine.dropped["send_buffer"], world.out.dropped, world.sent()))
    assert counts[0] == counts[1]
    assert counts[0][0] == 3


def test_a_tcp_connection_that_takes_no_more_gets_whole_frames(worlds: Callable[..., tuple[World, World]]) -> None:
    """The kernel takes a part of a frame; its rest follows when the peer reads again."""
    for world in worlds(subscribers=1, tcp=True):
        out, loop = world.out, world.loop
        assert isinstance(out, TcpConnection)
        assert loop is not None
        numbers = itertools.count(1)

        def send(packets: int) -> None:
            world.send([key_frame(next(numbers)) + bytes(900) for _ in range(packets)])  # noqa: B023

        while not out.dropped:
            send(8)
        assert not out.ready
        assert 0 < len(out._backlog) < 1100
        assert world.engine.dropped["send_buffer"] >= out.dropped
        dropped = out.dropped
        send(8)
        assert out.dropped == dropped + 8
        data = bytearray()
        while not out.ready:
            data += b"".join(queued(world.sink))
            loop.call_soon(loop.stop)
            loop.run_forever()
        send(1)
        data += b"".join(queued(world.sink))
        frames, at = [], 0
        while at < len(data):
            end = at + 2 + int.from_bytes(data[at : at + 2], "big")
            frames.append(bytes(data[at + 2 : end]))
            at = end
        assert at == len(data)
        received = SrtpSession(PROFILE, world.key, outbound=False).session
        assert all(received.unprotect(frame) for frame in frames)
        assert len(frames) == world.down_tracks[0].packets - out.dropped


GOOD = Packet(0x9000, 2, 1, 0xBEDE0001, b"\0" * 30, 52, 0, 2, None, False)
SPECIAL = CodecPatch(False, 30, 5, 15, 32, 1, 0, 0)


@pytest.mark.parametrize(
    "packet",
    [
        GOOD._replace(size=51),
        GOOD._replace(size=1 << 70),
        GOOD._replace(first=-1),
        GOOD._replace(sequence=1 << 16),
        GOOD._replace(codec_index=2),
        GOOD._replace(codec_patch=SPECIAL._replace(picture_id_at=51), tail=b"\0" * 30),
        GOOD._replace(codec_patch=SPECIAL._replace(tl0picidx_at=60_000)),
        GOOD._replace(codec_patch=SPECIAL._replace(wide=True)),
        GOOD._replace(tail=bytearray(30)),  # type: ignore[arg-type]  # not bytes
        (1, 2, 3),
        None,
    ],
)
def test_other_objects_go_to_python_which_raises(worlds: Callable[..., tuple[World, World]], packet: object) -> None:
    _, world = worlds(subscribers=1)
    world.send([key_frame(1)])
    world.sent()
    called = []

    class Asked(Exception):
        pass

    def slow(down_tracks: object, groups: object, encryptor: object) -> int:
        called.append(groups)
        raise Asked

    groups = [(52, [packet])]
    assert native is not None
    try:
        native_setup(slow)
        with pytest.raises(Asked):
            native.fan_out(world.down_tracks[:1], groups, world.engine._dispatcher._encryptor)
    finally:
        native_setup(fanout.fan_out)
    assert called == [groups]
    assert world.sent() == []
    assert native.fan_out(world.down_tracks[:1], [(52, [GOOD])], world.engine._dispatcher._encryptor) == 0
    assert len(world.sent()) == 1


def native_setup(slow: Callable[..., int]) -> None:
    from unittest.mock import patch

    with patch.object(fanout, "fan_out", slow):
        assert load() is not None


@pytest.mark.parametrize("call", ["fan_out", "take", "drain"])
@pytest.mark.parametrize("arguments", [(), (None,) * 3, (None,) * 5, (None,) * 8, (1, 2, {}, b"", 0, 0, [], 0.0)])
def test_wrong_arguments_are_refused(call: str, arguments: tuple[object, ...]) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError, BufferError)):
        getattr(native, call)(*arguments)


class DatagramHandler:
    def __init__(self, peer: EnginePeer) -> None:
        self.peer = peer
        self.dtls: list[bytes] = []

    def check_repeated(self, *_: Any, **__: Any) -> bytes | None:
        return None

    def check_received(self, *_: Any, **__: Any) -> bytes | None:
        return None

    def packet_received(self, *_: Any, **__: Any) -> None: ...

    def yield_address(self, *_: Any) -> bool:
        return False

    def path_closed(self, *_: Any) -> None: ...

    def dtls_received(self, datagram: bytes) -> None:
        self.dtls.append(datagram)


def test_a_port_with_and_without_it_takes_the_same_from_the_network(worlds: Callable[..., tuple[World, World]]) -> None:
    results = []
    for index, world in enumerate(worlds()):
        choose, traffic = random.Random(5), Traffic(3, 0.02)
        port = UdpPort(Settings(native=bool(index)), world.engine)
        assert (port._native is not None) == bool(index)
        inlet = UdpSocket(bound(), segments=True)
        inlet.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        if index:
            port._readers[inlet] = port._reader_of(inlet)
        client, stranger = bound(), bound()
        endpoint = DatagramHandler(world.publisher)
        port.by_address[client.getsockname()] = endpoint
        seal, context = SrtpEncryptor(), SrtpSession(PROFILE, world.key, outbound=True)

        def sealed(packet: bytes, seal: SrtpEncryptor = seal, context: SrtpSession = context) -> bytes:
            seal.view[: len(packet)] = packet
            seal.length[0] = len(packet)
            return b"" if seal.protect(context.handle, seal.base, seal.length) else bytes(seal.view[: seal.length[0]])

        to, sent = inlet.sock.getsockname(), []
        for batch in range(150):
            packets = (
                [traffic.packet() for _ in range(choose.choice((1, 5, 70)))]
                if batch > 1
                else [key_frame(65_499 + batch)]
            )
            for packet in packets:
                datagram = sealed(packet)
                kind = choose.random()
                if kind < 0.03:
                    datagram = choose.randbytes(choose.choice((0, 1, 11, 12, 40, 1500, 3000)))
                elif kind < 0.06:
                    datagram = bytes((choose.choice((0, 1, 22, 70, 128, 144, 255)),)) + choose.randbytes(60)
                elif kind < 0.08 and datagram:
                    datagram = datagram[:-1] + bytes((datagram[-1] ^ 1,))
                (stranger if choose.random() < 0.02 else client).sendto(datagram, to)
            for _ in range(4):
                (port._drain_natively if index else port._drain)(inlet, world.now)
                world.engine.flush(world.now)
            world.now += 0.02
            world.publisher.flooding = choose.random() < 0.05
            sent += world.sent()
        results.append((sent, world.state(), dict(port.dropped), endpoint.dtls))
        for sock in (client, stranger, inlet.sock):
            sock.close()
    assert results[0] == results[1]
    assert len(results[0][0]) > 1000
    assert {"srtp", "short", "long", "unknown_address", "ingress_rate"} <= results[0][2].keys()


def test_the_build_lists_every_source_and_header() -> None:
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    (extension,) = project["tool"]["setuptools"]["ext-modules"]
    files = {str(path.relative_to(root)) for path in (root / "sfu/transport/native_src").iterdir()}
    assert {name for name in files if name.endswith(".c")} == set(extension["sources"])
    assert {name for name in files if name.endswith(".h")} == set(extension["depends"])
