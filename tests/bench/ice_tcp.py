"""CPU of forwarding to subscribers over ICE-TCP, beside UDP in the same run.

    python -m tests.bench.ice_tcp [subscribers] [batch] [seconds]

Prints CPU microseconds (user + system, this process) per forwarded packet of 1200 bytes. The receivers are another process,
which reads everything. The kernel runs the loopback receive path inside of `send`, so that the figures include it.
"""

import asyncio
import os
import resource
import select
import socket
import sys
import time

from sfu.forwarding.engine import Engine
from sfu.ids import PeerId
from sfu.transport.native import load
from sfu.transport.settings import Settings
from sfu.transport.srtp import PROFILES, SrtpEncryptor, SrtpSession
from sfu.transport.tcp_connection import TcpConnection
from sfu.transport.tcp_port import TcpPort
from sfu.transport.udp import UdpPort
from sfu.transport.udp_socket import UdpSocket
from tests.support.wire import EXTENSIONS, rtp, vp8

SIZE = 1200


def _read_all(sockets: list[socket.socket]) -> None:
    poll = select.epoll()
    for sock in sockets:
        sock.setblocking(False)
        poll.register(sock.fileno(), select.EPOLLIN)
    by_number = {sock.fileno(): sock for sock in sockets}
    while by_number:
        for number, _ in poll.poll():
            try:
                for _ in range(16):
                    if not by_number[number].recv(262_144):
                        poll.unregister(by_number.pop(number))
                        break
            except BlockingIOError:
                pass


def _pair(tcp: bool) -> tuple[socket.socket, socket.socket]:
    """Our end and the receiver's."""
    kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    receiver = socket.socket(socket.AF_INET, kind)
    receiver.bind(("127.0.0.1", 0))
    ours = socket.socket(socket.AF_INET, kind)
    if not tcp:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        ours.bind(("127.0.0.1", 0))
        return ours, receiver
    receiver.listen()
    ours.connect(receiver.getsockname())
    connected, _ = receiver.accept()
    receiver.close()
    return ours, connected


async def measure(subscribers: int, batch: int, seconds: float, *, tcp: bool, native: bool) -> float:
    settings, profile = Settings(native=native), PROFILES[0]
    key = os.urandom(profile.key + profile.salt)
    engine = Engine(SrtpEncryptor(), segments=True)
    port = UdpPort(settings, engine)
    owner = TcpPort(settings, port, engine)
    pairs = [_pair(tcp) for _ in range(subscribers)]
    child = os.fork()
    if not child:
        for ours, _ in pairs:
            ours.close()
        _read_all([receiver for _, receiver in pairs])
        os._exit(0)
    publisher = engine.open_peer(PeerId(1), 1)
    receive = SrtpSession(profile, key, outbound=False)
    engine.set_srtp_sessions(publisher, receive.handle, receive.handle, profile.tag)
    track = engine.add_track(
        publisher, mid="1", kind="video", codec="VP8", parameters="", clock_rate=90_000, payload_types={96: "VP8"},
        rtx={97: 96}, extensions=EXTENSIONS, rids=(), ssrcs=((11, None),),
    )  # fmt: skip
    keep, sinks = [], []
    for number, (ours, receiver) in enumerate(pairs):
        ours.setblocking(False)
        peer = engine.open_peer(PeerId(number + 2), number + 2)
        context = SrtpSession(profile, os.urandom(len(key)), outbound=True)
        keep.append(context)
        engine.set_srtp_sessions(peer, receive.handle, context.handle, profile.tag)
        if tcp:
            host, number_ = ours.getpeername()
            sink = TcpConnection(ours, (host, number_, "tcp"), owner, asyncio.get_running_loop())
            engine.set_peer_address(peer, sink, sink.address)
            sinks.append(sink)
        else:
            udp = UdpSocket(ours, segments=True)
            engine.set_peer_address(peer, udp, receiver.getsockname())
        down_track = engine.add_down_track(
            track, peer, mid="00", ssrc=number + 100, rtx_ssrc=number + 100_000, payload_type=100, red_payload_type=None,
            rtx_payload_type=101, first_sequence=1, cname="x",
        )  # fmt: skip
        engine.set_target(down_track, track.encodings[""], 0.0)
    for _, receiver in pairs:
        receiver.close() if tcp else None
    sequence, begin, before = 0, time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    while time.monotonic() - begin < seconds:
        now = time.monotonic()
        for index in range(batch):
            sequence += 1
            packet = rtp(
                vp8(key=sequence == 1, picture=sequence & 0x7FFF, begin=index == 0, size=SIZE - 40), ssrc=11,
                sequence=sequence & 0xFFFF, timestamp=sequence // batch * 3000, extensions={4: b"1"},
                marker=index == batch - 1,
            )  # fmt: skip
            engine.receive(publisher, memoryview(packet), len(packet), now)
        engine.flush(now)
        await asyncio.sleep(0.001)  # about 1,000 batches a second: nothing is saturated
    after = resource.getrusage(resource.RUSAGE_SELF)
    forwarded = sum(peer.packets_out for peer in engine.peers.values())
    cpu = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / max(1, forwarded) * 1e6
    dropped = sum(sink.dropped for sink in sinks)
    path = "C" if native and port._native is not None else "Python"
    print(
        f"{'TCP' if tcp else 'UDP'} {path:6} {subscribers:4d} × {batch:2d}: {cpu:6.2f} µs/forwarded "
        f"({forwarded}, {dropped} dropped)"
    )
    for sink in sinks:
        sink.close()
    for ours, _ in pairs:
        ours.close()
    os.kill(child, 9)
    os.waitpid(child, 0)  # noqa: ASYNC222
    return cpu


def main(subscribers: int = 25, batch: int = 8, seconds: float = 2) -> None:
    for native in (True, False) if load() is not None else (False,):
        udp, tcp = (
            asyncio.run(measure(subscribers, batch, seconds, tcp=each, native=native)) for each in (False, True)
        )
        print(f"TCP : UDP {tcp / udp:.2f}")


if __name__ == "__main__":
    main(*[int(word) for word in sys.argv[1:]])
