"""Cost of the loop budget per datagram: CPU with and without it, in alternating rounds of one run.

    python -m tests.bench.loop_budget [rounds]

Datagrams go through the media port of a real server over loopback sockets: sound and video by the C path where it was
built, RTCP and connectivity checks by Python. Without: `LoopBudget` charges nothing and admits everything; two readings of
the clock per datagram of the Python path stay.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sfu.forwarding.loop_budget import LoopBudget
from sfu.rtp import rtcp
from sfu.transport.endpoint import WebRtcEndpoint
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.peer import RawPeer
from tests.support.wire import rtp, vp8
from tests.transport.test_connection import SETTINGS, published

BATCH = 8
BATCHES = 40


@contextmanager
def unlimited() -> Iterator[None]:
    charge, elapsed, admits = LoopBudget.charge, LoopBudget.charge_elapsed, LoopBudget.admits
    LoopBudget.charge = lambda self, seconds, now: None  # type: ignore[method-assign]  # switches the budget off for the comparison
    LoopBudget.charge_elapsed = lambda self, seconds, now: None  # type: ignore[method-assign]  # switches the budget off for the comparison
    LoopBudget.admits = lambda self, now: True  # type: ignore[method-assign]  # switches the budget off for the comparison
    try:
        yield
    finally:
        LoopBudget.charge, LoopBudget.charge_elapsed, LoopBudget.admits = charge, elapsed, admits  # type: ignore[method-assign]  # restores the real methods


class Sender:
    """Datagrams of one publisher, each kind with numbers that go on."""

    def __init__(self, peer: RawPeer) -> None:
        assert peer.tx is not None
        self.peer, self._session, self._number = peer, peer.tx.session, 0

    def sound(self) -> bytes:
        self._number += 1
        number = self._number
        packet = rtp(b"x" * 80, ssrc=1, sequence=number, timestamp=960 * number, payload_type=111, extensions={4: b"0"})
        return self._session.protect(packet)

    def video(self) -> bytes:
        self._number += 1
        number = self._number
        payload = vp8(key=number == 1, picture=number & 0x7FFF, tl0=number & 255, begin=True, size=1_100)
        return self._session.protect(
            rtp(payload, ssrc=2, sequence=number & 0xFFFF, timestamp=3000 * number, extensions={4: b"1"})
        )

    def feedback(self) -> bytes:
        return self._session.protect_rtcp(rtcp.encode_pli(7, 1))


async def main(rounds: int) -> None:
    webrtc_server = WebRtcServer(SETTINGS)
    webrtc_server.open()
    publisher, peer, _ = await published(WebRtcEndpoint(webrtc_server))
    connection = next(iter(webrtc_server.connections))
    port, loop = webrtc_server.port, asyncio.get_running_loop()
    for each in port.sockets:
        loop.remove_reader(each.sock.fileno())

    def measure(send: Callable[[], object]) -> float:
        """Microseconds per datagram, median of batches."""
        found = []
        for _ in range(BATCHES):
            connection.peer.rtcp_budget._credit = 30_000.0
            connection.peer.budget._credit = 1.0
            for _ in range(BATCH):
                send()
            began = time.thread_time()
            port._readable(port.sockets[0])
            found.append((time.thread_time() - began) / BATCH * 1e6)
        return statistics.median(found)

    sound, video = Sender(peer), Sender(peer)
    kinds: dict[str, Callable[[], object]] = {
        "sound": lambda: peer.sock.sendto(sound.sound(), peer.server),
        "VP8": lambda: peer.sock.sendto(video.video(), peer.server),
        "RTCP": lambda: peer.sock.sendto(sound.feedback(), peer.server),
        "connectivity check": peer.check,
    }
    for name, send in kinds.items():
        measure(send)
        with_it: list[float] = []
        without: list[float] = []
        for _ in range(rounds):
            with_it.append(measure(send))
            with unlimited():
                without.append(measure(send))
        one, other = statistics.median(with_it), statistics.median(without)
        print(f"{name}: {one:.2f} us with, {other:.2f} us without: {one / other - 1:+.1%}", flush=True)
    publisher.close()
    peer.close()
    webrtc_server.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 9))
