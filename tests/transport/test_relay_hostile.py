"""Strangers at the media port of two connected nodes, and a node that does not follow the rules."""

import itertools
import socket
import time
from collections.abc import AsyncIterator

import pytest

from sfu.forwarding.peer_transport import Address, DatagramSink
from sfu.ids import TrackId
from sfu.transport import relay_messages as messages
from sfu.transport.relay_messages import Batch, LayerDescription, RelayStream
from sfu.transport.relay_node import RemoteNode
from sfu.transport.relay_sender import SSRC_WINDOW, SentSsrcs
from sfu.transport.relayed_track import RelayedTrack
from tests.support.relays import Camera, Node, Nodes, Watcher, until
from tests.support.wire import rtp, vp8

CAMERA, Q = TrackId("TR_cam"), LayerDescription("q")


class Recording:
    """A DatagramSink that keeps what it sends."""

    segments = False

    def __init__(self, inner: DatagramSink) -> None:
        self._inner = inner
        self.sent: list[bytes] = []

    def send(self, data: memoryview | bytes, address: Address) -> bool:
        self.sent.append(bytes(data))
        return self._inner.send(data, address)

    def send_segments(self, data: memoryview, size: int, address: Address) -> bool:
        return all(self.send(data[at : at + size], address) for at in range(0, len(data), size))


class Stage:
    """A camera at `home` and its watcher at `edge`."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.home, self.edge = nodes.open("home"), nodes.open("edge")
        self.camera, self.watcher = Camera(self.home, rids="q"), Watcher(self.edge)
        self.home.relay.publish(CAMERA, self.camera.source)
        self.video: RelayedTrack

    async def start(self) -> None:
        self.video = await self.edge.relay.subscribe("home", CAMERA, lambda track: None)
        self.watcher.watch(CAMERA, self.video)
        await self.flow()

    async def flow(self) -> None:
        """Waits for more packets."""
        count = len(self.watcher.packets)
        await until(lambda: len(self.watcher.packets) > count + 5, self.camera, self.watcher)

    def remote(self, node: Node) -> RemoteNode:
        (found,) = node.relay._nodes.values()
        return found

    @property
    def dropped(self) -> dict[str, int]:
        return self.edge.webrtc_server.port.dropped

    @property
    def edge_address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.edge.webrtc_server.port.port)

    def send(self, data: bytes) -> None:
        """Sends from the address of `home`."""
        self.home.webrtc_server.port.sockets[0].send(data, self.edge_address)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    nodes = Nodes()
    stage = Stage(nodes)
    await stage.start()
    yield stage
    stage.watcher.close()
    nodes.close()


async def test_packets_of_strangers_are_dropped(stage: Stage) -> None:
    forged = rtp(vp8(), ssrc=2, sequence=1, timestamp=1) + bytes(16)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(forged, stage.edge_address)
        await until(lambda: stage.dropped["unknown_address"], stage.camera, stage.watcher)
    stage.send(forged)  # from the right address
    await until(lambda: stage.dropped["srtp"], stage.camera, stage.watcher)
    stage.send(rtp(vp8(), ssrc=999, sequence=1, timestamp=1) + bytes(16))
    await until(lambda: stage.dropped["ssrc_limit"], stage.camera, stage.watcher)
    await stage.flow()


async def test_recorded_packets_are_dropped(stage: Stage) -> None:
    peer, engine = stage.remote(stage.home).transport.peer, stage.home.webrtc_server.engine
    recording = Recording(stage.home.webrtc_server.port.sockets[0])
    engine.set_peer_address(peer, recording, peer.address)
    await stage.flow()
    received = stage.remote(stage.edge).transport.peer.packets_in
    packets = [data for data in recording.sent if 127 < data[0] < 192 and not 191 < data[1] < 224]
    engine.set_peer_address(peer, stage.home.webrtc_server.port.sockets[0], peer.address)
    for packet in packets:
        stage.send(packet)
    await until(lambda: stage.dropped["srtp"] == len(packets))
    assert stage.remote(stage.edge).transport.peer.packets_in <= received + len(packets)
    await stage.flow()


async def test_recorded_and_forged_checks_do_not_move_the_path(stage: Stage) -> None:
    path = stage.remote(stage.home).transport.path
    assert path is not None
    selected = stage.remote(stage.edge).transport.peer.address
    ((_, check),) = path.checks(time.monotonic() + 10)
    stage.send(check)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(check, stage.edge_address)
        altered = bytearray(check)
        altered[8] ^= 0xFF
        stranger.sendto(bytes(altered), stage.edge_address)
        await until(lambda: stage.dropped["stun_not_authentic"] + stage.dropped["stun_malformed"] >= 2, stage.camera)
        assert stranger.getsockname() not in stage.edge.webrtc_server.port.by_address
    assert stage.remote(stage.edge).transport.peer.address == selected
    await stage.flow()


async def test_a_client_cannot_claim_the_address_of_a_node(stage: Stage) -> None:
    transport = stage.remote(stage.edge).transport
    address = transport.peer.address
    assert stage.edge.webrtc_server.port.by_address[address] is transport
    assert transport.yield_address(address, time.monotonic()) is False
    assert transport.yield_address(address, time.monotonic() + 60) is True


async def test_batches_of_other_sessions_and_late_ones_have_no_effect(stage: Stage) -> None:
    remote = stage.remote(stage.home)
    ended = (messages.Unsubscribe(CAMERA),)
    stage.home.relay.receive("edge", messages.encode(Batch(remote.session, 1, ended)))  # a number that was used
    answer = stage.home.relay.receive("edge", messages.encode(Batch(b"another!", 99, ended)))
    assert isinstance(messages.decode_answer(answer), messages.UnknownSession)
    stranger = stage.home.relay.receive("stranger", messages.encode(Batch(remote.session, 99, ended)))
    assert isinstance(messages.decode_answer(stranger), messages.UnknownSession)
    await stage.flow()


INVALID = [
    *itertools.product((("video", "VP8"),), ((), (Q, Q), (LayerDescription(""), Q), (Q,) * 9)),
    *itertools.product((("audio", "VP8"), ("video", "opus"), ("video", "FLV1")), ((Q,),)),
]


async def test_descriptions_that_cannot_be_served_end_their_track(stage: Stage) -> None:
    remote, other = stage.remote(stage.edge), TrackId("TR_other")
    for number, ((kind, codec), layers) in enumerate(INVALID, 1000):
        remote.subscribe(other)
        fields = ["TrackDescription", other, 1, kind, codec, "", "PA_1", False, False, layers]
        stage.edge.relay.receive("home", messages.encode(["Batch", remote.session, number, [fields]]))
        assert other not in stage.edge.relay.relayed
        assert other not in remote._subscribed
    await stage.flow()


def test_no_ssrc_is_sent_twice_in_a_session() -> None:
    ssrcs = SentSsrcs(lambda ssrc: None)
    assert ssrcs.take(RelayStream("q", 4, 5))
    assert ssrcs.take(RelayStream("h", 2, 3))  # in another order
    for used in (RelayStream("q", 4, 7), RelayStream("q", 8, 5), RelayStream("q", 6, 6), RelayStream("q", 0, 9)):
        assert not ssrcs.take(used)
    assert not ssrcs.take(RelayStream("q", 1 << 32, 0))
    for ssrc in range(10, 4 * SSRC_WINDOW, 2):
        assert ssrcs.take(RelayStream("q", ssrc, ssrc + 1))
    assert not ssrcs.take(RelayStream("q", 4, 5))
    assert len(ssrcs._used) <= 2 * SSRC_WINDOW + 2
