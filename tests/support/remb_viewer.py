"""A subscriber without transport-wide feedback: stock aiortc's own estimator, one for each picture, and receiver reports."""

import struct

from aiortc.rate import RemoteBitrateEstimator

from sfu.rtp import rtcp
from tests.support.viewer import Viewer
from tests.support.wire import Rtp


class SendTimes:
    """When packets left: what abs-send-time says. Wraps an outlet's `send`."""

    def __init__(self) -> None:
        self.of: dict[tuple[int, int], float] = {}

    def note(self, data: bytes, now: float) -> None:
        if not 191 < data[1] < 224:
            sequence, _, ssrc = struct.unpack_from("!HII", data, 2)
            self.of[ssrc, sequence] = now


class RembViewer(Viewer):
    """`sent` knows when each packet left."""

    sent: SendTimes
    rembs: list[tuple[float, int]]

    def receive(self, data: bytes) -> None:
        super().receive(data)
        if 191 < data[1] < 224:
            return
        packet = Rtp.parse(data)
        if packet.ssrc not in self.screens and packet.ssrc not in self.repairs:
            return
        screen = self.screens.get(packet.ssrc) or self.repairs[packet.ssrc]
        left = self.sent.of.pop((packet.ssrc, packet.sequence), None)
        if left is None:
            return
        if not hasattr(self, "_estimators"):
            self._estimators: dict[int, RemoteBitrateEstimator] = {}
            self.rembs = []
        estimator = self._estimators.setdefault(screen.ssrc, RemoteBitrateEstimator())
        now = self.network.now
        estimate = estimator.add(int(now * 1000), int(left * 262144) & 0xFFFFFF, len(packet.payload), packet.ssrc)
        if estimate is not None:
            bitrate, ssrcs = estimate
            self.rembs.append((now, bitrate))
            self._send(rtcp.encode_remb(77, bitrate, ssrcs))

    def _tell(self) -> None:
        """No transport-wide feedback."""
