"""A WHEP viewer on a path that becomes narrow: a lower layer, no long freeze, little delay.

The path is real: a network namespace behind a link with a rate and a queue. The camera has three layers.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from sfu.sdp import capabilities as caps
from sfu.transport.settings import Settings as TransportSettings
from tests.bench import descriptions
from tests.support import impaired, simulcast
from tests.support.network import Network
from tests.support.peer import RawPeer
from tests.support.simulcast import Camera
from tests.support.viewer import Screen, Viewer
from tests.support.whip import WhipServer, encoder_token, whip_server
from tests.support.wire import Rtp

pytestmark = [
    pytest.mark.quiet,  # freezes and delays are judged
    pytest.mark.skipif(bool(impaired.possible()), reason=impaired.possible() or "possible"),
]
WIDE, NARROW = 5_000_000, 700_000
"""Bits per second: enough for the layer of 1.7 Mbit/s; enough for that of 500 kbit/s."""
QUEUE = 0.3
"""Seconds of the link's queue."""
EXTENSIONS = (caps.URI_MID, caps.URI_TRANSPORT_CC, caps.URI_ABS_SEND_TIME)


class Stage:
    """A camera near the server and a viewer at the far host, in real time."""

    def __init__(self, server: WhipServer, line: impaired.Line) -> None:
        self.server, self.line = server, line
        self.network = Network(1, start=time.monotonic())
        self.delays: list[tuple[float, float]] = []
        """(when, seconds since capture, up to a constant) of each video packet."""

    async def publish(self) -> None:
        self.sender = self.server.peer()
        local = descriptions.Local(self.sender.ufrag, self.sender.pwd, self.sender.identity.fingerprint, 9)
        answer = await self.server.post(descriptions.offer(local, 21, 11, ("q", "h", "f")))
        assert answer.status == 201, answer
        await self.server.connect(self.sender, answer.text)
        self.camera = Camera(self.network, self._send)

    def _send(self, packet: bytes) -> None:
        control = 191 < packet[1] < 224
        assert self.sender.tx is not None
        seal = self.sender.tx.session.protect_rtcp if control else self.sender.tx.session.protect
        self.sender.sock.sendto(seal(packet), self.sender.server)

    async def watch(self) -> Screen:
        with self.line.there():
            self.receiver = RawPeer(host=impaired.FAR)
        self.server.peers.append(self.receiver)
        answer = await self.server.ask("POST", "/whep/standup/obs", offer(self.receiver), token=encoder_token("eve"))
        assert answer.status == 201, answer
        await self.server.connect(self.receiver, answer.text)
        self.viewer = Viewer(self.network, self._answer)
        group = next(line for line in answer.text.split("\r\n") if line.startswith("a=ssrc-group:FID"))
        self.screen = self.viewer.watch(*map(int, group.split()[1:]))
        return self.screen

    def _answer(self, packet: bytes) -> None:
        assert self.receiver.tx is not None
        self.receiver.sock.sendto(self.receiver.tx.session.protect_rtcp(packet), self.receiver.server)

    def step(self) -> None:
        self.network.run(time.monotonic())
        for control, packet in opened(self.sender):
            if control:
                self.camera.receive(packet)
        for control, packet in opened(self.receiver):
            self.viewer.receive(packet)
            if not control:
                found = Rtp.parse(packet)
                if found.ssrc == self.screen.ssrc and found.payload:
                    captured = found.timestamp / 90_000
                    self.delays.append((self.network.now, self.network.now - captured))

    async def until(self, done: Callable[[], object], seconds: float) -> float:
        """Seconds until `done`."""
        begin = time.monotonic()
        while not done():
            assert time.monotonic() - begin < seconds, "the condition did not come true in time"
            self.step()
            await asyncio.sleep(0.004)
        return time.monotonic() - begin

    async def run(self, seconds: float) -> tuple[float, float]:
        """The interval that has passed."""
        begin = time.monotonic()
        await self.until(lambda: time.monotonic() > begin + seconds, seconds + 10)
        return begin, time.monotonic()


def opened(peer: RawPeer) -> list[tuple[bool, bytes]]:
    """(RTCP or not, packet) since the last call."""
    assert peer.rx is not None
    peer.pump()
    data, peer.received = peer.received, []
    return [
        (control, peer.rx.session.unprotect_rtcp(each) if control else peer.rx.session.unprotect(each))
        for each in data
        if 127 < each[0] < 192
        for control in [191 < each[1] < 224]
    ]


def offer(peer: RawPeer) -> str:
    """Receives, with transport-wide feedback under the ids that the server uses itself."""
    numbers = "".join(f"a=extmap:{caps.OUT_EXTENSION_IDS[uri]} {uri}\r\n" for uri in EXTENSIONS)
    sdp = peer.offer().replace("a=sendonly", "a=recvonly")
    sdp = sdp.replace(f"a=extmap:4 {caps.URI_MID}\r\n", numbers)
    return sdp.replace("a=rtcp-fb:96 nack\r\n", "a=rtcp-fb:96 nack\r\na=rtcp-fb:96 transport-cc\r\n")


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    transport = TransportSettings(udp_port=0, bind=("0.0.0.0",), announce=(impaired.NEAR,))
    with impaired.own_namespace():
        async with impaired.far_host() as line, whip_server(transport=transport) as server:
            yield Stage(server, line)


async def test_a_whep_viewer_on_a_path_that_becomes_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulcast, "PAYLOAD", 800)  # the camera's packets are up to 1.5 times as long
    async with stage() as running:
        for direction in ("out", "back"):
            await running.line.set(direction, delay=0.02)
        await running.line.set("out", rate=WIDE, queue=QUEUE)
        await running.publish()
        screen = await running.watch()
        await running.until(lambda: screen.height == 720, 20)
        await running.run(0.5)
        usual = min(delay for _, delay in running.delays)
        narrow = time.monotonic()
        await running.line.set("out", rate=NARROW)
        await running.until(lambda: screen.height < 720, 15)
        await running.run(2.0)
        begin, end = await running.run(3.0)
        late = sorted(delay - usual for when, delay in running.delays if begin <= when < end)
        worst = max(delay - usual for when, delay in running.delays if narrow <= when < end)
        shown = [when for when, _, _ in screen.shown if narrow <= when < end]
        pause = max(after - before for before, after in itertools.pairwise(shown))
        print(f"longest pause {pause:.2f} s, delay {worst:.2f} s, later {late[len(late) * 95 // 100]:.2f} s (p95)")
        assert pause < 3.0
        assert worst < 3.0
        assert screen.frozen(begin, end) < 0.1
        assert late[len(late) * 95 // 100] < 1.0
