"""Checks the handshake messages of a DTLS peer before OpenSSL sees them.

OpenSSL takes a certificate message of 100 KB, decodes every certificate and key in it, and verifies signatures along the
chain: 70 RSA certificates with large public exponents took 0.6 s. In WebRTC a certificate counts by its fingerprint only
(RFC 8122, RFC 8827 6.5), so the chain has no use. The guard reads the records that are not encrypted, bounds the length
of each message, and reassembles the Certificate message to check its number of certificates and their keys. DTLS 1.2
encrypts nothing before Finished (RFC 6347, RFC 5246 7.4).
"""

from typing import Final

from sfu.errors import MalformedPacket

RECORD_HEADER: Final = 13
_MESSAGE_HEADER: Final = 12
_HANDSHAKE: Final = 22
_CERTIFICATE: Final = 11

MESSAGE_LIMIT: Final = 8_192
"""Bytes of a handshake message; a ClientHello with post-quantum key shares has 2,000."""
CERTIFICATE_LIMIT: Final = 12_288
"""Bytes of the Certificate message."""
CHAIN_LIMIT: Final = 3
"""Certificates in it. Browsers send one."""
RSA_BITS: Final = range(1024, 4097)
EXPONENT_BITS: Final = 32
"""Bits of an RSA public exponent: 65,537 has 17. OpenSSL accepts up to the length of the modulus."""
MESSAGES: Final = 2
"""Certificate messages with different sequence numbers per association; one is normal."""

