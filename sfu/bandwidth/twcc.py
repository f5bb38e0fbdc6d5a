"""Transport-wide congestion control feedback: creates it for senders and parses it from receivers.

Recording runs per packet and only appends. The encoding runs once per feedback, with built-ins over whole lists while
nothing is lost or reordered. draft-holmer-rmcat-transport-wide-cc-extensions-01. The treatment of late packets and
padding follows libwebrtc.
"""

import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import sub
from struct import Struct
from typing import Final, TypeAlias

from sfu.errors import MalformedPacket

Buffer: TypeAlias = bytes | bytearray | memoryview

TICKS_PER_SECOND: Final = 4000
"""Arrival times have a resolution of 250 µs."""
_REFERENCE_TICKS: Final = 256
"""The reference time has a resolution of 64 ms."""
_HISTORY_TICKS: Final = TICKS_PER_SECOND // 2
"""A late packet is reported together with the packets of the last 500 ms, as in libwebrtc."""
PENDING_LIMIT: Final = 8192
_LATE_LIMIT: Final = 4096
"""Sequence numbers. Packets that are later than this are not reported."""
_GAP_LIMIT: Final = 4096
"""A longer gap is not reported as loss: an honest sender does not produce it within one feedback."""
_SIZE_LIMIT: Final = 1150
"""Maximum packet size in bytes. With SRTCP, UDP and IPv6 headers it stays below 1280."""
_COUNT_LIMIT: Final = 4096
"""Maximum number of packets per feedback: more than a second at 30 Mbit/s. A hostile one could claim 65,535 in 32 bytes."""

_TO_TICKS = float(TICKS_PER_SECOND).__mul__
_PACKET = Struct("!BBHIIHHI").pack
_RUN = Struct("!H").pack
_FCI = Struct("!HHI").unpack_from
_CHUNK = Struct("!H").unpack_from
_LARGE = Struct("!h").unpack_from
_LARGE_DELTA = Struct("!h").pack

_TOKENS = re.compile(
    rb"(0{14,8191}|1{14,8191}|2{7,8191}|0{1,13}\Z|1{1,13}\Z|2{1,6}\Z)|([01]{14}|[01]{1,13}\Z)|([012]{1,7})"
).finditer
"""Splits status symbols (as digits) into chunks: runs, vectors of 14 one-bit and of 7 two-bit symbols."""
_FOUR_DIGITS = [f"{n >> 6}{n >> 4 & 3}{n >> 2 & 3}{n & 3}".encode() for n in range(256)]
_THREE_DIGITS = [digits[1:] for digits in _FOUR_DIGITS[:64]]


