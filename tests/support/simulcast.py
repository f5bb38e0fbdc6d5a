"""Simulated publishers: a camera with simulcast layers that adapts to the feedback it gets, and a microphone."""

import struct
from collections import deque
from collections.abc import Callable

from sfu.bandwidth.estimator import Estimator
from sfu.bandwidth.settings import Settings
from sfu.bandwidth.twcc import parse_feedback
from sfu.rtp import rtcp
from tests.support.network import Network
from tests.support.wire import rtp

WALL = 3_000_000_000.0
"""Wall clock of the virtual world: seconds since 1900 when its clock says 0."""
FPS = 30
PAYLOAD = 1100
Send = Callable[[bytes], object]


TEMPORAL = ((0, 1.6, True), (2, 0.8, True), (1, 0.8, True), (2, 0.8, False), (0, 1.6, True), (2, 0.8, False),
            (1, 0.8, False), (2, 0.8, False))  # fmt: skip
"""(temporal layer, share of the mean size, layer sync) of libwebrtc's pattern of three layers: 40, 20 and 40 % of the bits."""


def picture(
    picture_id: int, tl0: int, size: int, *, begin: bool, key: bool, width: int, height: int, temporal: int = 0,
    sync: bool = True,
) -> bytes:  # fmt: skip
    """A VP8 packet's payload (RFC 7741 4.2) of about `size` bytes."""
    layer = temporal << 6 | (0x20 if sync else 0)
    head = bytes((0x90 if begin else 0x80, 0xE0, 0x80 | picture_id >> 8 & 0x7F, picture_id & 0xFF, tl0 & 0xFF, layer))
    frame = b""
    if begin:
        frame = bytes((0x10 if key else 0x11, 0, 0))
        if key:
            frame += b"\x9d\x01\x2a" + struct.pack("<HH", width, height)
    return (head + frame).ljust(max(size, 20), b"\0")


class Simulcast:
    """One layer: its stream and its encoder."""

    def __init__(
        self, rid: str, ssrc: int, width: int, height: int, rate: float, *, temporal: bool = False
    ) -> None:  # fmt: skip
        self.rid, self.ssrc, self.rtx_ssrc = rid, ssrc, ssrc + 100
        self.width, self.height, self.rate = width, height, rate
        self.sequence, self.rtx_sequence, self.picture = 1000, 1, 1
        self.key_wanted = True
        self.kept: dict[int, tuple[int, bytes, bool]] = {}
        self.active = True
        self.packets = self.octets = self.keyframes = 0
        self.temporal, self.step, self.lowest = temporal, 0, 1
        """Whether there are three temporal layers; place in their pattern; TL0PICIDX."""


def three_layers(*, temporal: bool = False) -> list[Simulcast]:
    """Layers that browsers send of a 720p camera; `temporal`: with three temporal layers each (L1T3)."""
    return [
        Simulcast("q", 11, 320, 180, 150e3, temporal=temporal),
        Simulcast("h", 12, 640, 360, 500e3, temporal=temporal),
        Simulcast("f", 13, 1280, 720, 1.7e6, temporal=temporal),
    ]


