"""Handshakes that would cost OpenSSL much: refused before it sees them. Real pyOpenSSL clients, and one over a real socket."""

import datetime
import time
from collections.abc import Callable
from contextlib import suppress
from struct import pack

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from sfu.errors import MalformedPacket
from sfu.transport.dtls import DtlsAssociation, Identity, State
from sfu.transport.dtls_guard import (
    CERTIFICATE_LIMIT,
    CHAIN_LIMIT,
    MESSAGE_LIMIT,
    MESSAGES,
    HandshakeGuard,
    HandshakeRefused,
    check_certificates,
)
from sfu.transport.endpoint import WebRtcEndpoint
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.peer import RawPeer, negotiate
from tests.transport.test_connection import endpoint, published, until, webrtc_server
from tests.transport.test_dtls import ME, identity_with, pair, roundtrip

__all__ = ["endpoint", "webrtc_server"]

RSA = rsa.generate_private_key(65537, 3072)
P256 = ec.generate_private_key(ec.SECP256R1())


def with_exponent(bits: int, key: rsa.RSAPrivateKey = RSA) -> rsa.RSAPrivateKey:
    """The same modulus with a public exponent of so many bits."""
    numbers = key.private_numbers()
    phi = (numbers.p - 1) * (numbers.q - 1)
    e = (1 << bits - 1) + 1
    while True:
        try:
            d = pow(e, -1, phi)
            break
        except ValueError:
            e += 2
    public = rsa.RSAPublicNumbers(e, numbers.public_numbers.n)
    dmp1, dmq1 = rsa.rsa_crt_dmp1(d, numbers.p), rsa.rsa_crt_dmq1(d, numbers.q)
    return rsa.RSAPrivateNumbers(numbers.p, numbers.q, d, dmp1, dmq1, numbers.iqmp, public).private_key(
        unsafe_skip_rsa_key_validation=True
    )


def certificate(name: str, issuer: str, public: object, signer: object = RSA) -> x509.Certificate:
    now = datetime.datetime.now(tz=datetime.UTC)

    def called(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    return (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called(issuer))
        .public_key(public)  # type: ignore[arg-type]  # hostile keys of any type
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())  # type: ignore[arg-type]  # hostile keys of any type
    )


def chained(count: int, *, exponent: int) -> Identity:
    """A client whose certificate is followed by `count` others, each issued by the next."""
    big = with_exponent(exponent).public_key() if exponent > 17 else RSA.public_key()
    leaf = certificate("ca0", "ca1", P256.public_key())
    client = Identity(P256, leaf)
    for number in range(1, count + 1):
        client.context.add_extra_chain_cert(certificate(f"ca{number}", f"ca{number + 1}", big))
    return client


def flight_of(client: DtlsAssociation) -> list[bytes]:
    """All records that the client has to send, one a datagram; a long chain is more than `packets_to_send` reads at once."""
    data = b""
    with suppress(SSL.WantReadError):
        while True:
            data += client._connection.bio_read(65_536)
    found, at = [], 0
    while at < len(data):
        end = at + 13 + int.from_bytes(data[at + 11 : at + 13], "big")
        found.append(data[at:end])
        at = end
    return found


def handshake(client: Identity) -> tuple[DtlsAssociation, float]:
    """(the server's end, CPU seconds of its most expensive datagram)."""
    a, b = pair(ME, client)
    most = 0.0
    for _ in range(40):
        flight = flight_of(b)
        for datagram in flight:
            began = time.thread_time()
            a.receive(datagram)
            most = max(most, time.thread_time() - began)
        answer = a.packets_to_send()
        for datagram in answer:
            b.receive(datagram)
        if not flight and not answer:
            break
    return a, most


