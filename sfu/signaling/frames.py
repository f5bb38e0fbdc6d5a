"""Server side of WebSocket framing (RFC 6455 5), without I/O: bytes in, messages out, violations as exceptions.

aiohttp's reader parses a whole TCP read at once, accepts unmasked frames and sets no limit on control frames. This one
parses one message per call, so the caller decides how long it holds the event loop, and it limits frames with little
or no payload: control frames, empty messages and small fragments.
"""

from dataclasses import dataclass
from enum import IntEnum

from sfu.signaling.token_bucket import TokenBucket

CLOSE_PROTOCOL_ERROR = 1002
CLOSE_INVALID_TEXT = 1007
CLOSE_RATE = 1008
CLOSE_TOO_LARGE = 1009
CLOSE_NO_CODE = 1005
"""Never sent (RFC 6455 7.4.1): the close frame has no code."""
CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
"""Codes below 3000 that an endpoint may send (RFC 6455 7.4.1 and the IANA registry)."""

CONTROL_RATE = 10.0
"""Control frames, empty messages and small fragments per second on average."""
CONTROL_BURST = 64
"""The same in a burst. Browsers answer pings and send none; other clients send a ping every few seconds."""
SMALL_FRAGMENT = 256
"""A fragment with fewer bytes that does not end its message counts as a control frame."""

_FIN = 0x80
_RESERVED = 0x70
_MASKED = 0x80
_CONTROL = 0x08
_MAX_CONTROL_PAYLOAD = 125


class Opcode(IntEnum):
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


_OPCODES = frozenset(Opcode)


