"""STUN Binding requests of an ICE-lite server: parsed, authenticated and answered. Only other nodes are sent requests.

The parser is our own because these datagrams are not authenticated: aioice raises struct.error for a wrong length, and
invalid datagrams must be cheap to refuse. RFC 8489 (STUN), RFC 8445 (ICE).
"""

import hashlib
import hmac
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_pton
from struct import Struct, pack
from typing import Final, NamedTuple, TypeAlias
from zlib import crc32

from sfu.errors import MalformedPacket
from sfu.forwarding.peer_transport import Address

Buffer: TypeAlias = bytes | bytearray | memoryview

BINDING_REQUEST: Final = 0x0001
BINDING_INDICATION: Final = 0x0011
BINDING_RESPONSE: Final = 0x0101
BINDING_ERROR: Final = 0x0111
MAGIC_COOKIE: Final = 0x2112A442

_USERNAME = 0x0006
_MESSAGE_INTEGRITY = 0x0008
_ERROR_CODE = 0x0009
_UNKNOWN_ATTRIBUTES = 0x000A
_XOR_MAPPED_ADDRESS = 0x0020
_PRIORITY = 0x0024
_USE_CANDIDATE = 0x0025
_FINGERPRINT = 0x8028
_CONTROLLED = 0x8029
_CONTROLLING = 0x802A
_FINGERPRINT_MASK = 0x5354554E
_INTEGRITY_HEAD = (_MESSAGE_INTEGRITY, 20)
_COOKIE_BYTES = MAGIC_COOKIE.to_bytes(4, "big")
_MAPPED_PREFIX = bytes(10) + b"\xff\xff"

_USERNAME_LIMIT = 513
"""Bytes (RFC 8489 14.3)."""
_ATTRIBUTE_LIMIT = 32

_HEADER = Struct("!HHI").unpack_from
_ATTRIBUTE = Struct("!HH").unpack_from
_WORD = Struct("!I").unpack_from
_LONG = Struct("!Q").unpack_from
_RESPONSE_4 = Struct("!HHI12sHHxBHIHH").pack
_RESPONSE_6 = Struct("!HHI12sHHxBH16sHH").pack
_FINGERPRINT_ATTRIBUTE = Struct("!HHI").pack


class BindingRequest(NamedTuple):
    """A well-formed request. `verify` authenticates it."""

    transaction_id: bytes
    username: str
    priority: int
    use_candidate: bool
    controlling: bool
    "The sender plays the controlling role; False also if it says nothing."
    integrity_end: int
    "Offset of MESSAGE-INTEGRITY; 0: the attribute is missing."
    tie_breaker: int
    unknown: tuple[int, ...]
    "Comprehension-required attributes that are unknown; the response is error 420 (RFC 8489 6.3.1)."


def parse_binding_request(data: Buffer) -> BindingRequest:
    """Raises MalformedPacket unless `data` is a complete Binding request."""
    size = len(data)
    if size < 20:
        raise MalformedPacket("STUN message shorter than its header")
    kind, length, cookie = _HEADER(data)
    if kind != BINDING_REQUEST or cookie != MAGIC_COOKIE:
        raise MalformedPacket("not a STUN Binding request")
    if length & 3 or length + 20 != size:
        raise MalformedPacket("STUN message length does not match its header")
    username = b""
    priority = integrity = tie_breaker = count = 0
    use_candidate = controlling = False
    unknown: list[int] = []
    at = 20
    while at < size:
        # All lengths are multiples of four, so at least four bytes are left here.
        attribute, length = _ATTRIBUTE(data, at)
        start = at + 4
        end = start + (length + 3 & ~3)
        count += 1
        if end > size or count > _ATTRIBUTE_LIMIT:
            raise MalformedPacket("STUN attributes do not fit their message")
        if attribute == _FINGERPRINT:
            if length != 4 or end != size:
                raise MalformedPacket("STUN fingerprint is not the last attribute")
            if _WORD(data, start)[0] != crc32(data[:at]) ^ _FINGERPRINT_MASK:
                raise MalformedPacket("STUN fingerprint is wrong")
        elif integrity:
            pass  # RFC 8489 14.5: attributes after MESSAGE-INTEGRITY are ignored, except FINGERPRINT
        elif attribute == _USERNAME:
            if length > _USERNAME_LIMIT:
                raise MalformedPacket("STUN username is too long")
            username = username or bytes(data[start : start + length])
        elif attribute == _MESSAGE_INTEGRITY:
            if length != 20:
                raise MalformedPacket("STUN MESSAGE-INTEGRITY is not 20 bytes long")
            integrity = at
        elif attribute == _PRIORITY:
            if length != 4:
                raise MalformedPacket("STUN PRIORITY is not 4 bytes long")
            priority = _WORD(data, start)[0]
        elif attribute == _USE_CANDIDATE:
            use_candidate = True
        elif attribute in (_CONTROLLING, _CONTROLLED):
            if length != 8:
                raise MalformedPacket("STUN tie-breaker is not 8 bytes long")
            tie_breaker = _LONG(data, start)[0]
            controlling = attribute == _CONTROLLING
        elif attribute < 0x8000 and attribute not in unknown:
            unknown.append(attribute)
        at = end
    try:
        name = username.decode()
    except UnicodeDecodeError:
        raise MalformedPacket("STUN username is not UTF-8") from None
    return BindingRequest(
        bytes(data[8:20]),
        name,
        priority,
        use_candidate,
        controlling,
        integrity,
        tie_breaker,
        tuple(unknown),
    )