class Camera:
    """Sends through `send`, hears RTCP through `receive`. Layers that the uplink cannot carry stop, the largest first."""

    def __init__(
        self, network: Network, send: Send, *, mid: str = "1", layers: list[Simulcast] | None = None,
        settings: Settings | None = None,
    ) -> None:  # fmt: skip
        self.network, self._send, self.mid = network, send, mid
        self.layers = layers or three_layers()
        self.estimator = Estimator(settings or Settings(start=2.5e6))
        self.number = 0
        self.plis = 0
        self._queue: deque[tuple[Simulcast, bytes, int, bool, bool]] = deque()
        self._budget = 0.0
        self._random = network.random
        network.every(1 / FPS, self._frame, first=network.random.random() / FPS)
        network.every(0.005, self._pace)
        network.every(1.0, self._report, first=0.1)
        network.every(0.05, self._tick)

    def _tick(self) -> None:
        desired_rate = 1.1 * sum(layer.rate for layer in self.layers)
        self.estimator.handle_timer(self.network.now, desired_rate=desired_rate, ceiling=desired_rate)

    def _frame(self) -> None:
        timestamp = int(self.network.now * 90_000) & 0xFFFFFFFF
        left = self.estimator.target
        for layer in self.layers:
            active = left >= layer.rate * 0.6
            if active and not layer.active:
                layer.key_wanted = True
            layer.active = active
            if not active:
                continue
            rate = min(layer.rate, left)
            left -= rate
            size = rate / 8 / FPS * max(0.4, self._random.gauss(0.93, 0.12))
            key, layer.key_wanted = layer.key_wanted, False
            if key:
                size *= 5
                layer.keyframes += 1
            layer.picture = (layer.picture + 1) & 0x7FFF
            layer.step = 0 if key or not layer.temporal else (layer.step + 1) % len(TEMPORAL)
            temporal, weight, sync = TEMPORAL[layer.step]
            layer.lowest += temporal == 0
            size *= weight if layer.temporal and not key else 1.0
            count = max(1, round(size / PAYLOAD))
            for index in range(count):
                body = picture(
                    layer.picture, layer.lowest, int(size / count), begin=index == 0, key=key,
                    width=layer.width, height=layer.height, temporal=temporal, sync=sync,
                )  # fmt: skip
                self._queue.append((layer, body, timestamp, index == count - 1, False))

    def _pace(self) -> None:
        rate = min(self.estimator.target * 2.5, 20e6) / 8 * 0.005
        self._budget = min(rate, self._budget + rate)
        while self._queue and self._budget > 0:
            layer, body, timestamp, marker, repair = self._queue.popleft()
            if repair:
                data = self._packet(
                    layer.rtx_ssrc, layer.rtx_sequence, timestamp, body, 97, {11: layer.rid.encode()}, marker
                )
                layer.rtx_sequence = (layer.rtx_sequence + 1) & 0xFFFF
            else:
                data = self._packet(layer.ssrc, layer.sequence, timestamp, body, 96, {10: layer.rid.encode()}, marker)
                layer.kept[layer.sequence] = (timestamp, body, marker)
                layer.kept.pop((layer.sequence - 600) & 0xFFFF, None)
                layer.sequence = (layer.sequence + 1) & 0xFFFF
                layer.packets += 1
                layer.octets += len(body)
            self._budget -= len(data)
            self._send(data)
        padding = self.estimator.padding(self.network.now, 0.005)
        if padding > PAYLOAD:
            layer = self.layers[0]
            for _ in range(padding // PAYLOAD):
                sequence = (layer.sequence - 1) & 0xFFFF
                if sequence not in layer.kept:
                    break
                body = (struct.pack("!H", sequence) + layer.kept[sequence][1]).ljust(PAYLOAD, b"\0")
                data = self._packet(layer.rtx_ssrc, layer.rtx_sequence, 0, body, 97, {11: layer.rid.encode()}, False)
                layer.rtx_sequence = (layer.rtx_sequence + 1) & 0xFFFF
                self._send(data)

    def _packet(
        self, ssrc: int, sequence: int, timestamp: int, body: bytes, payload_type: int, names: dict[int, bytes],
        marker: bool,
    ) -> bytes:  # fmt: skip
        number, self.number = self.number, (self.number + 1) & 0xFFFF
        data = rtp(
            body, ssrc=ssrc, sequence=sequence, timestamp=timestamp, payload_type=payload_type, marker=marker,
            extensions={4: self.mid.encode(), **names, 3: struct.pack("!H", number)},
        )  # fmt: skip
        self.estimator.sent(number, [len(data)], self.network.now)
        return data

    def _report(self) -> None:
        now = self.network.now
        for layer in self.layers:
            if layer.packets:
                ntp, timestamp = int((now + WALL) * (1 << 32)), int(now * 90_000) & 0xFFFFFFFF
                report = rtcp.SenderReport(layer.ssrc, ntp, timestamp, layer.packets, layer.octets)
                self._send(rtcp.encode_sender_report(report))

    def receive(self, data: bytes) -> None:
        """RTCP of the server."""
        for packet in rtcp.parse(data):
            if isinstance(packet, rtcp.PictureLossIndication):
                self.plis += 1
                for layer in self.layers:
                    layer.key_wanted = True
            elif isinstance(packet, rtcp.TransportFeedback):
                self.estimator.receive_feedback(parse_feedback(packet.fci), self.network.now)
            elif isinstance(packet, rtcp.Nack):
                for layer in self.layers:
                    if layer.ssrc == packet.media_ssrc:
                        for sequence in packet.lost:
                            if sequence in layer.kept:
                                timestamp, body, marker = layer.kept[sequence]
                                again = struct.pack("!H", sequence) + body
                                self._queue.appendleft((layer, again, timestamp, marker, True))


class Microphone:
    """Opus, 20 ms a packet, 40 kbit/s."""

    def __init__(self, network: Network, send: Send, *, mid: str = "0", ssrc: int = 21) -> None:
        self.network, self._send, self.mid, self.ssrc = network, send, mid, ssrc
        self.sequence = 1
        self.level = 30
        "−dBov."
        network.every(0.02, self._packet, first=network.random.random() / 50)

    def _packet(self) -> None:
        self.sequence = (self.sequence + 1) & 0xFFFF
        self._send(
            rtp(
                bytes(100),
                ssrc=self.ssrc,
                sequence=self.sequence,
                timestamp=self.sequence * 960,
                payload_type=111,
                extensions={4: self.mid.encode(), 1: bytes((self.level,))},
            )
        )

    def receive(self, data: bytes) -> None:
        """Nothing that a server says changes what is sent."""
