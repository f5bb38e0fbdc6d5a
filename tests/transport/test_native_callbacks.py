"""Python code that runs in the middle of the packet path in C: it may close, replace or raise whatever it likes.

Each row is run under the sanitizers by `make sanitize`, where memory that is used after it was freed ends the process.
"""

import gc
import socket
import sys
from collections.abc import Callable, Iterator
from unittest.mock import patch

import pytest

from sfu.bandwidth.twcc import Recorder
from sfu.forwarding import fanout, inbound
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.offsets import Offsets
from sfu.forwarding.packet import CodecPatch, Packet
from sfu.forwarding.peer import EnginePeer
from sfu.ids import PeerId
from sfu.transport.native import load
from sfu.transport.srtp import SrtpEncryptor, SrtpSession
from sfu.transport.tcp_connection import TcpConnection
from sfu.transport.udp_socket import UdpSocket
from tests.support.wire import Wire
from tests.transport.test_native import (
    GOOD,
    PROFILE,
    VIDEO,
    DatagramHandler,
    World,
    bound,
    key_frame,
    queued,
)

loaded = load()
if loaded is None:
    pytest.skip("the native part was not built", allow_module_level=True)
native = loaded


class Meddled(Exception):
    pass


@pytest.fixture
def world() -> Iterator[World]:
    made = World(with_native=True, codec="VP9", subscribers=2)
    made.send([key_frame(1, "VP9")])
    made.sent()
    yield made
    made.close()
    assert load() is not None, "the loaded functions are unchanged"


def delta(sequence: int) -> bytes:
    packet = bytearray(key_frame(sequence, "VP9"))
    packet[20] = 0xC8  # predicted
    return bytes(packet)


def close_publisher(world: World, encoding: Encoding) -> None:
    world.engine.close_peer(world.publisher)


def close_all_peers(world: World, encoding: Encoding) -> None:
    for peer in list(world.engine.peers.values()):
        world.engine.close_peer(peer)
    world.keep.clear()
    gc.collect()


def new_lists(world: World, encoding: Encoding) -> None:
    encoding.history = [None] * len(encoding.history)
    encoding.batch, encoding.down_tracks = [], []
    encoding.track.payload_types = dict(encoding.track.payload_types)


def other_track(world: World, encoding: Encoding) -> None:
    encoding.track = world.audio


def no_slots(world: World, encoding: Encoding) -> None:
    for name in ("history", "batch", "down_tracks", "highest", "received", "jitter"):
        delattr(encoding, name)
    del world.publisher.streams


def shorter(world: World, encoding: Encoding) -> None:
    del encoding.history[:]
    encoding.track.payload_types.clear()


def fail(world: World, encoding: Encoding) -> None:
    raise Meddled


ANSWERS = [(False, None), (False, CodecPatch(False, 30, 1, 15, 32, 1, 0, 0)), (True, None), None, (False, 7)]
MEDDLERS = [close_publisher, close_all_peers, new_lists, other_track, no_slots, shorter, fail]


@pytest.mark.parametrize("meddle", MEDDLERS)
@pytest.mark.parametrize(
    "answer", [(False, None), (False, CodecPatch(False, 30, 1, 15, 32, 1, 0, 0)), (True, None), None, (False, 7)]
)
def test_describing_may_change_everything(
    world: World, meddle: Callable[[World, Encoding], None], answer: object
) -> None:
    encoding = world.video.encodings[""]
    peer, view = world.publisher, memoryview(bytearray(delta(2).ljust(2048, b"\0")))

    def describe(*_: object) -> object:
        meddle(world, encoding)
        return answer

    with patch.object(inbound, "describe", describe):
        assert load() is not None
        try:
            native.take(peer, view, len(delta(2)), world.now, world.engine.pending_encodings)
        except Meddled:
            assert meddle is fail
    assert load() is not None
    gc.collect()