class FrameViolation(Exception):
    """The client violates RFC 6455 or a limit. The connection fails with this close code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Frame:
    """A complete message, or a control frame."""

    opcode: Opcode
    payload: bytes

    @property
    def text(self) -> str:
        """Raises FrameViolation when it is not UTF-8."""
        try:
            return self.payload.decode()
        except UnicodeDecodeError:
            raise FrameViolation(CLOSE_INVALID_TEXT, "text is not UTF-8") from None

    @property
    def close_code(self) -> int:
        """The code of a close frame. Raises FrameViolation for a code that must not be sent (RFC 6455 7.4)."""
        if not self.payload:
            return CLOSE_NO_CODE
        code = int.from_bytes(self.payload[:2], "big")
        if len(self.payload) == 1 or not (code in CLOSE_CODES or 3000 <= code < 5000):
            raise FrameViolation(CLOSE_PROTOCOL_ERROR, "invalid close code")
        try:
            self.payload[2:].decode()
        except UnicodeDecodeError:
            raise FrameViolation(CLOSE_INVALID_TEXT, "close reason is not UTF-8") from None
        return code


@dataclass(frozen=True, slots=True)
class _Header:
    opcode: Opcode
    final: bool
    length: int
    mask: bytes


class FrameReader:
    """Feed it with `receive_data`, then call `next_frame` until it returns None.

    Every FrameViolation is final: discard the reader and what it holds.
    """

    def __init__(self, max_message_bytes: int, now: float) -> None:
        """`now`: monotonic seconds."""
        self._limit = max_message_bytes
        self._buffer = bytearray()
        self._header: _Header | None = None
        "Header of the frame whose payload is incomplete."
        self._opcode: Opcode | None = None
        "Opcode of the fragmented message."
        self._partial = bytearray()
        self._bucket = TokenBucket(CONTROL_RATE, CONTROL_BURST, now)

    @property
    def buffered(self) -> int:
        """Bytes not parsed yet."""
        return len(self._buffer)

    def receive_data(self, data: bytes) -> None:
        self._buffer += data

    def discard(self) -> None:
        self._buffer.clear()
        self._partial.clear()

    def next_frame(self, now: float) -> Frame | None:
        """The next message or control frame; None: more bytes are needed. Raises FrameViolation."""
        while True:
            header = self._header
            if header is None:
                header = self._header = self._parse_header()
                if header is None:
                    return None
            if len(self._buffer) < header.length:
                return None
            payload = _unmasked(self._buffer, header)
            del self._buffer[: header.length]
            self._header = None
            if frame := self._assemble(header, payload, now):
                return frame

    def _parse_header(self) -> _Header | None:
        """RFC 6455 5.2. Checks each field as soon as its bytes have arrived."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        if first & _RESERVED:
            raise FrameViolation(CLOSE_PROTOCOL_ERROR, "reserved bits are set")
        if first & 0x0F not in _OPCODES:
            raise FrameViolation(CLOSE_PROTOCOL_ERROR, "reserved opcode")
        opcode, final, length = Opcode(first & 0x0F), bool(first & _FIN), second & 0x7F
        if not second & _MASKED:
            raise FrameViolation(CLOSE_PROTOCOL_ERROR, "client frames must be masked")
        if opcode & _CONTROL:
            if not final:
                raise FrameViolation(CLOSE_PROTOCOL_ERROR, "fragmented control frame")
            if length > _MAX_CONTROL_PAYLOAD:
                raise FrameViolation(CLOSE_PROTOCOL_ERROR, "control frame longer than 125 bytes")
        elif opcode is Opcode.CONTINUATION and self._opcode is None:
            raise FrameViolation(CLOSE_PROTOCOL_ERROR, "continuation of no message")
        elif opcode is not Opcode.CONTINUATION and self._opcode is not None:
            raise FrameViolation(CLOSE_PROTOCOL_ERROR, "new message inside a fragmented one")
        extended = {126: 2, 127: 8}.get(length, 0)
        size = 2 + extended + 4
        if len(buffer) < 2 + extended:
            return None
        if extended:
            length = int.from_bytes(buffer[2 : 2 + extended], "big")
            if length < (126 if extended == 2 else 65_536):
                raise FrameViolation(CLOSE_PROTOCOL_ERROR, "length is not encoded in the fewest bytes")
        if not opcode & _CONTROL and len(self._partial) + length > self._limit:
            raise FrameViolation(CLOSE_TOO_LARGE, f"message longer than {self._limit} bytes")
        if len(buffer) < size:
            return None
        mask = bytes(buffer[size - 4 : size])
        del buffer[:size]
        return _Header(opcode, final, length, mask)

    def _assemble(self, header: _Header, payload: bytes, now: float) -> Frame | None:
        opcode, final = header.opcode, header.final
        small = len(payload) < SMALL_FRAGMENT if not final else not payload
        if (opcode & _CONTROL or small) and not self._bucket.take(1.0, now):
            raise FrameViolation(CLOSE_RATE, "too many control frames, empty messages or small fragments")
        if opcode & _CONTROL or (final and opcode is not Opcode.CONTINUATION):
            return Frame(opcode, payload)
        if opcode is not Opcode.CONTINUATION:
            self._opcode = opcode
        self._partial += payload
        if not final or self._opcode is None:
            return None
        opcode, self._opcode = self._opcode, None
        whole = bytes(self._partial)
        self._partial.clear()
        return Frame(opcode, whole)


def _unmasked(buffer: bytearray, header: _Header) -> bytes:
    """RFC 6455 5.3. One exclusive-or of long integers: 64 KiB take about 60 µs."""
    length = header.length
    if not length:
        return b""
    repeated = (header.mask * (length // 4 + 1))[:length]
    masked = int.from_bytes(buffer[:length], "big") ^ int.from_bytes(repeated, "big")
    return masked.to_bytes(length, "big")


def frame_header(opcode: Opcode, length: int) -> bytes:
    """Header of an unmasked, final frame, as servers send it."""
    first = _FIN | opcode
    if length < 126:
        return bytes((first, length))
    if length < 65_536:
        return bytes((first, 126)) + length.to_bytes(2, "big")
    return bytes((first, 127)) + length.to_bytes(8, "big")


def close_frame(code: int, reason: str = "") -> bytes:
    """Truncates the reason to the size of a control frame."""
    if code == CLOSE_NO_CODE:
        return frame_header(Opcode.CLOSE, 0)
    payload = code.to_bytes(2, "big") + reason.encode()[: _MAX_CONTROL_PAYLOAD - 2].decode(errors="ignore").encode()
    return frame_header(Opcode.CLOSE, len(payload)) + payload
