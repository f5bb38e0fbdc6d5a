"""DTLS-SRTP as a sans-IO state machine over pyOpenSSL (RFC 6347, RFC 5764).

Replaces aiortc's RTCDtlsTransport, which uses a task, a queue and an SSL context per connection, offers no RSA suites, and
reads at most 1500 bytes of a flight from OpenSSL at once, so that large certificates stall. Here one context serves the
process, flights are split at record boundaries, and code runs only for a datagram or a deadline.
"""

import datetime
import hashlib
from contextlib import suppress
from enum import Enum, auto
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL, crypto

from sfu.errors import MalformedPacket
from sfu.transport.dtls_guard import RECORD_HEADER, HandshakeGuard, HandshakeRefused
from sfu.transport.srtp import PROFILES, SrtpKeys

MTU: Final = 1200
CIPHERS: Final = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA"
)
DIGESTS: Final = {"sha-256": hashlib.sha256, "sha-384": hashlib.sha384, "sha-512": hashlib.sha512}
MESSAGE_LIMIT: Final = 16_384

Role = Literal["server", "client"]
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class State(Enum):
    NEW = auto()
    HANDSHAKING = auto()
    CONNECTED = auto()
    CLOSED = auto()
    "Closed by either side, or failed: `DtlsAssociation.failure` holds the reason."


class Identity:
    """A certificate with its key, its fingerprint, and the OpenSSL context that all connections share."""

    def __init__(self, key: PrivateKey | None = None, certificate: x509.Certificate | None = None) -> None:
        """Without arguments: generates a self-signed P-256 certificate (0.2 ms, once per process)."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        certificate = certificate or _self_signed(key)
        self.fingerprint = fingerprint(certificate, "sha-256")
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        # accept any certificate: the fingerprint in the SDP identifies the peer (RFC 8122), no chain is verified
        context.set_verify_depth(0)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        context.use_certificate(certificate)
        context.use_privatekey(key)
        context.set_cipher_list(CIPHERS)
        context.set_tlsext_use_srtp(b":".join(profile.name for profile in PROFILES))
        self.context = context


def _self_signed(key: PrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "aiosfu")])
    now = datetime.datetime.now(tz=datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365))
        .sign(key, hashes.SHA256())
    )


def fingerprint(certificate: x509.Certificate, algorithm: str) -> str:
    """Upper-case hex of the certificate's digest with colons (RFC 8122 5)."""
    digest = DIGESTS[algorithm](certificate.public_bytes(serialization.Encoding.DER)).digest()
    return ":".join(f"{byte:02X}" for byte in digest)