class Recorder:
    """Records the transport-wide numbers of one peer's packets and creates the feedback.

    Duplicates are reported once, with their first arrival. A sender with erratic numbers gets short feedback or none,
    at bounded cost.
    """

    __slots__ = ("_feedback_count", "_history", "_next", "_pending", "sender_ssrc")

    def __init__(self, sender_ssrc: int) -> None:
        self.sender_ssrc = sender_ssrc
        self._pending: deque[tuple[int, float]] = deque(maxlen=PENDING_LIMIT)
        self._next = -1
        "Unwrapped number after the highest reported one; -1 before the first."
        self._history: deque[tuple[Sequence[int], list[int]]] = deque()
        "Recently reported packets, one entry per feedback: unwrapped numbers and arrivals in ticks."
        self._feedback_count = 0

    def record(self, sequence: int, arrival: float) -> None:
        """`arrival`: monotonic seconds on one common clock."""
        self._pending.append((sequence, arrival))

    def feedback(self, media_ssrc: int) -> list[bytes]:
        """Returns RTCP packets that report everything recorded since the last call.

        `media_ssrc` must be an active SSRC of the sender: Chromium ignores feedback on others.
        """
        if not self._pending:
            return []
        sequences, arrivals = zip(*self._pending)  # noqa: B905 (strict costs time and cannot fail here)
        self._pending.clear()
        ticks = list(map(int, map(_TO_TICKS, arrivals)))
        first = sequences[0]
        count = len(sequences)
        following = self._next
        if following == -1:
            following = first + 0x10000  # room for packets that precede the first one
        numbers: Sequence[int]
        if first == following & 0xFFFF and sequences == tuple(range(first, first + count)):
            numbers = range(following, following + count)
        else:
            offset = following - 0x8000
            numbers = [offset + ((sequence - offset) & 0xFFFF) for sequence in sequences]
            if min(numbers) < following or len(set(numbers)) != count:
                return self._late(media_ssrc, sequences, ticks, numbers, following)
            if sorted(numbers) != numbers:
                numbers, ticks = _sorted(zip(numbers, ticks, strict=True))
        self._remember(numbers, ticks)
        packets: list[bytes] = []
        self._encode(media_ssrc, numbers, ticks, packets)
        return packets

    def _remember(self, numbers: Sequence[int], ticks: list[int]) -> None:
        self._next = max(self._next, numbers[-1] + 1)
        history = self._history
        history.append((numbers, ticks))
        horizon = ticks[-1] - _HISTORY_TICKS
        while len(history) > 1 and (history[0][1][-1] < horizon or len(history) > 32):
            history.popleft()

    def _late(
        self, media_ssrc: int, sequences: tuple[int, ...], ticks: list[int], numbers: list[int], following: int
    ) -> list[bytes]:
        """Handles duplicates and late packets: reports everything from the lowest new number on."""
        known: dict[int, int] = {}
        for old_numbers, old_ticks in self._history:
            known.update(zip(old_numbers, old_ticks, strict=True))
        new: dict[int, int] = {}
        for number, tick in zip(numbers, ticks, strict=True):
            if number >= following - _LATE_LIMIT and number not in known:
                new.setdefault(number, tick)
        if not new:
            if known.keys() >= set(numbers):
                return []  # only duplicates
            self._history.clear()  # all numbers are far behind, so the sender has restarted
            self._next = -1
            self._pending.extend(zip(sequences, [tick / TICKS_PER_SECOND for tick in ticks], strict=True))
            return self.feedback(media_ssrc)
        lowest = min(new)
        reported = {number: tick for number, tick in known.items() if number >= lowest} | new
        self._remember(*_sorted(new.items()))
        packets: list[bytes] = []
        self._encode(media_ssrc, *_sorted(reported.items()), packets)
        return packets

    def _encode(self, media_ssrc: int, numbers: Sequence[int], ticks: list[int], packets: list[bytes]) -> None:
        """Appends as many packets as the limits of deltas, gaps and sizes require. `numbers` are ascending."""
        total = len(numbers)
        base = numbers[0]
        count = numbers[-1] + 1 - base
        body = None
        if count - total <= _GAP_LIMIT:
            body = _encode_body(numbers, count, list(map(sub, ticks, [ticks[0] & -_REFERENCE_TICKS, *ticks])))
        if body is not None and len(body[0]) + len(body[1]) <= _SIZE_LIMIT - 24:
            packets.append(self._packet(media_ssrc, base, count, ticks[0], *body))
        else:
            half = total // 2
            self._encode(media_ssrc, numbers[:half], ticks[:half], packets)
            self._encode(media_ssrc, numbers[half:], ticks[half:], packets)

    def _packet(self, media_ssrc: int, base: int, count: int, first_tick: int, chunks: bytes, deltas: bytes) -> bytes:
        padding = -(len(chunks) + len(deltas)) & 3
        words = 4 + (len(chunks) + len(deltas) + padding) // 4
        feedback_count = self._feedback_count
        self._feedback_count = (feedback_count + 1) & 0xFF
        time = (first_tick // _REFERENCE_TICKS & 0xFFFFFF) << 8 | feedback_count
        if not padding:
            return _PACKET(0x8F, 205, words, self.sender_ssrc, media_ssrc, base & 0xFFFF, count, time) + chunks + deltas
        head = _PACKET(0xAF, 205, words, self.sender_ssrc, media_ssrc, base & 0xFFFF, count, time)
        return head + chunks + deltas + _PADDING[padding]


_BYTES = [bytes([n]) for n in range(256)]
_PADDING = [b"", b"\1", b"\0\2", b"\0\0\3"]


def _encode_body(numbers: Sequence[int], count: int, deltas: list[int]) -> tuple[bytes, bytes] | None:
    """Status chunks and deltas; None if a delta does not fit into 16 bits."""
    base = numbers[0]
    try:
        small = bytes(deltas)
    except ValueError:  # a delta is negative or above one byte
        if min(deltas) < -0x8000 or max(deltas) > 0x7FFF:
            return None
    else:
        if count == len(deltas) <= 0x1FFF:
            return _RUN(0x2000 | count), small
        symbols = bytearray(b"0") * count
        for number in numbers:
            symbols[number - base] = 49
        return encode_chunks(symbols), small
    symbols = bytearray(b"0") * count
    parts = []
    for number, delta in zip(numbers, deltas, strict=True):
        if 0 <= delta <= 255:
            symbols[number - base] = 49
            parts.append(_BYTES[delta])
        else:
            symbols[number - base] = 50
            parts.append(_LARGE_DELTA(delta))
    return encode_chunks(symbols), b"".join(parts)


def _sorted(arrivals: Iterable[tuple[int, int]]) -> tuple[list[int], list[int]]:
    ordered = sorted(arrivals)
    return [number for number, _ in ordered], [tick for _, tick in ordered]


def encode_chunks(symbols: bytes | bytearray) -> bytes:
    """Packet status chunks (draft 3.1.2 to 3.1.4) for a string of digits: 0 (lost), 1 (small delta), 2 (large delta)."""
    words = []
    for match in _TOKENS(symbols):
        token = match[0]
        kind = match.lastindex
        if kind == 1:
            words.append(_RUN((token[0] - 48) << 13 | len(token)))
        elif kind == 2:
            words.append(_RUN(0x8000 | int(token.ljust(14, b"0"), 2)))
        else:
            words.append(_RUN(0xC000 | int(token.ljust(7, b"0"), 4)))
    return b"".join(words)


@dataclass(frozen=True, slots=True)
class Feedback:
    """Parsed feedback of a receiver."""

    base: int
    reference_time: float
    "Seconds on the receiver's clock, which wraps after 12 days."
    count: int
    feedback_count: int
    "Increases by one per feedback, modulo 256."
    ticks: list[int | None]
    "Arrivals of the packets from `base` on, in ticks of 250 µs on the receiver's clock. None: not received."

    @property
    def arrivals(self) -> list[tuple[int, float | None]]:
        """(16-bit number, seconds on the receiver's clock). None: not received."""
        return [
            ((self.base + index) & 0xFFFF, None if tick is None else tick / TICKS_PER_SECOND)
            for index, tick in enumerate(self.ticks)
        ]


def feedback_count(fci: Buffer) -> int:
    """Returns the number of packets in the FCI, a measure of its parsing cost. Raises MalformedPacket."""
    if len(fci) < 8:
        raise MalformedPacket("transport-wide feedback is truncated")
    count: int = _FCI(fci)[1]
    return count


def parse_feedback(fci: Buffer) -> Feedback:
    """Parses the FCI of RTPFB format 15, which follows the two SSRCs. Raises MalformedPacket."""
    size = len(fci)
    if size < 8:
        raise MalformedPacket("transport-wide feedback is truncated")
    base, count, time = _FCI(fci)
    if count == 0 or count > _COUNT_LIMIT:
        raise MalformedPacket("transport-wide feedback covers no packets or too many")
    symbols = b""
    at = 8
    while len(symbols) < count:
        if at + 2 > size:
            raise MalformedPacket("transport-wide feedback has too few status chunks")
        (chunk,) = _CHUNK(fci, at)
        at += 2
        if chunk < 0x8000:
            symbols += b"%d" % (chunk >> 13) * min(chunk & 0x1FFF, count)
            if not chunk & 0x1FFF:
                raise MalformedPacket("transport-wide feedback has an empty run")
        elif chunk < 0xC000:
            symbols += b"%014d" % int(f"{chunk & 0x3FFF:b}")
        else:
            symbols += _FOUR_DIGITS[chunk >> 6 & 0xFF] + _THREE_DIGITS[chunk & 0x3F]
    symbols = symbols[:count]
    reference = (time >> 8) * _REFERENCE_TICKS
    ticks: list[int | None]
    if symbols.count(b"1") == count:
        if at + count > size:
            raise MalformedPacket("transport-wide feedback has too few deltas")
        ticks = list(accumulate(fci[at : at + count], initial=reference))
        del ticks[0]
    else:
        ticks = _mixed_ticks(fci, at, symbols, reference)
    return Feedback(base, reference / TICKS_PER_SECOND, count, time & 0xFF, ticks)


def _mixed_ticks(fci: Buffer, at: int, symbols: bytes, tick: int) -> list[int | None]:
    small, large = symbols.count(b"1"), symbols.count(b"2")
    if symbols.count(b"3"):
        raise MalformedPacket("transport-wide feedback uses the reserved symbol")
    if at + small + 2 * large > len(fci):
        raise MalformedPacket("transport-wide feedback has too few deltas")
    ticks: list[int | None] = []
    for symbol in symbols:
        if symbol == 48:
            ticks.append(None)
            continue
        if symbol == 49:
            tick += fci[at]
            at += 1
        else:
            tick += _LARGE(fci, at)[0]
            at += 2
        ticks.append(tick)
    return ticks