def test_a_describer_that_fails_leaks_nothing_and_changes_nothing(world: World) -> None:
    encoding = world.video.encodings[""]
    view = memoryview(bytearray(delta(2).ljust(2048, b"\0")))
    watched = (world.publisher, encoding, world.video, encoding.history, encoding.batch, encoding.down_tracks)

    def describe(*_: object) -> object:
        raise Meddled

    def take() -> None:
        with pytest.raises(Meddled):
            native.take(world.publisher, view, len(delta(2)), world.now, world.engine.pending_encodings)

    with patch.object(inbound, "describe", describe):
        assert load() is not None
        take()
        gc.collect()
        state = world.state()
        counts = [sys.getrefcount(each) for each in watched]
        for _ in range(100):
            take()
        gc.collect()
        assert [sys.getrefcount(each) for each in watched] == counts
        assert world.state() == state
    assert load() is not None


class MeddlingRecorder(Recorder):
    def __init__(self, meddle: Callable[[], None]) -> None:
        super().__init__(1)
        self.meddle = meddle

    def record(self, sequence: int, arrival: float) -> None:
        self.meddle()


@pytest.mark.parametrize("meddle", MEDDLERS)
def test_recording_may_change_everything(world: World, meddle: Callable[[World, Encoding], None]) -> None:
    encoding, peer = world.video.encodings[""], world.publisher
    peer.twcc = MeddlingRecorder(lambda: meddle(world, encoding))
    view = memoryview(bytearray(delta(2).ljust(2048, b"\0")))
    counts = sys.getrefcount(encoding), sys.getrefcount(peer)
    for _ in range(3 if meddle is not fail else 50):
        try:
            native.take(peer, view, len(delta(2)), world.now, world.engine.pending_encodings)
        except Meddled:
            assert meddle is fail
    gc.collect()
    if meddle is fail:
        assert sys.getrefcount(encoding) < counts[0] + 5
        assert sys.getrefcount(peer) < counts[1] + 5


