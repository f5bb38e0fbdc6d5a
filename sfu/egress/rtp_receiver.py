"""Reads batches of plain RTP and RTCP from the worker's media socket and assembles coded frames of known streams.

The peer is `sfu.transport.plain_transport`, which defines the messages. The server announces streams before their
packets; packets of unknown streams are dropped. The server merges and throttles keyframe requests.
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
MAX_MESSAGES_PER_READ: Final = 64
"""Messages read per call, so that control messages are not delayed."""
KEYFRAME_REQUEST_INTERVAL: Final = 0.3
"""Minimum seconds between two keyframe requests for one stream."""
CLOCK_RATES: Final = {"audio": 48_000, "video": 90_000}
_SIZE: Final = struct.Struct("!H")
_SSRC: Final = struct.Struct("!I").unpack_from


class Clock(Protocol):
    """Clock of one track; see `sfu.mixer.playout_sync.TrackClock`."""

    def receive_frame(self, timestamp: int, arrival: float) -> None: ...

    def receive_report(self, ntp: int, rtp_timestamp: int, now: float) -> None: ...


class InboundStream:
    """One stream: assembles packets into frames with repaired timestamps, and sets the clock from sender reports."""

    def __init__(self, ssrc: int, codec: str, *, audio: bool, clock: Clock, take: Callable[[CodedFrame], None]) -> None:
        self.ssrc = ssrc
        self.assembler = FrameAssembler(codec, audio=audio)
        self.timestamps = TimestampRepair(CLOCK_RATES["audio" if audio else "video"])
        self.clock = clock
        self.take = take
        self.wanted = True
        """Whether frames are needed now. Otherwise no keyframes are requested."""
        self.needs_keyframe: Callable[[], bool] = bool
        """Whether the decoder needs a keyframe, although no packet was lost."""
        self.keyframe_requested_at = float("-inf")
        self.frames = 0


class RtpReceiver:
    """The receiving thread calls all methods; any thread may call `send`."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.streams: dict[int, InboundStream] = {}
        self.packets = self.unknown = self.malformed = self.unsent = 0
        self.keyframe_wanted: Callable[[], None] = lambda: None
        """Called when a subscriber of the mix requests a keyframe."""
        self._memory = memoryview(bytearray(MAX_MESSAGE_BYTES))

    def fileno(self) -> int:
        return self.sock.fileno()

    def readable(self, now: float) -> bool:
        """Reads the waiting messages; False: the server closed the socket."""
        memory = self._memory
        for _ in range(MAX_MESSAGES_PER_READ):
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
        """Gives up on missing packets and repeats keyframe requests. Call it about ten times per second."""
        for stream in self.streams.values():
            self._deliver(stream, stream.assembler.handle_timer(now))
            self._take(stream, stream.timestamps.handle_timer(now))
            self._request_keyframe(stream, now)

    def send(self, packets: list[bytes]) -> None:
        """Sends RTP or RTCP packets to the server in as few messages as possible. Drops them if the server does not read."""
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
            self._take(stream, stream.timestamps.receive(frame))

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
                timestamp = stream.timestamps.report(each.ntp, each.rtp_timestamp, now)
                stream.clock.receive_report(each.ntp, timestamp, now)
            elif isinstance(each, rtcp.PictureLossIndication | rtcp.FullIntraRequest):
                self.keyframe_wanted()
