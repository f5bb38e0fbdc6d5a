"""Relays of several nodes in one process, with messages that pass through memory or are lost."""

import asyncio
import itertools
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from sfu.forwarding.dynacast import Dynacast
from sfu.forwarding.layers import Size
from sfu.forwarding.peer_transport import Address, DatagramSink
from sfu.ids import TrackId
from sfu.resources.media_clock import ntp_time
from sfu.rooms.ports import MediaSource, SubscriptionSettings
from sfu.rtp import rtcp
from sfu.sdp.capabilities import URI_AUDIO_LEVEL, URI_VIDEO_ORIENTATION
from sfu.transport.dynacast_manager import DynacastManager
from sfu.transport.endpoint import WebRtcEndpoint
from sfu.transport.plain_transport import PlainTransport, pair
from sfu.transport.published_track import PublishedTrack
from sfu.transport.relay import Relay
from sfu.transport.settings import Settings
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.wire import Rtp, Wire, rtp, vp8

SETTINGS = Settings(udp_port=0, bind=("127.0.0.1",), include_loopback=True)
SECRET = "a secret of the cluster with 32 bytes"


@dataclass
class Node:
    name: str
    webrtc_server: WebRtcServer
    endpoint: WebRtcEndpoint
    relay: Relay

    def close(self) -> None:
        self.relay.close()
        for peer in list(self.webrtc_server.engine.peers.values()):
            self.webrtc_server.engine.close_peer(peer)
        self.webrtc_server.close()


@dataclass
class Nodes:
    """The signalling between nodes. A name in `cut` neither sends nor receives."""

    nodes: dict[str, Node] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    losses: Iterator[str] = field(default_factory=lambda: itertools.repeat(""))
    """For each exchange: `request` is lost, `answer` is lost, or nothing."""

    def open(self, name: str, *secrets: str, settings: Settings = SETTINGS) -> Node:
        webrtc_server = WebRtcServer(settings)
        webrtc_server.open()
        relay = Relay(webrtc_server, name, secrets or (SECRET,), _Signaling(self, name))
        self.nodes[name] = node = Node(name, webrtc_server, WebRtcEndpoint(webrtc_server), relay)
        return node

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()


@dataclass
class _Signaling:
    nodes: Nodes
    name: str

    async def exchange(self, node: str, message: bytes) -> bytes:
        if {self.name, node} & self.nodes.cut:
            raise ConnectionRefusedError("the node does not answer")
        lost = next(self.nodes.losses)
        answer = b"" if lost == "request" else self.nodes.nodes[node].relay.receive(self.name, message)
        if lost:
            raise TimeoutError(f"the {lost} is lost")
        return answer


SIZES = {"q": Size(160, 90), "h": Size(320, 180), "f": Size(640, 360)}
FRAME = 0.01
LEVEL = 23