def local_fragment(data: Buffer) -> str:
    """Returns our user fragment from USERNAME when that is the first attribute, as browsers send it; otherwise "".

    A cheap lookup before the request is parsed. It validates nothing.
    """
    if len(data) < 28:
        return ""
    attribute, length = _ATTRIBUTE(data, 20)
    if attribute != _USERNAME:
        return ""
    return bytes(data[24 : 24 + min(length, _USERNAME_LIMIT)]).partition(b":")[0].decode("ascii", "replace")


def verify(request: BindingRequest, data: Buffer, password: bytes) -> bool:
    """Whether MESSAGE-INTEGRITY is valid for `password` (our own ice-pwd). Constant time."""
    end = request.integrity_end
    if not end:
        return False
    # RFC 8489 14.5: the length in the header includes MESSAGE-INTEGRITY and nothing after it.
    covered = b"\0\1" + (end + 4).to_bytes(2, "big") + data[4:end]
    return hmac.compare_digest(_keyed(password).digest(covered), data[end + 4 : end + 24])


def binding_response(transaction_id: bytes, address: Address, password: bytes) -> bytes:
    """The success response to a request from `address`; an IPv4-mapped IPv6 address is reported as IPv4."""
    return _sealed(_unsealed_response(transaction_id, address), password)


def _unsealed_response(transaction_id: bytes, address: Address) -> bytes:
    host, port = address[0], address[1] ^ 0x2112
    if ":" in host:
        packed = inet_pton(AF_INET6, host.partition("%")[0])  # link-local addresses come with a %scope
        mapped = packed[12:] if packed.startswith(_MAPPED_PREFIX) else b""
    else:
        packed = b""
        mapped = inet_pton(AF_INET, host)
    # The length in the header includes MESSAGE-INTEGRITY; `_sealed` adds FINGERPRINT.
    if mapped:
        hidden = int.from_bytes(mapped, "big") ^ MAGIC_COOKIE
        return _RESPONSE_4(
            BINDING_RESPONSE,
            36,
            MAGIC_COOKIE,
            transaction_id,
            _XOR_MAPPED_ADDRESS,
            8,
            1,
            port,
            hidden,
            *_INTEGRITY_HEAD,
        )
    mask = int.from_bytes(_COOKIE_BYTES + transaction_id, "big")
    wide = (int.from_bytes(packed, "big") ^ mask).to_bytes(16, "big")
    return _RESPONSE_6(
        BINDING_RESPONSE, 48, MAGIC_COOKIE, transaction_id, _XOR_MAPPED_ADDRESS, 20, 2, port, wide, *_INTEGRITY_HEAD
    )


def binding_request(transaction_id: bytes, username: str, password: bytes) -> bytes:
    """A request to another node. A server with ICE-lite sends none to clients."""
    name = username.encode()
    attributes = pack("!HH", _USERNAME, len(name)) + name + bytes(-len(name) & 3)
    head = pack("!HHI12s", BINDING_REQUEST, len(attributes) + 24, MAGIC_COOKIE, transaction_id)
    return _sealed(head + attributes + pack("!HH", *_INTEGRITY_HEAD), password)


def response_transaction(data: Buffer, password: bytes) -> bytes | None:
    """Transaction id of an authentic success response to `binding_request`; None for everything else.

    A response has XOR-MAPPED-ADDRESS, MESSAGE-INTEGRITY and FINGERPRINT, as `binding_response` makes it.
    """
    raw = bytes(data)
    end = len(raw) - 32
    if (
        end < 20
        or raw[:2] != b"\1\1"
        or raw[4:8] != _COOKIE_BYTES
        or raw[end : end + 4] != pack("!HH", *_INTEGRITY_HEAD)
    ):
        return None
    covered = raw[:2] + (end + 4).to_bytes(2, "big") + raw[4:end]
    valid = hmac.compare_digest(_keyed(password).digest(covered), raw[end + 4 : end + 24])
    return raw[8:20] if valid else None