class DtlsAssociation:
    """One DTLS connection. Pass datagrams to `receive`; call `packets_to_send` after every call."""

    __slots__ = ("_connection", "_fingerprints", "_guard", "_inbox", "failure", "keys", "role", "state")

    def __init__(self, identity: Identity, role: Role, fingerprints: list[tuple[str, str]]) -> None:
        self.role: Role = role
        self.state = State.NEW
        self.failure = ""
        self.keys: SrtpKeys | None = None
        self._fingerprints = fingerprints
        self._inbox: list[bytes] = []
        self._guard = HandshakeGuard()
        self._connection = SSL.Connection(identity.context)
        self._connection.set_ciphertext_mtu(MTU)
        if role == "server":
            self._connection.set_accept_state()
        else:
            self._connection.set_connect_state()

    def start(self) -> None:
        """Starts the handshake; as client, the first flight is then ready to send."""
        if self.state is State.NEW:
            self.state = State.HANDSHAKING
            self._handshake()

    def receive(self, datagram: bytes) -> None:
        """One datagram of DTLS records. OpenSSL drops invalid records (RFC 6347 4.1.2.7)."""
        if self.state not in (State.HANDSHAKING, State.CONNECTED) or not _whole(datagram):
            return
        try:
            self._guard.check(datagram)
        except HandshakeRefused as error:
            if self.state is State.HANDSHAKING:
                self._close(f"handshake refused: {error}")
            return
        except MalformedPacket:
            return
        self._connection.bio_write(datagram)
        if self.state is State.HANDSHAKING:
            self._handshake()
        if self.state is State.CONNECTED:
            self._read()

    def application_data(self) -> list[bytes]:
        """Decrypted messages (SCTP packets) since the last call."""
        messages, self._inbox = self._inbox, []
        return messages

    def send(self, data: bytes) -> None:
        """Encrypts application data; dropped unless connected."""
        if self.state is State.CONNECTED:
            try:
                self._connection.send(data)
            except SSL.Error:
                self._close("send failed")

    def packets_to_send(self) -> list[bytes]:
        """Datagrams to send: whole records, packed up to the MTU."""
        try:
            flight = self._connection.bio_read(65_536)
        except SSL.WantReadError:
            return []
        datagrams: list[bytes] = []
        current = b""
        at = 0
        while at + RECORD_HEADER <= len(flight):
            end = at + RECORD_HEADER + int.from_bytes(flight[at + 11 : at + 13], "big")
            if current and len(current) + end - at > MTU:
                datagrams.append(current)
                current = b""
            current += flight[at:end]
            at = end
        if current:
            datagrams.append(current)
        return datagrams

    def next_timeout(self) -> float | None:
        """Seconds until `handle_timeout` is due (retransmission of a handshake flight); None: no timer runs."""
        if self.state is not State.HANDSHAKING:
            return None
        return self._connection.DTLSv1_get_timeout()

    def handle_timeout(self) -> None:
        if self.state is State.HANDSHAKING:
            try:
                self._connection.DTLSv1_handle_timeout()
            except SSL.Error:
                self._close("handshake timed out")

    def close(self) -> None:
        """Sends close_notify through `packets_to_send`."""
        if self.state is State.CONNECTED:
            with suppress(SSL.Error):
                self._connection.shutdown()
        self.state = State.CLOSED

    def _handshake(self) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            self._close(f"handshake failed: {_reason(error)}")
            return
        if self._identified():
            self._export_keys()

    def _identified(self) -> bool:
        certificate = self._connection.get_peer_certificate()
        if certificate is None:
            self._close("no usable certificate")
            return False
        # only the bytes are hashed; parsing the certificate would double the cost of the handshake here
        der = crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
        known = [(name.lower(), value) for name, value in self._fingerprints if name.lower() in DIGESTS]
        if not known or any(DIGESTS[name](der).hexdigest() != value.replace(":", "").lower() for name, value in known):
            self._close("fingerprint mismatch")
            return False
        return True

    def _export_keys(self) -> None:
        selected = self._connection.get_selected_srtp_profile()
        profile = next((candidate for candidate in PROFILES if candidate.name == selected), None)
        if profile is None:
            self._close("no SRTP profile in common")
            return
        key, salt = profile.key, profile.salt
        material = self._connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        client = material[:key] + material[2 * key : 2 * key + salt]
        server = material[key : 2 * key] + material[2 * key + salt :]
        receive, send = (client, server) if self.role == "server" else (server, client)
        self.keys = SrtpKeys(profile, receive, send)
        self.state = State.CONNECTED

    def _read(self) -> None:
        while True:
            try:
                self._inbox.append(self._connection.recv(MESSAGE_LIMIT))
            except SSL.WantReadError:
                return
            except SSL.ZeroReturnError:
                self._close("closed by the peer")
                return
            except SSL.Error as error:
                self._close(f"read failed: {_reason(error)}")
                return

    def _close(self, reason: str) -> None:
        self.failure = self.failure or reason
        self.state = State.CLOSED


def _whole(datagram: bytes) -> bool:
    """Whether a datagram consists of complete records. OpenSSL would join halves of different datagrams."""
    at = 0
    while at + RECORD_HEADER <= len(datagram):
        at += RECORD_HEADER + int.from_bytes(datagram[at + 11 : at + 13], "big")
    return at == len(datagram) > 0


def _reason(error: SSL.Error) -> str:
    if error.args and isinstance(error.args[0], list) and error.args[0]:
        return str(error.args[0][0][-1])
    return type(error).__name__
