"""Latency and CPU of a relay hop: a track of one node with N viewers there, at a second node, and at both.

    python -m tests.bench.relay [VIEWERS] [SECONDS]

Three processes: this one publishes 2 Mbit/s of VP8 over SRTP and receives as one viewer, in the middle of the fan-out; `home`
takes the track; `edge` relays it. The other viewers' packets are sent and not read. Latency is from the send call to the
kernel's receive timestamp. CPU is that of the node processes for each packet sent to viewers, publishing included.
"""

import asyncio
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import uvloop

from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.engine import Engine
from sfu.forwarding.layers import Size
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.peer_transport import Address
from sfu.ids import TrackId
from sfu.rooms.ports import MediaSource, SubscriptionSettings
from sfu.transport.down_tracks import DownTracks
from sfu.transport.layer_control import ignore_state
from sfu.transport.published_track import PublishedTrack
from sfu.transport.relay_keys import PROFILE
from sfu.transport.srtp import SrtpSession
from sfu.transport.subscription import SendParameters, Subscription
from sfu.transport.udp import DatagramHandler
from tests.support.relay_process import TRACK, http_node
from tests.support.relays import Node
from tests.support.wire import rtp, vp8

KEY = bytes(range(PROFILE.key + PROFILE.salt))
"""SRTP key and salt of all clients of the bench."""
FPS, PACKETS, SIZE = 30, 7, 1180
VIEWER_SSRC, VIDEO_SSRC = 70, 11
SO_TIMESTAMPNS = 35
WARM_UP = 2.0


class _Publisher:
    """A DatagramHandler of the port, without ICE."""

    def __init__(self, peer: EnginePeer) -> None:
        self.peer = peer

    def packet_received(self, address: Address, now: float) -> None: ...