class Inlet:
    """A socket that is drained, a client that the publisher's packets come from, and strangers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sock, self.client, self.stranger = bound(), bound(), bound()
        self.by_address: dict[object, DatagramHandler] = {self.client.getsockname(): DatagramHandler(world.publisher)}
        self.other: Callable[[int, object, float], None] = self.take_other
        self.receive: Callable[[EnginePeer, memoryview, int, float], None] = self.take_packet
        self.others: list[int] = []
        self.received: list[int] = []
        self.view = memoryview(bytearray(2048))
        self.context, self.seal = SrtpSession(PROFILE, world.key, outbound=True), SrtpEncryptor()

    def send(self, *packets: bytes, stranger: bool = False) -> None:
        for packet in packets:
            if not stranger:
                self.seal.view[: len(packet)] = packet
                self.seal.length[0] = len(packet)
                assert not self.seal.protect(self.context.handle, self.seal.base, self.seal.length)
                packet = bytes(self.seal.view[: self.seal.length[0]])
            (self.stranger if stranger else self.client).sendto(packet, self.sock.getsockname())

    def take_other(self, n: int, address: object, now: float) -> None:
        self.others.append(n)

    def take_packet(self, peer: EnginePeer, view: memoryview, n: int, now: float) -> None:
        self.received.append(n)
        self.world.engine.receive(peer, view, n, now)

    def drain(self) -> tuple[int, int, int]:
        found: tuple[int, int, int] = native.drain(
            self.sock.fileno(),
            64,
            self.by_address,
            self.view,
            self.other,
            self.receive,
            self.world.engine.pending_encodings,
            60.0,
        )
        return found

    def close(self) -> None:
        for sock in (self.sock, self.client, self.stranger):
            sock.close()


@pytest.fixture
def inlet(world: World) -> Iterator[Inlet]:
    made = Inlet(world)
    yield made
    made.close()


def test_a_datagram_that_finds_a_fault_costs_itself_and_no_other(world: World, inlet: Inlet) -> None:
    calls = []

    def other(n: int, address: object, now: float) -> None:
        calls.append(n)
        if n == 13:
            raise Meddled

    inlet.other = other
    inlet.send(b"\1" * 13, stranger=True)
    inlet.send(delta(2))
    inlet.send(b"\1" * 13, b"\1" * 20, stranger=True)
    inlet.send(delta(3), delta(4))
    with pytest.raises(Meddled):
        inlet.drain()
    assert calls == [13, 13, 20]
    assert world.video.encodings[""].highest == 4
    assert inlet.drain() == (0, 0, 0)
    inlet.send(delta(5))
    assert inlet.drain() == (1, 1, 0)


def test_a_fault_in_the_engine_costs_one_packet(world: World, inlet: Inlet) -> None:
    def receive(peer: EnginePeer, view: memoryview, n: int, now: float) -> None:
        raise Meddled

    inlet.receive = receive
    inlet.send(delta(3), delta(4))  # behind a gap they are not usual
    with pytest.raises(Meddled):
        inlet.drain()
    inlet.receive = inlet.take_packet
    inlet.send(delta(5))
    assert inlet.drain() == (1, 1, 0)
    assert inlet.received == [len(delta(5))]
    inlet.send(delta(6))
    assert inlet.drain() == (1, 1, 0)
    assert len(inlet.received) == 1, "a usual one is taken in C"


def test_headers_are_as_new_after_every_batch(world: World, inlet: Inlet) -> None:
    """Sockets of both families take turns on the same headers, in batches of every size."""
    six, sender = bound(socket.AF_INET6), bound(socket.AF_INET6)
    seen: list[object] = []

    def other(n: int, address: object, now: float) -> None:
        seen.append((n, address))

    inlet.other = other
    sent: list[object] = []
    for size in (1, 64, 3, 0, 70, 2):
        for sock, source, to in (
            (inlet.sock, inlet.stranger, inlet.sock.getsockname()),
            (six, sender, six.getsockname()),
        ):
            for number in range(size):
                source.sendto(b"\1" * (12 + number), to)
                sent.append((12 + number, source.getsockname()))
            for _ in range(2):
                native.drain(
                    sock.fileno(),
                    64,
                    inlet.by_address,
                    inlet.view,
                    inlet.other,
                    inlet.receive,
                    world.engine.pending_encodings,
                    60.0,
                )
    assert seen == sent
    six.close()
    sender.close()


def test_a_drain_inside_a_drain_is_refused_and_the_outer_goes_on(world: World, inlet: Inlet) -> None:
    def other(n: int, address: object, now: float) -> None:
        with pytest.raises(ValueError, match="reentrant"):
            inlet.drain()
        inlet.others.append(n)

    inlet.other, real = other, inlet.other
    inlet.send(b"\1" * 12, b"\1" * 14, stranger=True)
    assert inlet.drain() == (2, 0, 0)
    assert inlet.others == [12, 14]
    inlet.other = real


def test_the_keys_may_go_between_two_datagrams_of_one_burst(world: World, inlet: Inlet) -> None:
    def receive(peer: EnginePeer, view: memoryview, n: int, now: float) -> None:
        world.engine.close_peer(peer)
        inlet.by_address.clear()
        world.keep.clear()
        gc.collect()

    inlet.receive = receive
    inlet.send(delta(2), delta(9), delta(10), delta(11))
    assert inlet.drain()[0] == 4
    assert len(inlet.others) == 2


def test_a_socket_that_fails_is_reported_and_blocks_nothing(world: World, inlet: Inlet) -> None:
    closed = bound()
    number = closed.fileno()
    closed.close()
    with pytest.raises(OSError, match="Bad file"):
        native.drain(number, 64, {}, inlet.view, inlet.other, inlet.receive, [], 60.0)
    inlet.send(delta(2))
    assert inlet.drain() == (1, 1, 0)


Groups = list[tuple[int, list[Packet]]]
"""Packets by header size, as `fan_out` takes them."""


def close_all(world: World, groups: Groups) -> None:
    close_all_peers(world, world.video.encodings[""])


def empty_batch(world: World, groups: Groups) -> None:
    for group in groups:
        group[1].clear()
    world.video.encodings[""].history[:] = [None] * len(world.video.encodings[""].history)
    groups.clear()
    gc.collect()


def move_all(world: World, groups: Groups) -> None:
    for down_track in world.down_tracks:
        down_track.peer.datagram_sink, down_track.peer.address = Wire(), ("x", 1)
        down_track.peer.native_state = None
        down_track.offsets = Offsets(0, 0, 0, 0, 0, False)
    gc.collect()


def close_socket(world: World, groups: Groups) -> None:
    world.out.close()


def raise_in_send(world: World, groups: Groups) -> None:
    raise Meddled


def fan_out_again(world: World, groups: Groups) -> None:
    native.fan_out(world.down_tracks[:1], [(52, [GOOD])], world.engine._dispatcher._encryptor)


@pytest.mark.parametrize("meddle", [close_all, empty_batch, move_all, close_socket, raise_in_send, fan_out_again])
@pytest.mark.parametrize("rounds", [1, 100])
def test_sending_may_change_everything(world: World, meddle: Callable[[World, Groups], None], rounds: int) -> None:
    """The kernel refuses, so that Python's `send` is asked, which meddles; with more groups than one call can send."""
    for down_track in world.down_tracks:
        down_track.peer.address = ("255.255.255.255", 9)  # broadcasting is not allowed to this socket
    groups: Groups = [(52, [GOOD._replace(sequence=100 + n, tail=bytes(30))]) for n in range(rounds)]
    meddled: list[bool] = []

    def send(self: UdpSocket, data: object, address: object) -> bool:
        if not meddled:
            meddled.append(True)
            meddle(world, groups)
        return False

    with patch.object(UdpSocket, "send", send):
        try:
            native.fan_out(list(world.down_tracks), groups, world.engine._dispatcher._encryptor)
        except Meddled:
            assert meddle is raise_in_send
    assert meddled
    fresh = World(with_native=True, subscribers=1)  # what is shared is as it was
    fresh.send([key_frame(1)])
    assert len(fresh.sent()) == 1
    fresh.close()