class RepeatedCheck:
    """A valid connectivity check that its sender repeats as a consent check (RFC 7675 5.1).

    Only transaction id, integrity and fingerprint differ between repetitions. The rest is compared instead of parsed, and
    the prepared response is reused. Consent checks are most of the cost of an idle connection.
    """

    __slots__ = ("_address", "_answer", "_body", "_head", "_integrity", "_key", "_password", "nominated")

    def __init__(self, request: BindingRequest, data: Buffer, address: Address, password: bytes) -> None:
        """`request` is verified already; `address` is its source."""
        raw = bytes(data)
        self.nominated = request.use_candidate
        self._integrity = request.integrity_end
        self._head = raw[:8]
        self._body = raw[20 : self._integrity + 4]
        self._key = _keyed(password)
        self._address = address
        self._password = password
        answer = _unsealed_response(request.transaction_id, address)
        self._answer = answer[20:36] if len(answer) == 36 else b""
        """XOR-MAPPED-ADDRESS and the head of MESSAGE-INTEGRITY; IPv6 addresses are mixed with the transaction id."""

    def answer(self, data: Buffer) -> bytes | None:
        """The response; None when `data` is another message or not authentic."""
        raw = bytes(data)
        at = self._integrity
        if len(raw) != at + 32 or raw[:8] != self._head or raw[20 : at + 4] != self._body:
            return None
        covered = b"\0\1" + (at + 4).to_bytes(2, "big") + raw[4:at]
        if not hmac.compare_digest(self._key.digest(covered), raw[at + 4 : at + 24]):
            return None
        crc = crc32(raw[:-8]) ^ _FINGERPRINT_MASK
        if raw[-8:] != _FINGERPRINT_ATTRIBUTE(_FINGERPRINT, 4, crc):
            return None
        if not self._answer:
            return binding_response(raw[8:20], self._address, self._password)
        tail = raw[4:20] + self._answer
        digest = self._key.digest(b"\1\1\0\x24" + tail[:-4])
        whole = b"\1\1\0\x2c" + tail + digest
        return whole + _FINGERPRINT_ATTRIBUTE(_FINGERPRINT, 4, crc32(whole) ^ _FINGERPRINT_MASK)


class _Hmac:
    """HMAC-SHA1 with one key (RFC 2104); the two key blocks are hashed once.

    hmac.digest looks the algorithm up on each call, which takes ten times as long as the hash when OpenSSL's tables are not
    in the CPU cache."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = (key if len(key) <= 64 else hashlib.sha1(key).digest()).ljust(64, b"\0")
        self._inner = hashlib.sha1(bytes([byte ^ 0x36 for byte in block]))
        self._outer = hashlib.sha1(bytes([byte ^ 0x5C for byte in block]))

    def digest(self, message: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


@lru_cache(256)
def _keyed(password: bytes) -> _Hmac:
    """Caches our own passwords and those of other nodes. The size covers the handshakes under way."""
    return _Hmac(password)


def error_response(
    transaction_id: bytes, code: int, reason: str, password: bytes, unknown: tuple[int, ...] = ()
) -> bytes:
    """An error response with ERROR-CODE and, for 420, UNKNOWN-ATTRIBUTES.

    Only for requests that `verify` has authenticated: other senders get no answer.
    """
    text = reason.encode()[:128]
    attributes = pack("!HHxxBB", _ERROR_CODE, 4 + len(text), code // 100, code % 100) + text + bytes(-len(text) & 3)
    if unknown:
        listed = pack(f"!{len(unknown)}H", *unknown)
        attributes += pack("!HH", _UNKNOWN_ATTRIBUTES, len(listed)) + listed + bytes(-len(listed) & 3)
    head = pack("!HHI12s", BINDING_ERROR, len(attributes) + 24, MAGIC_COOKIE, transaction_id)
    return _sealed(head + attributes + pack("!HH", *_INTEGRITY_HEAD), password)


def role_conflict(transaction_id: bytes, password: bytes) -> bytes:
    """487: the peer plays our role (RFC 8445 7.3.1.1); a lite agent is always the controlled one."""
    return error_response(transaction_id, 487, "Role Conflict", password)


def _sealed(message: bytes, password: bytes) -> bytes:
    """Appends the value of MESSAGE-INTEGRITY, whose head already ends `message`, and FINGERPRINT."""
    digest = _keyed(password).digest(message[:-4])
    length = (len(message) + 8).to_bytes(2, "big")
    whole = b"".join((message[:2], length, message[4:], digest))
    return whole + _FINGERPRINT_ATTRIBUTE(_FINGERPRINT, 4, crc32(whole) ^ _FINGERPRINT_MASK)