HOSTILE: dict[str, tuple[Callable[[], Identity], str]] = {
    "a chain of 70 RSA certificates with large exponents": (lambda: chained(70, exponent=3000), "too long"),
    "a chain of 5 certificates": (lambda: chained(5, exponent=17), "more than 3"),
    "a chain of 2 RSA certificates with large exponents": (lambda: chained(2, exponent=3000), "exponent of 3000"),
    "an RSA key with a large exponent": (lambda: identity_with(with_exponent(3071)), "exponent of 3071"),
    "an RSA key of 5,120 bits": (lambda: identity_with(rsa.generate_private_key(65537, 5120)), "key of 5120 bits"),
    "a large certificate": (lambda: identity_with(P256, chain_bytes=14_000), "too long"),
    "a curve that is not WebRTC's": (lambda: identity_with(ec.generate_private_key(ec.BrainpoolP512R1())), "curve"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_certificates(name: str) -> None:
    make, reason = HOSTILE[name]
    client = make()
    ordinary = min(handshake(identity_with(P256))[1] for _ in range(5))
    found = [handshake(client) for _ in range(5)]
    for server, _ in found:
        assert server.state is State.CLOSED
        assert server.failure.startswith("handshake refused: DTLS ")
        assert reason in server.failure
    assert min(cost for _, cost in found) < 3 * ordinary, "a refusal costs no more than a handshake"


@pytest.mark.parametrize("exponent", [17, 32])
@pytest.mark.parametrize("count", [0, CHAIN_LIMIT - 1])
def test_a_short_chain_is_taken_and_not_verified(count: int, exponent: int) -> None:
    ordinary = min(handshake(identity_with(P256))[1] for _ in range(5))
    found = [handshake(chained(count, exponent=exponent)) for _ in range(5)]
    assert {server.state for server, _ in found} == {State.CONNECTED}
    assert min(cost for _, cost in found) < 4 * ordinary


HONEST: dict[str, Callable[[], ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]] = {
    "P-256": lambda: P256,
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "RSA-2048": lambda: rsa.generate_private_key(65537, 2048),
    "RSA-4096": lambda: rsa.generate_private_key(65537, 4096),
    "RSA with the exponent 3": lambda: rsa.generate_private_key(3, 2048),
}


@pytest.mark.parametrize("name", HONEST)
async def test_honest_certificates_over_a_socket(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint, name: str
) -> None:
    publisher, peer, _ = await published(endpoint, identity_with(HONEST[name]()))
    assert peer.tx is not None
    publisher.close()
    peer.close()


async def test_a_hostile_chain_over_a_socket_ends_its_connection_only(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    honest, honest_peer, _ = await published(endpoint)
    hostile = RawPeer(chained(70, exponent=3000))
    publisher = endpoint.open_publisher("PA_h", Silent())
    answer = negotiate(publisher, hostile.offer(), []).sdp
    hostile.use(answer, role="server" if "a=setup:active" in answer else "client")
    hostile.check()
    await until(lambda: publisher._connection.state.name == "CLOSED", hostile)
    assert honest._connection.state.name == "CONNECTED"
    for each in (honest, publisher, honest_peer, hostile):
        each.close()


class Silent:
    def data_received(self, payload: bytes | str, *, reliable: bool) -> None: ...

    def data_refused(self, size: int) -> None: ...

    def layers_wanted(self, mid: str, rids: tuple[str, ...]) -> None: ...

    def publisher_lost(self) -> None: ...


# -- the guard alone ----------------------------------------------------------------------------------------------------


def record(kind: int, length: int, offset: int, fragment: bytes, number: int = 2, epoch: int = 0) -> bytes:
    head = bytes([kind]) + length.to_bytes(3, "big") + pack("!H", number)
    body = head + offset.to_bytes(3, "big") + len(fragment).to_bytes(3, "big") + fragment
    return b"\x16\xfe\xfd" + pack("!H", epoch) + bytes(6) + pack("!H", len(body)) + body


def message(*certificates: bytes) -> bytes:
    listed = b"".join([len(one).to_bytes(3, "big") + one for one in certificates])
    return len(listed).to_bytes(3, "big") + listed


def der(key: object) -> bytes:
    return certificate("a", "b", key.public_key()).public_bytes(Encoding.DER)  # type: ignore[attr-defined]  # one of the key types that have it


GOOD = message(der(P256))
BAD = message(der(with_exponent(2000)))


@pytest.mark.parametrize("size", [1, 7, 100, 1000])
@pytest.mark.parametrize("order", [1, -1])
def test_a_certificate_in_fragments_of_any_order(size: int, order: int) -> None:
    for whole, refused in ((GOOD, False), (BAD, True)):
        guard = HandshakeGuard()
        fragments = [record(11, len(whole), at, whole[at : at + size]) for at in range(0, len(whole), size)][::order]
        for fragment in fragments[:-1]:
            guard.check(fragment)
            guard.check(fragment)  # each is sent twice
        if refused:
            with pytest.raises(HandshakeRefused, match="exponent"):
                guard.check(fragments[-1])
        else:
            guard.check(fragments[-1])


def test_fragments_that_overlap_have_to_agree() -> None:
    guard = HandshakeGuard()
    guard.check(record(11, len(GOOD), 0, GOOD[:100]))
    guard.check(record(11, len(GOOD), 50, GOOD[50:150]))
    with pytest.raises(HandshakeRefused, match="content"):
        guard.check(record(11, len(GOOD), 140, bytes(20)))


@pytest.mark.parametrize(
    "data",
    [
        record(11, CERTIFICATE_LIMIT + 1, 0, b"x"),
        record(1, MESSAGE_LIMIT + 1, 0, b"x"),
        record(16, 0xFFFFFF, 0, b""),
        record(13, 65_000, 100, b"x"),
    ],
)
def test_a_message_that_claims_to_be_long_is_refused_with_its_first_fragment(data: bytes) -> None:
    with pytest.raises(HandshakeRefused, match="too long"):
        HandshakeGuard().check(data)


@pytest.mark.parametrize(
    "data", [record(1, 10, 8, b"abc"), record(1, 10, 0, b"abc")[:-1], record(1, 4, 0, b"abcd")[:-6]]
)
def test_inconsistent_fragments_are_dropped(data: bytes) -> None:
    fixed = data[:11] + pack("!H", len(data) - 13) + data[13:]
    with pytest.raises(MalformedPacket) as caught:
        HandshakeGuard().check(fixed)
    assert not isinstance(caught.value, HandshakeRefused)


def test_certificates_that_never_end_take_no_memory() -> None:
    guard = HandshakeGuard()
    for number in range(MESSAGES):
        guard.check(record(11, CERTIFICATE_LIMIT, 0, b"x", number))
    with pytest.raises(HandshakeRefused, match="too many certificate messages"):
        guard.check(record(11, CERTIFICATE_LIMIT, 0, b"x", MESSAGES))


def test_encrypted_payloads_are_not_parsed() -> None:
    HandshakeGuard().check(record(11, 0xFFFFFF, 0, b"x", epoch=1))


@pytest.mark.parametrize("cut", range(3, 200, 7))
def test_a_certificate_that_is_cut_is_malformed(cut: int) -> None:
    one = der(P256)[:-cut]
    with pytest.raises(MalformedPacket):
        check_certificates(message(one))


def test_a_key_that_no_cipher_can_use_is_refused() -> None:
    with pytest.raises(HandshakeRefused, match="kind"):
        check_certificates(message(der(dsa.generate_private_key(1024))))


def test_many_greetings_cost_no_more_than_one() -> None:
    """A ClientHello that comes again, also with another number, makes no new flight."""
    a, b = pair(ME, identity_with(P256))
    (hello,) = b.packets_to_send()
    a.receive(hello)
    flights = [len(a.packets_to_send())]
    for number in range(1, 100):
        a.receive(hello[:11] + hello[11:17] + pack("!H", number) + hello[19:])
        a.receive(hello)
        flights.append(len(a.packets_to_send()))
    assert sum(flights[1:]) <= 2 * flights[0]
    roundtrip(a, b)


def test_no_renegotiation() -> None:
    a, b = pair(ME, identity_with(P256))
    roundtrip(a, b)
    assert a.state is b.state is State.CONNECTED
    greeting = DtlsAssociation(identity_with(P256), "client", [("sha-256", ME.fingerprint)])
    greeting.start()
    for datagram in greeting.packets_to_send():
        a.receive(datagram)
    assert a.packets_to_send() == []
    b.send(b"goes on")
    roundtrip(a, b)
    assert a.application_data() == [b"goes on"]