@pytest.mark.parametrize("meddle", [close_all, empty_batch, move_all, close_socket, raise_in_send, fan_out_again])
@pytest.mark.parametrize("rounds", [1, 3000])
def test_a_slow_tcp_connection_may_change_everything(
    meddle: Callable[[World, list[object]], None], rounds: int
) -> None:
    """Python's `frames_sent` meddles; with fewer and more frames than one write takes."""
    world = World(with_native=True, codec="VP9", subscribers=2, tcp=True)
    world.send([key_frame(1, "VP9")])
    for out in world.outs:
        if isinstance(out, TcpConnection):
            out.ready = False
    groups: list[object] = [(52, [GOOD._replace(sequence=100 + n, tail=bytes(30))]) for n in range(rounds)]
    meddled: list[bool] = []

    def frames_sent(self: TcpConnection, frames: memoryview, sent: int) -> int:
        assert sent == 0
        if not meddled:
            meddled.append(True)
            meddle(world, groups)
        return 1

    with patch.object(TcpConnection, "frames_sent", frames_sent):
        try:
            native.fan_out(list(world.down_tracks), groups, world.engine._dispatcher._encryptor)
        except Meddled:
            assert meddle is raise_in_send
    assert meddled
    world.close()


def test_no_datagram_goes_to_a_socket_that_took_the_number_of_a_closed_one(world: World) -> None:
    sink = bound()
    unauthenticated_budget: list[socket.socket] = []
    first, second = (down_track.peer for down_track in world.down_tracks[::2])
    assert isinstance(first, EnginePeer)
    assert isinstance(second, EnginePeer)
    refused = UdpSocket(bound(), segments=True)
    world.engine.set_peer_address(first, refused, ("255.255.255.255", 9))
    world.engine.set_peer_address(second, world.out, sink.getsockname())

    def send(self: UdpSocket, data: object, address: object) -> bool:
        if not unauthenticated_budget:
            number = world.out.fd
            world.out.close()
            unauthenticated_budget.append(bound())
            assert unauthenticated_budget[0].fileno() == number
        return False

    with patch.object(UdpSocket, "send", send):
        assert (
            native.fan_out(
                [world.down_tracks[0], world.down_tracks[2]], [(52, [GOOD])], world.engine._dispatcher._encryptor
            )
            == 2
        )
    assert list(queued(sink)) == []
    for sock in (sink, unauthenticated_budget[0], refused.sock):
        sock.close()


