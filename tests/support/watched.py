"""A subscriber of many packets, for tests and benchmarks of the cost of its RTCP."""

from sfu.bandwidth.settings import Settings
from sfu.forwarding.downlink import Downlink
from tests.support.cost import operations
from tests.support.wire import Bench, Wire, rtp, vp8

SENT = 6_000


class Viewer:
    """A subscriber with a downlink and many routes that has been sent `SENT` packets."""

    def __init__(self, down_tracks: int = 4) -> None:
        self.bench, self.wire = Bench(), Wire()
        self.track = self.bench.video()
        self.peer = self.bench.peer(self.wire)
        self.peer.downlink = Downlink(Settings(), lambda key: (), self.bench.now)
        self.down_tracks = [
            self.bench.down_track(self.track, self.peer, number=number) for number in range(down_tracks)
        ]
        for down_track in self.down_tracks:
            self.bench.engine.set_target(down_track, self.track.encodings["q"], self.bench.now)
            down_track.on_sent = self.peer.downlink.estimator.on_sent
        for number in range(SENT // down_tracks):
            self.send(number)
            if not number % 50:
                self.peer.downlink.estimator.handle_timer(self.bench.now)
        self.bench.now += 0.1
        self.peer.downlink.estimator.handle_timer(self.bench.now)
        self.wire.take()

    def send(self, number: int) -> None:
        payload = vp8(key=number == 0, picture=number, size=100)
        layer = {4: b"1", 10: b"q"}
        self.bench.send(rtp(payload, ssrc=11, sequence=1 + number, timestamp=3000 * number, extensions=layer))
        self.bench.now += 0.001

    def hear(self, data: bytes) -> int:
        return operations(lambda: self.bench.engine.receive_rtcp(self.peer, data, self.bench.now, 4e9))
