"""A simulated subscriber: jitter buffers, NACK, PLI, transport-wide feedback and receiver reports, as a browser does it."""

import struct
from collections.abc import Callable

from sfu.bandwidth.twcc import Recorder
from sfu.rtp import rtcp
from sfu.rtp.nack import NackGenerator
from sfu.rtp.sequence import SequenceUnwrapper
from sfu.sdp.capabilities import OUT_EXTENSION_IDS, URI_TRANSPORT_CC
from tests.support.network import Network
from tests.support.wire import Rtp

TWCC = OUT_EXTENSION_IDS[URI_TRANSPORT_CC]
WAIT = 0.4
"""Seconds that a picture may be missing before a keyframe is asked for."""
PLI_EVERY = 0.6
FRAME = 1 / 30
BUFFER = 0.15
"""Seconds that a frame waits to be shown: about a repair's time on the paths of the scenarios."""
GIVE_UP = 3.0


class Screen:
    """One video stream: packets become frames, frames are shown when nothing before them is missing."""

    def __init__(self, ssrc: int, rtx_ssrc: int) -> None:
        self.ssrc, self.rtx_ssrc = ssrc, rtx_ssrc
        self.missing = NackGenerator()
        self.shown: list[tuple[float, int, bool]] = []
        """(when, lines, keyframe)."""
        self.received = self.repaired = self.expected_from = 0
        self.bytes = 0
        self.media: list[tuple[float, int]] = []
        """(when, bytes) of all packets, padding and repairs too."""
        self.width = self.height = 0
        self.blocked_since: float | None = None
        self.asked_at = float("-inf")
        self.plis = 0
        self._packets: dict[int, tuple[bool, bool, bool, bytes]] = {}
        """(begins a frame, ends one, keyframe, its first bytes) by unwrapped number."""
        self._unwrap = SequenceUnwrapper()
        self._highest = -1
        self._next: int | None = None
        """First packet of the next frame; None before the first keyframe."""
        self._fillers: set[int] = set()
        """Numbers that came with nothing but padding."""
        self._keys: list[int] = []
        self.last_fraction = (0, 0)

    def receive(self, sequence: int, marker: bool, payload: bytes, now: float, *, repair: bool) -> None:
        number = self._unwrap.unwrap(sequence)
        if self._highest >= 0 and number > self._highest + 1:
            self.missing.gap(self._highest & 0xFFFF, sequence, now)
        self._highest = max(self._highest, number)
        if not self.expected_from:
            self.expected_from = number
        if number in self._packets or (self._next is not None and number < self._next):
            return
        self.missing.arrived(sequence)
        self.received += not repair
        self.repaired += repair
        begin = bool(payload[0] & 0x10)
        key = begin and not payload[6] & 1
        self._packets[number] = (begin, marker, key, payload[:16])
        if key:
            self._keys.append(number)
        self._show(now)

    def pad(self, sequence: int, now: float) -> None:
        """A packet of nothing but padding: its number is not missing any more."""
        number = self._unwrap.unwrap(sequence)
        if self._highest >= 0 and number > self._highest + 1:
            self.missing.gap(self._highest & 0xFFFF, sequence, now)
        self._highest = max(self._highest, number)
        self.missing.arrived(sequence)
        self._fillers.add(number)
        self.received += 1
        self._show(now)

    def _show(self, now: float) -> None:
        if self._next is None and self._keys:
            self._next = self._keys[0]
        while self._next is not None:
            if self._next in self._fillers:
                self._next += 1
                continue
            end = self._complete(self._next)
            if end is None:
                later = [key for key in self._keys if key > self._next and self._complete(key) is not None]
                if not later:
                    break
                self._next = later[0]  # the way back: whatever was missing before does not matter any more
                continue
            _, _, key, head = self._packets[self._next]
            if key:
                self.width, self.height = struct.unpack_from("<HH", head, 12)
            self.shown.append((now, self.height, key))
            for number in [number for number in self._packets if number <= end]:
                del self._packets[number]
            self._keys = [key for key in self._keys if key > end]
            self._next = end + 1
        self.blocked_since = (
            None if self._next is not None and self._next > self._highest else self.blocked_since or now
        )

    def _complete(self, number: int) -> int | None:
        """The number of the frame's last packet, if all of it is here."""
        packet = self._packets.get(number)
        while packet is not None:
            if packet[1]:
                return number
            number += 1
            packet = self._packets.get(number)
        return None

    def fraction(self) -> int:
        """Of 256, since the last call."""
        expected = self._highest - self.expected_from + 1
        before = self.last_fraction
        self.last_fraction = (expected, self.received)
        lost = expected - before[0] - (self.received - before[1])
        return min(255, max(0, lost) * 256 // max(1, expected - before[0]))

    def frozen(self, begin: float, end: float) -> float:
        """Share of the time that the picture stood still (libwebrtc: longer than 3 frames and 150 ms more than one)."""
        times = [when for when in self._played() if begin <= when < end]
        if len(times) < 2:
            return 1.0
        still = 0.0
        for a, b in zip([begin, *times], [*times, end], strict=True):
            if b - a > max(3 * FRAME, FRAME + 0.15):
                still += b - a
        return still / (end - begin)

    def _played(self) -> list[float]:
        """When frames are on the screen: a jitter buffer keeps time for a repair, and plays faster or slower to do so."""
        played: list[float] = []
        last = float("-inf")
        for when, _, _ in self.shown:
            ahead = last + FRAME - when
            step = FRAME * (0.85 if ahead > BUFFER else 1.05 if ahead < 0.8 * BUFFER else 1.0)
            last = max(when, last + step) if played else when + BUFFER
            played.append(last)
        return played

    def rate(self, begin: float, end: float) -> float:
        return sum(size for when, size in self.media if begin <= when < end) * 8 / (end - begin)


class Speaker:
    """One audio stream: what is not there when it is played is concealed."""

    BUFFER = 0.08

    def __init__(self, ssrc: int) -> None:
        self.ssrc = ssrc
        self.arrived: dict[int, float] = {}
        self._unwrap = SequenceUnwrapper()

    def receive(self, sequence: int, now: float) -> None:
        self.arrived.setdefault(self._unwrap.unwrap(sequence), now)

    def concealed(self) -> float:
        """Share of packets, for a buffer that waits as long as 95 % need and 80 ms."""
        if not self.arrived:
            return 1.0
        first, last = min(self.arrived), max(self.arrived)
        late = sorted(when - (number - first) * 0.02 for number, when in self.arrived.items())
        limit = late[0] + self.BUFFER
        heard = sum(when - (number - first) * 0.02 <= limit for number, when in self.arrived.items())
        return 1 - heard / (last - first + 1)


class Viewer:
    """One subscriber. `send` takes its RTCP."""

    def __init__(self, network: Network, send: Callable[[bytes], object], *, feedback: float = 0.1) -> None:
        self.network, self._send = network, send
        self.recorder = Recorder(77)
        self.screens: dict[int, Screen] = {}
        self.speakers: dict[int, Speaker] = {}
        self.repairs: dict[int, Screen] = {}
        self.rtt = 0.1
        self.padding = 0
        self._reports: dict[int, tuple[int, float]] = {}
        network.every(feedback, self._tell)
        network.every(0.02, self._ask)
        network.every(1.0, self._report, first=0.5)

    def watch(self, ssrc: int, rtx_ssrc: int) -> Screen:
        screen = self.screens[ssrc] = self.repairs[rtx_ssrc] = Screen(ssrc, rtx_ssrc)
        return screen

    def hear(self, ssrc: int) -> Speaker:
        speaker = self.speakers[ssrc] = Speaker(ssrc)
        return speaker

    def receive(self, data: bytes) -> None:
        now = self.network.now
        if 191 < data[1] < 224:
            for packet in rtcp.parse(data):
                if isinstance(packet, rtcp.SenderReport):
                    self._reports[packet.ssrc] = (packet.ntp >> 16 & 0xFFFFFFFF, now)
            return
        packet_ = Rtp.parse(data)
        number = packet_.extensions.get(TWCC)
        if number is not None:
            self.recorder.record(int.from_bytes(number, "big"), now)
        screen = self.screens.get(packet_.ssrc)
        if screen is not None:
            screen.media.append((now, len(data)))
            if packet_.payload:
                screen.receive(packet_.sequence, packet_.marker, packet_.payload, now, repair=False)
            else:
                screen.pad(packet_.sequence, now)
            return
        screen = self.repairs.get(packet_.ssrc)
        if screen is not None:
            screen.media.append((now, len(data)))
            original = int.from_bytes(packet_.payload[:2], "big")
            if len(packet_.payload) == 2:
                screen.pad(original, now)
            elif original in screen.missing.missing:
                screen.receive(original, packet_.marker, packet_.payload[2:], now, repair=True)
            else:
                self.padding += len(data)
            return
        speaker = self.speakers.get(packet_.ssrc)
        if speaker is not None:
            speaker.receive(packet_.sequence, now)

    def _tell(self) -> None:
        media = next(iter(self.screens or self.speakers), 0)
        for packet in self.recorder.feedback(media):
            self._send(packet)

    def _ask(self) -> None:
        now = self.network.now
        for screen in self.screens.values():
            due = screen.missing.due(now, self.rtt)
            if due:
                self._send(rtcp.encode_nack(77, screen.ssrc, due))
            waiting = screen.blocked_since is not None and now - screen.blocked_since > WAIT
            if waiting and now - screen.asked_at > PLI_EVERY:
                screen.asked_at = now
                screen.plis += 1
                self._send(rtcp.encode_pli(77, screen.ssrc))

    def _report(self) -> None:
        now = self.network.now
        blocks = []
        for screen in self.screens.values():
            if screen.received:
                lsr, when = self._reports.get(screen.ssrc, (0, now))
                blocks.append(
                    rtcp.ReportBlock(
                        screen.ssrc, screen.fraction(), 0, screen._highest, 0, lsr, int((now - when) * 65536)
                    )
                )
        if blocks:
            self._send(rtcp.encode_receiver_report(rtcp.ReceiverReport(77, tuple(blocks))))