@pytest.mark.parametrize("at", [0, 1])
def test_a_slow_route_that_fails_leaks_nothing(world: World, at: int) -> None:
    plain = world.engine.open_plain_peer(PeerId(50), 50, Wire())
    odd = world.down_track(plain, world.video, 50)
    down_tracks = [world.down_tracks[0], world.down_tracks[2]]
    down_tracks.insert(at, odd)
    packet = GOOD._replace(tail=bytes(range(30)))
    groups = [(52, [packet])]
    watched = (world.out, down_tracks[0], down_tracks[1], down_tracks[2], packet, packet.tail, groups, down_tracks)

    def slow(*_: object) -> int:
        raise Meddled

    def attempt() -> None:
        with pytest.raises(Meddled):
            native.fan_out(down_tracks, groups, world.engine._dispatcher._encryptor)

    with patch.object(fanout, "fan_out", slow):
        assert load() is not None
        attempt()
        gc.collect()
        counts = [sys.getrefcount(each) for each in watched]
        for _ in range(50):
            attempt()
        gc.collect()
        assert [sys.getrefcount(each) for each in watched] == counts
    assert load() is not None
    assert native.fan_out(down_tracks, [(52, [GOOD._replace(sequence=9)])], world.engine._dispatcher._encryptor) == 0


def test_other_objects_among_packets_leak_nothing(world: World) -> None:
    packet = GOOD._replace(tail=bytes(range(30)))
    groups = [(52, [packet, packet, None])]

    def attempt() -> None:
        with pytest.raises(TypeError):
            native.fan_out(world.down_tracks[:1], groups, world.engine._dispatcher._encryptor)

    for _ in range(50):
        attempt()
    gc.collect()
    assert sys.getrefcount(packet.tail) < 10


@pytest.mark.parametrize("now", [-1.0, float("inf"), float("nan"), 1e300])
def test_impossible_times_are_left_to_python(world: World, now: float) -> None:
    view = memoryview(bytearray(delta(2).ljust(2048, b"\0")))
    assert native.take(world.publisher, view, len(delta(2)), now, world.engine.pending_encodings) is False


def test_offsets_of_any_size_are_taken_modulo(world: World) -> None:
    packet = GOOD._replace(codec_patch=CodecPatch(False, 30, 0x7FFF, 15, 32, 255, 34, 65_535))
    for down_track in world.down_tracks:
        down_track.offsets = Offsets(0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF, True)
    assert native.fan_out(world.down_tracks, [(52, [packet])], world.engine._dispatcher._encryptor) == 0
    assert len(world.sent()) == len(world.down_tracks)


def test_half_set_up_nothing_may_be_called(world: World) -> None:
    with pytest.raises(TypeError):
        native.setup((Encoding,) * 7, (0,) * 12, None, None, None, None, 0, 0)
    view = memoryview(bytearray(2048))
    calls: tuple[Callable[[], object], ...] = (
        lambda: native.take(world.publisher, view, 100, 1.0, []),
        lambda: native.fan_out(world.down_tracks, [(52, [GOOD])], world.engine._dispatcher._encryptor),
        lambda: native.drain(0, 1, {}, view, None, None, [], 1.0),
    )
    for call in calls:
        with pytest.raises(TypeError):
            call()
    assert load() is not None
    assert VIDEO in world.publisher.streams