_RSA: Final = bytes.fromhex("2a864886f70d010101")
_RSA_PSS: Final = bytes.fromhex("2a864886f70d01010a")
_EC: Final = bytes.fromhex("2a8648ce3d0201")
_EDWARDS: Final = frozenset({bytes.fromhex("2b6570"), bytes.fromhex("2b6571")})
_CURVES: Final = frozenset(
    {bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2b81040022"), bytes.fromhex("2b81040023")}
)
"""P-256, P-384 and P-521. OpenSSL needs milliseconds to check a curve that is given by explicit parameters."""
_SEQUENCE, _INTEGER, _BIT_STRING, _OBJECT = 0x30, 0x02, 0x03, 0x06
_VERSION: Final = 0xA0


class HandshakeRefused(MalformedPacket):
    """The message is well-formed but too expensive for OpenSSL."""


class HandshakeGuard:
    """One per association. Call `check` with every datagram that the handshake reads."""

    __slots__ = ("_certificates",)

    def __init__(self) -> None:
        self._certificates: dict[int, tuple[bytearray, bytearray]] = {}
        """By message sequence number: the received part of the Certificate message, and a 1 for each received byte."""

    def check(self, datagram: bytes) -> None:
        """A datagram of whole records. Raises MalformedPacket when it has to be dropped, HandshakeRefused when the
        association has to end."""
        at = 0
        while at + RECORD_HEADER <= len(datagram):
            end = at + RECORD_HEADER + int.from_bytes(datagram[at + 11 : at + 13], "big")
            if datagram[at] == _HANDSHAKE and datagram[at + 3 : at + 5] == b"\0\0":  # epoch 0: not encrypted
                self._check_record(datagram, at + RECORD_HEADER, end)
            at = end

    def _check_record(self, data: bytes, at: int, end: int) -> None:
        while at < end:
            body = at + _MESSAGE_HEADER
            if body > end:
                raise MalformedPacket("DTLS handshake header is truncated")
            kind, length = data[at], int.from_bytes(data[at + 1 : at + 4], "big")
            number = int.from_bytes(data[at + 4 : at + 6], "big")
            offset, size = int.from_bytes(data[at + 6 : at + 9], "big"), int.from_bytes(data[at + 9 : at + 12], "big")
            if length > (CERTIFICATE_LIMIT if kind == _CERTIFICATE else MESSAGE_LIMIT):
                raise HandshakeRefused("DTLS handshake message is too long")
            if body + size > end or offset + size > length:
                raise MalformedPacket("DTLS handshake fragment does not fit")
            if kind == _CERTIFICATE:
                self._take(number, length, offset, data[body : body + size])
            at = body + size

    def _take(self, number: int, length: int, offset: int, fragment: bytes) -> None:
        found = self._certificates.get(number)
        if found is None:
            if len(self._certificates) >= MESSAGES:
                raise HandshakeRefused("DTLS peer sends too many certificate messages")
            found = self._certificates[number] = (bytearray(length), bytearray(length))
        message, there = found
        end = offset + len(fragment)
        if len(message) != length:
            raise HandshakeRefused("DTLS certificate message changes its length")
        if 1 in there[offset:end]:
            # A retransmission. OpenSSL uses the first or the last copy, depending on the fragments: both must be equal.
            known = int.from_bytes(message[offset:end], "big")
            mask = int.from_bytes(there[offset:end], "big") * 0xFF
            if (known ^ int.from_bytes(fragment, "big")) & mask:
                raise HandshakeRefused("DTLS certificate message changes its content")
        message[offset:end] = fragment
        there[offset:end] = b"\1" * len(fragment)
        if 0 not in there:
            check_certificates(bytes(message))


def check_certificates(message: bytes) -> None:
    """The body of a Certificate message (RFC 5246 7.4.2). Raises MalformedPacket."""
    if len(message) < 3 or int.from_bytes(message[:3], "big") != len(message) - 3:
        raise MalformedPacket("DTLS certificate list does not fit its message")
    at, count = 3, 0
    while at < len(message):
        count += 1
        if count > CHAIN_LIMIT:
            raise HandshakeRefused(f"DTLS certificate chain has more than {CHAIN_LIMIT} certificates")
        size = int.from_bytes(message[at : at + 3], "big")
        at += 3
        if size == 0 or at + size > len(message):
            raise MalformedPacket("DTLS certificate does not fit its message")
        _check_key(message[at : at + size])
        at += size


def _check_key(certificate: bytes) -> None:
    """Finds SubjectPublicKeyInfo (RFC 5280 4.1) and refuses keys whose signature check is expensive."""
    _, at, end = _element(certificate, 0, len(certificate), _SEQUENCE)
    _, at, end = _element(certificate, at, end, _SEQUENCE)
    if at < end and certificate[at] == _VERSION:
        at = _element(certificate, at, end)[2]
    for _ in range(5):  # serial number, signature algorithm, issuer, validity, subject
        at = _element(certificate, at, end)[2]
    _, at, end = _element(certificate, at, end, _SEQUENCE)
    _, algorithm, key = _element(certificate, at, end, _SEQUENCE)
    _, start, stop = _element(certificate, algorithm, key, _OBJECT)
    name = certificate[start:stop]
    if name in (_RSA, _RSA_PSS):
        _, at, end = _element(certificate, key, end, _BIT_STRING)
        _, at, end = _element(certificate, at + 1, end, _SEQUENCE)
        _, start, stop = _element(certificate, at, end, _INTEGER)
        modulus = int.from_bytes(certificate[start:stop], "big").bit_length()
        _, start, stop = _element(certificate, stop, end, _INTEGER)
        exponent = int.from_bytes(certificate[start:stop], "big").bit_length()
        if modulus not in RSA_BITS or exponent > EXPONENT_BITS:
            raise HandshakeRefused(f"DTLS certificate has an RSA key of {modulus} bits with an exponent of {exponent}")
    elif name == _EC:
        _, start, stop = _element(certificate, stop, key, _OBJECT)
        if certificate[start:stop] not in _CURVES:
            raise HandshakeRefused("DTLS certificate has a key on a curve that is not supported")
    elif name not in _EDWARDS:
        raise HandshakeRefused("DTLS certificate has a key of a kind that is not supported")


def _element(data: bytes, at: int, end: int, tag: int = -1) -> tuple[int, int, int]:
    """(tag, start, end) of the contents of the DER element at `at` (X.690 8.1)."""
    if at + 2 > end or (tag >= 0 and data[at] != tag):
        raise MalformedPacket("DTLS certificate has an unexpected element")
    size = data[at + 1]
    start = at + 2
    if size & 0x80:
        count = size & 0x7F
        if not 1 <= count <= 3 or start + count > end:
            raise MalformedPacket("DTLS certificate has an element with an unsupported length")
        size = int.from_bytes(data[start : start + count], "big")
        start += count
    if start + size > end:
        raise MalformedPacket("DTLS certificate has an element that does not fit")
    return data[at], start, start + size
