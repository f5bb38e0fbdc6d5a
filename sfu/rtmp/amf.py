"""AMF0, the encoding of RTMP command values; without references, dates as numbers, and without AMF3 values.

The other end is untrusted: depth and number of values are bounded, and invalid data raises MalformedPacket
only. Action Message Format 0 (Adobe, 2007).
"""

from collections.abc import Mapping
from struct import error, pack, unpack_from
from typing import Final, TypeAlias

from sfu.errors import MalformedPacket

Value: TypeAlias = "float | bool | str | Mapping[str, Value] | list[Value] | None"

_DEPTH_LIMIT: Final = 8
_VALUE_LIMIT: Final = 500
_END: Final = b"\0\0\x09"


def encode(*values: Value) -> bytes:
    return b"".join([_encode(value) for value in values])


class EcmaArray(dict[str, Value]):
    """An object encoded as an associative array, as stream metadata requires."""


def _encode(value: Value) -> bytes:
    if value is None:
        return b"\x05"
    if isinstance(value, bool):
        return b"\x01" + bytes([value])
    if isinstance(value, int | float):
        return b"\0" + pack("!d", value)
    if isinstance(value, str):
        data = value.encode()
        return b"\x02" + pack("!H", len(data)) + data if len(data) <= 0xFFFF else b"\x0c" + pack("!I", len(data)) + data
    if isinstance(value, Mapping):
        members = b"".join([pack("!H", len(name.encode())) + name.encode() + _encode(v) for name, v in value.items()])
        head = b"\x08" + pack("!I", len(value)) if isinstance(value, EcmaArray) else b"\x03"
        return head + members + _END
    return b"\x0a" + pack("!I", len(value)) + b"".join([_encode(item) for item in value])


def decode(data: bytes) -> list[Value]:
    """Decodes all values of a command. Raises MalformedPacket."""
    reader, values = _Reader(data), []
    try:
        while reader.at < len(data):
            values.append(reader.value(0))
    except (error, IndexError, UnicodeDecodeError) as problem:
        raise MalformedPacket("AMF value is truncated") from problem
    return values


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.at = 0
        self._data = data
        self._budget = _VALUE_LIMIT

    def value(self, depth: int) -> Value:
        self._budget -= 1
        if depth > _DEPTH_LIMIT or self._budget < 0:
            raise MalformedPacket("AMF value is too deep or too large")
        kind = self._data[self.at]
        self.at += 1
        if kind == 0:
            self.at += 8
            return float(unpack_from("!d", self._data, self.at - 8)[0])
        if kind == 1:
            self.at += 1
            return self._data[self.at - 1] != 0
        if kind == 2:
            return self._text(2)
        if kind in (12, 15):  # long string, XML
            return self._text(4)
        if kind in (5, 6, 13):  # null, undefined, unsupported
            return None
        if kind == 16:  # an object with a class name
            self._text(2)
            return self._object(depth)
        if kind in (3, 8):
            self.at += 4 if kind == 8 else 0
            return self._object(depth)
        if kind == 10:
            (count,) = unpack_from("!I", self._data, self.at)
            self.at += 4
            return [self.value(depth + 1) for _ in range(min(count, _VALUE_LIMIT))]
        if kind == 11:
            self.at += 10
            return float(unpack_from("!d", self._data, self.at - 10)[0])
        raise MalformedPacket("unknown AMF type")

    def _object(self, depth: int) -> Value:
        found: dict[str, Value] = {}
        while self._data[self.at : self.at + 3] != _END:
            name = self._text(2)
            found[name] = self.value(depth + 1)
        self.at += 3
        return found

    def _text(self, width: int) -> str:
        size = int(unpack_from("!H" if width == 2 else "!I", self._data, self.at)[0])
        self.at += width
        text = self._data[self.at : self.at + size]
        if len(text) < size:
            raise MalformedPacket("AMF text is truncated")
        self.at += size
        return text.decode()
