"""A packet log (sfu.forwarding.packet_log) played again: its publishers in the virtual network, its paths in the estimator.

`python -m tests.support.replay FILE` prints what the file holds and what each path would be estimated at by this code.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfu.bandwidth.settings import Settings
from sfu.bandwidth.twcc import parse_feedback
from sfu.forwarding.downlink import Downlink
from sfu.rtp import rtcp
from tests.support.network import Network
from tests.support.simulcast import Send
from tests.support.wire import rtp

LOOK = 0.05


@dataclass
class RecordedTrack:
    number: int
    peer: int
    mid: str
    kind: str
    codec: str
    parameters: str
    clock_rate: int
    packets: list[tuple[float, str, list[Any]]] = field(default_factory=list)
    """(when, rid, [sequence, timestamp, marker, size, extra, head])."""

    @property
    def rids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(rid for _, rid, _ in self.packets))


@dataclass
class Recording:
    tracks: dict[int, RecordedTrack] = field(default_factory=dict)
    paths: dict[int, list[tuple[float, str, Any]]] = field(default_factory=dict)
    """By peer: (when, "sent" or "rtcp", what)."""


def read(lines: Iterable[str]) -> Recording:
    """Raises ValueError for what is no packet log."""
    found = Recording()
    for line in lines:
        kind, *values = json.loads(line)
        if kind == "track":
            found.tracks[values[0]] = RecordedTrack(*values)
        elif kind == "rtp":
            when, number, rid, packets = values
            found.tracks[number].packets += [(when, rid, packet) for packet in packets]
        elif kind == "rtcp":
            when, peer, data = values
            found.paths.setdefault(peer, []).append((when, "rtcp", bytes.fromhex(data)))
        elif kind == "sent":
            when, peer, number, sizes = values
            found.paths.setdefault(peer, []).append((when, "sent", (number, sizes)))
        else:
            raise ValueError(f"no row of a packet log: {line[:80]!r}")
    return found


@dataclass(frozen=True)
class Estimate:
    when: float
    target: float
    "Bits per second."
    acked: float
    queue: float
    "Seconds."
    loss: float


def estimates(path: list[tuple[float, str, Any]], settings: Settings | None = None) -> Iterator[Estimate]:
    """Estimates of the current code for a recorded path, 20 per second; empty without recorded feedback."""
    if not any(kind == "sent" for _, kind, _ in path):
        return
    begin = path[0][0]
    downlink = Downlink(settings or Settings(), lambda key: (), begin)
    look = begin
    for when, kind, what in path:
        while look <= when:
            downlink.handle_timer(look)
            estimator = downlink.estimator
            yield Estimate(look, estimator.target, estimator.acked or 0.0, estimator.queue_delay, estimator.loss)
            look += LOOK
        if kind == "sent":
            downlink.estimator.on_sent((*what, when))
            continue
        for packet in rtcp.parse(what):
            if isinstance(packet, rtcp.TransportFeedback):
                downlink.receive_feedback(parse_feedback(packet.fci), when)
            elif isinstance(packet, rtcp.Remb):
                downlink.receive_remb(packet.bitrate, when)


class RecordedCamera:
    """Sends a recorded picture's packets at their times again; what it is asked for changes nothing."""

    def __init__(self, network: Network, send: Send, recorded: RecordedTrack, *, mid: str = "1") -> None:
        self.recorded = recorded
        self.plis = 0
        self.sent = 0
        begin = recorded.packets[0][0]
        rids = recorded.rids
        for when, rid, (sequence, timestamp, marker, size, extra, head) in recorded.packets:
            payload = bytes.fromhex(head)[extra:]
            body = payload.ljust(max(len(payload), size - 22 - extra), b"\0")
            data = rtp(
                body, ssrc=11 + rids.index(rid), sequence=sequence, timestamp=timestamp, payload_type=96, marker=marker,
                extensions={4: mid.encode(), 10: rid.encode()},
            )  # fmt: skip
            network.after(when - begin, self._packet, send, data)

    def _packet(self, send: Send, data: bytes) -> None:
        self.sent += 1
        send(data)

    def receive(self, data: bytes) -> None:
        self.plis += sum(isinstance(packet, rtcp.PictureLossIndication) for packet in rtcp.parse(data))


def _print(path: Path) -> None:
    with path.open() as lines:
        recording = read(lines)
    for track in recording.tracks.values():
        size = sum(packet[3] for _, _, packet in track.packets)
        print(f"track {track.number} of peer {track.peer}: {track.codec}, {len(track.packets)} packets, {size} bytes")
    for peer, rows in recording.paths.items():
        for number, estimate in enumerate(estimates(rows)):
            if number % 20 == 0:
                print(
                    f"peer {peer}  {estimate.when:9.2f} s  target {estimate.target / 1e6:6.2f}  arrives"
                    f" {estimate.acked / 1e6:6.2f} Mbit/s  queue {estimate.queue * 1000:5.0f} ms  loss {estimate.loss:.3f}"
                )


if __name__ == "__main__":
    _print(Path(sys.argv[1]))
