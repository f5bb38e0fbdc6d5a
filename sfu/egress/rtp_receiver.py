"""What comes in on the worker's media socket: runs of plain RTP and RTCP → coded frames of known streams.

The other end is `sfu.transport.plain_transport`, which defines the messages. The server names the streams beforehand;
packets of other streams are dropped. The server merges and throttles keyframe requests.
"""

import logging
import socket
import struct
from collections.abc import Callable
from typing import Final, Protocol

from sfu.errors import MalformedPacket
from sfu.rtp import rtcp
from sfu.rtp.frames import CodedFrame, FrameAssembler
from sfu.rtp.timestamp_repair import TimestampRepair

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES: Final = 65_536 + 2
BATCH: Final = 64
"""Messages taken at once, so that commands get their turn."""
KEYFRAME_REQUEST_INTERVAL: Final = 0.3
"""Seconds between two requests for a keyframe of one stream."""
CLOCK_RATES: Final = {"audio": 48_000, "video": 90_000}
_SIZE: Final = struct.Struct("!H")
_SSRC: Final = struct.Struct("!I").unpack_from


class Clock(Protocol):
    """Of one track: a `sfu.mixer.playout_sync.TrackClock`."""

    def receive_frame(self, timestamp: int, arrival: float) -> None: ...

    def receive_report(self, ntp: int, rtp_timestamp: int, now: float) -> None: ...


class InboundStream:
    """One stream: its packets become frames on an even clock, and its reports set that clock."""

    def __init__(self, ssrc: int, codec: str, *, audio: bool, clock: Clock, take: Callable[[CodedFrame], None]) -> None:
        self.ssrc = ssrc
        self.assembler = FrameAssembler(codec, audio=audio)
        self.steps = TimestampRepair(CLOCK_RATES["audio" if audio else "video"])
        self.clock = clock
        self.take = take
        self.wanted = True
        """Whether its frames are needed now; keyframes are not asked for otherwise."""
        self.needs_keyframe: Callable[[], bool] = bool
        """Whether whoever takes the frames needs a keyframe, though none was lost on the way."""
        self.keyframe_requested_at = float("-inf")
        self.frames = 0


class RtpReceiver:
    """Used by the receiving thread; `send` by every thread."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.streams: dict[int, InboundStream] = {}
        self.packets = self.unknown = self.malformed = self.unsent = 0
        self.keyframe_wanted: Callable[[], None] = lambda: None
        """Called when somebody who takes the programme as a track needs a keyframe of it."""
        self._memory = memoryview(bytearray(MAX_MESSAGE_BYTES))

    def fileno(self) -> int:
        return self.sock.fileno()

    def readable(self, now: float) -> bool:
        """Takes what is there; False: the server is gone."""
        memory = self._memory
        for _ in range(BATCH):
            try:
                count = self.sock.recv_into(memory)
            except (BlockingIOError, InterruptedError):
                return True
            except OSError:
                return False
            if not count:
                return False
            self._receive(memory[:count], now)
        return True

    def handle_timer(self, now: float) -> None:
        """Some ten times a second: gaps are given up, keyframes asked for again."""
        for stream in self.streams.values():
            self._deliver(stream, stream.assembler.handle_timer(now))
            self._take(stream, stream.steps.handle_timer(now))
            self._request_keyframe(stream, now)

    def send(self, packets: list[bytes]) -> None:
        """RTP or RTCP to the server, in as few messages as sizes allow; dropped when it does not read."""
        at = 0
        while at < len(packets):
            size, end = len(packets[at]), at + 1
            while (
                end < len(packets) and len(packets[end - 1]) == size >= len(packets[end]) and (end - at) * size < 60_000
            ):
                end += 1
            try:
                self.sock.send(_SIZE.pack(size) + b"".join(packets[at:end]))
            except OSError:
                self.unsent += 1
            at = end

    def _receive(self, message: memoryview, now: float) -> None:
        size = _SIZE.unpack_from(message)[0] if len(message) > 2 else 0
        if size < 12:
            self.malformed += 1
            return
        for at in range(2, len(message), size):
            packet = message[at : at + size]
            if len(packet) < 12:
                self.malformed += 1
            elif 191 < packet[1] < 224:
                self._report(packet, now)
            else:
                self._media(packet, now)

    def _media(self, packet: memoryview, now: float) -> None:
        stream = self.streams.get(_SSRC(packet, 8)[0])
        if stream is None:
            self.unknown += 1
            return
        self.packets += 1
        try:
            frames = stream.assembler.receive(packet, now)
        except MalformedPacket:
            self.malformed += 1
            return
        self._deliver(stream, frames)
        if stream.assembler.wants_keyframe:
            self._request_keyframe(stream, now)

    def _deliver(self, stream: InboundStream, frames: list[CodedFrame]) -> None:
        for frame in frames:
            self._take(stream, stream.steps.receive(frame))

    def _take(self, stream: InboundStream, frames: list[CodedFrame]) -> None:
        for frame in frames:
            stream.frames += 1
            stream.clock.receive_frame(frame.timestamp, frame.arrival)
            stream.take(frame)

    def _request_keyframe(self, stream: InboundStream, now: float) -> None:
        if (
            stream.wanted
            and (stream.assembler.wants_keyframe or stream.needs_keyframe())
            and now - stream.keyframe_requested_at >= KEYFRAME_REQUEST_INTERVAL
        ):
            stream.keyframe_requested_at = now
            self.send([rtcp.encode_pli(1, stream.ssrc)])

    def _report(self, packet: memoryview, now: float) -> None:
        try:
            packets = rtcp.parse(packet)
        except MalformedPacket:
            self.malformed += 1
            return
        for each in packets:
            if isinstance(each, rtcp.SenderReport) and (stream := self.streams.get(each.ssrc)) is not None:
                timestamp = stream.steps.report(each.ntp, each.rtp_timestamp, now)
                stream.clock.receive_report(each.ntp, timestamp, now)
            elif isinstance(each, rtcp.PictureLossIndication | rtcp.FullIntraRequest):
                self.keyframe_wanted()