class Camera:
    """A publisher of three VP8 layers in this process, which obeys dynacast, PLI and NACK. `step` sends a frame."""

    def __init__(self, node: Node, *, rids: str = "qhf") -> None:
        server = node.webrtc_server
        self._engine = server.engine
        self._wire = Wire(tag=0)
        self.peer = self._engine.open_plain_peer(server.next_peer_id(), 77, self._wire)
        self._ssrcs = {rid: 11 + index for index, rid in enumerate(rids)}
        self.dynacast_manager = DynacastManager()
        track = self._engine.add_track(
            self.peer, mid="1", kind="video", codec="VP8", parameters="", clock_rate=90_000, payload_types={96: "VP8"},
            rtx={97: 96}, extensions={URI_VIDEO_ORIENTATION: 5}, rids=tuple(rids),
            ssrcs=tuple((ssrc, None) for ssrc in self._ssrcs.values()), by_ssrc=True,
        )  # fmt: skip
        self.source = PublishedTrack(
            self._engine, track, "PA_1", dynacast_manager=self.dynacast_manager, notify_publisher=self._pause
        )
        self.source.declared = {rid: SIZES[rid] for rid in rids}
        self.source.dynacast = Dynacast(pause_delay=0.1)
        self.active = set(rids)
        self.requests = 0
        """Keyframe requests."""
        self._key = True
        self._next = time.monotonic()
        self._number = 0
        self._sequences = dict.fromkeys(rids, 0)
        self.packets = 1
        """Packets of a frame."""

    def _pause(self, rids: tuple[str, ...]) -> None:
        self.active = set(rids)
        self._key = True

    def step(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + FRAME
        for data in self._wire.rtcp():
            if any(isinstance(packet, rtcp.PictureLossIndication) for packet in rtcp.parse(data)):
                self.requests += 1
                self._key = True
        self.dynacast_manager.tick(now)
        key, self._key = self._key, False
        self._number += 1
        timestamp = int(now * 90_000) & 0xFFFFFFFF
        for rid, ssrc in self._ssrcs.items():
            if rid not in self.active:
                continue
            for index in range(self.packets):
                self._sequences[rid] += 1
                self._receive(
                    rtp(
                        vp8(key=key, picture=self._number, begin=not index), ssrc=ssrc, sequence=self._sequences[rid],
                        timestamp=timestamp, extensions={5: b"\x03"}, marker=index == self.packets - 1,
                    ),
                    now,
                )  # fmt: skip
            if not self._number % 10:
                report = rtcp.SenderReport(ssrc, int(ntp_time(now) * (1 << 32)), timestamp, 1, 1)
                self._engine.receive_rtcp(self.peer, rtcp.encode_sender_report(report), now, ntp_time(now))
        self._engine.flush(now)

    def _receive(self, packet: bytes, now: float) -> None:
        self._engine.receive(self.peer, memoryview(bytearray(packet)), len(packet), now)


class Microphone:
    """A publisher of Opus with audio levels. `step` sends a packet."""

    def __init__(self, node: Node) -> None:
        server = node.webrtc_server
        self._engine = server.engine
        self.peer = self._engine.open_plain_peer(server.next_peer_id(), 78, Wire(tag=0))
        track = self._engine.add_track(
            self.peer, mid="0", kind="audio", codec="opus", parameters="useinbandfec=1", clock_rate=48_000,
            payload_types={111: "opus", 63: "red"}, rtx={}, extensions={URI_AUDIO_LEVEL: 1}, rids=(), ssrcs=((21, None),),
            by_ssrc=True,
        )  # fmt: skip
        self.source = PublishedTrack(self._engine, track, "PA_1")
        self._number = 0
        self._next = time.monotonic()

    def step(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + FRAME
        self._number += 1
        packet = rtp(
            bytes(60), ssrc=21, sequence=self._number, timestamp=960 * self._number, payload_type=111,
            extensions={1: bytes((LEVEL,))},
        )  # fmt: skip
        self._engine.receive(self.peer, memoryview(bytearray(packet)), len(packet), now)
        self._engine.flush(now)


class Watcher:
    """A subscriber at a node. `step` reads what it received."""

    def __init__(self, node: Node) -> None:
        self.plain_transport = PlainTransport(node.webrtc_server, "watcher")
        ours, self._sock = pair()
        self._sock.setblocking(False)
        self.plain_transport.attach(ours)
        self.packets: list[Rtp] = []
        self.reports: list[rtcp.SenderReport] = []

    def watch(self, track: TrackId, source: MediaSource, height: int = 0, *, paused: bool = False) -> None:
        self.plain_transport.subscribe(track, source, SubscriptionSettings(height=height, paused=paused))

    def step(self) -> None:
        while True:
            try:
                message = self._sock.recv(70_000)
            except BlockingIOError:
                return
            size = struct.unpack_from("!H", message)[0]
            for at in range(2, len(message), size):
                packet = message[at : at + size]
                if 191 < packet[1] < 224:
                    self.reports += [each for each in rtcp.parse(packet) if isinstance(each, rtcp.SenderReport)]
                else:
                    self.packets.append(Rtp.parse(packet))

    def request_keyframe(self, track: TrackId) -> None:
        request = rtcp.encode_pli(1, self.plain_transport.ssrc(track))
        self._sock.send(struct.pack("!H", len(request)) + request)

    def numbers(self) -> list[int]:
        return [packet.sequence for packet in self.packets]

    def close(self) -> None:
        self.plain_transport.close()
        self._sock.close()


class Steps(Protocol):
    def step(self) -> None: ...


async def until(done: Callable[[], object], *steps: Steps) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        for each in steps:
            each.step()
        await asyncio.sleep(0.003)


class Lossy:
    """A DatagramSink that drops every `every`-th datagram of media; `closed`: everything."""

    segments = False

    def __init__(self, inner: DatagramSink, every: int) -> None:
        self._inner, self._every = inner, every
        self.closed = False
        self._count = 0
        self.lost = 0

    def send(self, data: memoryview | bytes, address: Address) -> bool:
        self._count += 1
        if self.closed or not self._count % self._every:
            self.lost += 1
            return True
        return self._inner.send(data, address)

    def send_segments(self, data: memoryview, size: int, address: Address) -> bool:
        return all(self.send(data[at : at + size], address) for at in range(0, len(data), size))