class _Commands:
    """A node process: a line of JSON in, a line out."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._server = node.webrtc_server
        self._engine: Engine = node.webrtc_server.engine
        self._source: MediaSource | None = None
        self._viewers: list[DownTracks] = []

    async def ingest(self, port: int) -> int:
        peer = self._engine.open_peer(self._server.next_peer_id(), 1)
        self._sessions = [SrtpSession(PROFILE, KEY, outbound=outbound) for outbound in (False, True)]
        self._engine.set_srtp_sessions(peer, self._sessions[0].handle, self._sessions[1].handle, PROFILE.tag)
        address = ("127.0.0.1", port)
        self._engine.set_peer_address(peer, self._server.port.sockets[0], address)
        self._server.port.by_address[address] = cast("DatagramHandler", _Publisher(peer))
        track = self._engine.add_track(
            peer, mid="1", kind="video", codec="VP8", parameters="", clock_rate=90_000, payload_types={96: "VP8"},
            rtx={97: 96}, extensions={}, rids=(), ssrcs=((VIDEO_SSRC, None),), by_ssrc=True,
        )  # fmt: skip
        source = PublishedTrack(self._engine, track, "PA_1")
        source.declared = {"": Size(640, 360)}
        self._node.relay.publish(TRACK, source)
        self._source = source
        return self._server.port.port

    async def subscribe(self, node: str) -> int:
        self._source = await self._node.relay.subscribe(node, TRACK, lambda track: None)
        return 0

    async def viewers(self, ports: list[int]) -> int:
        assert self._source is not None
        now = time.monotonic()
        for port in ports:
            peer = self._engine.open_peer(self._server.next_peer_id(), 1)
            session = SrtpSession(PROFILE, KEY, outbound=True)
            self._sessions_kept = [*getattr(self, "_sessions_kept", []), session]
            self._engine.set_srtp_sessions(peer, session.handle, session.handle, PROFILE.tag)
            self._engine.set_peer_address(peer, self._server.port.sockets[0], ("127.0.0.1", port))
            down_tracks = DownTracks(self._engine, None, ignore_state, DecisionLog())
            down_tracks.start(now)
            subscription = Subscription(TrackId(TRACK), self._source, SubscriptionSettings())
            down_tracks.add(subscription)
            parameters = SendParameters("00", VIEWER_SSRC, 0, 96, None, None, {})
            down_tracks.open(subscription, peer, parameters, 1, now)
            self._viewers.append(down_tracks)
        return len(self._viewers)

    async def usage(self) -> list[float]:
        """CPU seconds of the process, packets sent to viewers."""
        sent = sum(peer.packets_out for peer in self._engine.peers.values() if not peer.trusted)
        return [time.process_time(), sent]


async def run_node(name: str, directory: Path) -> None:
    async with http_node(name, directory) as node:
        commands, loop = _Commands(node), asyncio.get_running_loop()
        print("ready", flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            command, argument = json.loads(line)
            answer = await (getattr(commands, command)(argument) if argument is not None else commands.usage())
            print(json.dumps(answer), flush=True)
        os._exit(0)  # the peers of the bench are not closed one by one


class _Process:
    def __init__(self, name: str, directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.relay", "node", name, str(directory)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def call(self, command: str, argument: object = None) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([command, argument]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return sock


class _Client:
    """Publishes, and receives as one viewer."""

    def __init__(self) -> None:
        self.uplink, self.viewer = _socket(), _socket()
        self._tx = SrtpSession(PROFILE, KEY, outbound=True)
        self._rx = SrtpSession(PROFILE, KEY, outbound=False)
        self._sequence = self._frame = 0
        self.latencies: list[float] = []

    def run(self, port: int, seconds: float) -> None:
        end = next_at = time.monotonic()
        end += seconds
        while (now := time.monotonic()) < end:
            if now >= next_at:
                next_at += 1 / FPS
                self._send(port)
            self._read()
            time.sleep(0.0005)

    def _send(self, port: int) -> None:
        self._frame += 1
        for index in range(PACKETS):
            self._sequence = (self._sequence + 1) & 0xFFFF
            payload = vp8(key=not self._frame % FPS, picture=self._frame & 0x7FFF, begin=not index, size=SIZE - 40)
            payload += struct.pack("!Q", time.time_ns())
            packet = rtp(
                payload, ssrc=VIDEO_SSRC, sequence=self._sequence, timestamp=3000 * self._frame, marker=index == PACKETS - 1
            )  # fmt: skip
            self.uplink.sendto(self._tx.session.protect(packet), ("127.0.0.1", port))

    def _read(self) -> None:
        for sock in (self.uplink, self.viewer):
            while True:
                try:
                    data, ancillary, _, _ = sock.recvmsg(2048, 64)
                except BlockingIOError:
                    break
                if sock is self.uplink or 191 < data[1] < 224:
                    continue
                (sent,) = struct.unpack("!Q", self._rx.session.unprotect(data)[-8:])
                seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
                self.latencies.append((seconds * 1_000_000_000 + nanoseconds - sent) / 1e6)


@contextmanager
def _nodes(*names: str) -> Iterator[list[_Process]]:
    with tempfile.TemporaryDirectory() as directory:
        processes = [_Process(name, Path(directory)) for name in names]
        try:
            yield processes
        finally:
            for process in processes:
                process.close()


def measure(viewers: int, seconds: float, *, relayed: bool, at_both: bool) -> tuple[float, float, list[float]]:
    """(latency p50, p99 in ms; CPU of each node in µs per packet sent to viewers)"""
    with _nodes("home", "edge") as processes:
        home, edge = processes
        client, unread = _Client(), [_socket() for _ in range(viewers - 1)]
        others = [_socket() for _ in range(viewers)] if at_both else []
        port = home.call("ingest", client.uplink.getsockname()[1])
        serving = edge if relayed else home
        if relayed:
            edge.call("subscribe", "home")
        ports = [sock.getsockname()[1] for sock in unread]
        ports.insert(viewers // 2, client.viewer.getsockname()[1])  # in the middle of the fan-out
        serving.call("viewers", ports)
        if others:
            home.call("viewers", [sock.getsockname()[1] for sock in others])
        client.run(port, WARM_UP)
        client.latencies.clear()
        involved = [home, edge] if relayed else [home]
        before = [process.call("usage") for process in involved]
        client.run(port, seconds)
        after = [process.call("usage") for process in involved]
        used = [late[0] - early[0] for early, late in zip(before, after, strict=True)]
        sent = sum(late[1] - early[1] for early, late in zip(before, after, strict=True))
        for sock in (client.uplink, client.viewer, *unread, *others):
            sock.close()
        cuts = statistics.quantiles(client.latencies, n=100)
        return cuts[49], cuts[98], [each / sent * 1e6 for each in used]


MODES = (
    ("viewers at home       ", False, False),
    ("viewers at edge       ", True, False),
    ("as many at both nodes ", True, True),
)
"""(name, whether the edge relays, whether as many viewers are at home)"""


def main(viewers: int = 100, seconds: float = 10.0) -> None:
    print(f"{viewers} viewers, {FPS * PACKETS} packets a second, {seconds:g} s each, in turns")
    for number in range(3):
        for name, relayed, at_both in MODES:
            p50, p99, cpu = measure(viewers, seconds, relayed=relayed, at_both=at_both)
            shares = " + ".join(f"{each:.2f}" for each in cpu)
            print(
                f"{number + 1} {name}: latency p50 {p50:.3f} ms, p99 {p99:.3f} ms; {sum(cpu):.2f} µs CPU per packet ({shares})"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["node"]:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run_node(sys.argv[2], Path(sys.argv[3])))
    else:
        main(*(int(argument) for argument in sys.argv[1:]))
