import datetime
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sfu.transport import dtls
from sfu.transport.dtls import DtlsAssociation, Identity, State
from sfu.transport.srtp import PROFILES

ME = Identity()
OTHER = Identity()


def identity_with(key: object, *, chain_bytes: int = 0) -> Identity:
    """An identity with another kind of key; `chain_bytes` makes its certificate large."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "peer")])
    now = datetime.datetime.now(tz=datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())  # type: ignore[attr-defined]  # one of the key types that have it
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    if chain_bytes:
        names = [x509.DNSName(f"host-{number:04d}.example") for number in range(chain_bytes // 20)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]  # one of the key types that can sign
    return Identity(key, certificate)  # type: ignore[arg-type]  # keys that Identity does not make itself


def pair(server: Identity = ME, client: Identity = OTHER) -> tuple[DtlsAssociation, DtlsAssociation]:
    a = DtlsAssociation(server, "server", [("sha-256", client.fingerprint)])
    b = DtlsAssociation(client, "client", [("sha-256", server.fingerprint)])
    a.start()
    b.start()
    return a, b


def roundtrip(a: DtlsAssociation, b: DtlsAssociation, *, drop: set[int] | None = None) -> int:
    """Carries datagrams both ways until nothing moves; returns the largest. `drop`: which ones get lost."""
    largest = count = 0
    for _ in range(20):
        moved = False
        for source, target in ((b, a), (a, b)):
            for datagram in source.packets_to_send():
                moved = True
                largest = max(largest, len(datagram))
                if count not in (drop or ()):
                    target.receive(datagram)
                count += 1
        if not moved:
            break
    return largest


def test_both_ends_get_the_same_keys_and_prefer_aes_128_gcm() -> None:
    a, b = pair()
    roundtrip(a, b)
    assert a.state is b.state is State.CONNECTED
    assert a.keys is not None
    assert b.keys is not None
    assert (a.keys.receive, a.keys.send) == (b.keys.send, b.keys.receive)
    assert a.keys.profile is PROFILES[0]
    assert "keys" not in repr(a.keys).lower() or a.keys.receive.hex() not in repr(a.keys)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(lambda: rsa.generate_private_key(65537, 2048), id="RSA"),
        pytest.param(lambda: ec.generate_private_key(ec.SECP256R1()), id="P-256"),
    ],
)
@pytest.mark.parametrize("peer_is", ["server", "client"])
def test_peers_with_rsa_and_p_256_in_both_roles(key: object, peer_is: str) -> None:
    peer = identity_with(key())  # type: ignore[operator]  # parametrized with functions
    a, b = pair(peer, ME) if peer_is == "server" else pair(ME, peer)
    roundtrip(a, b)
    assert a.state is b.state is State.CONNECTED


def test_a_certificate_of_many_datagrams_arrives() -> None:
    peer = identity_with(rsa.generate_private_key(65537, 4096), chain_bytes=6000)
    for a, b in (pair(peer, ME), pair(ME, peer)):
        assert roundtrip(a, b) <= dtls.MTU
        assert a.state is b.state is State.CONNECTED


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_flight_is_sent_again(lost: int) -> None:
    a, b = pair()
    roundtrip(a, b, drop={lost})
    assert State.CONNECTED not in (a.state, b.state)
    timeouts = [timeout for end in (a, b) if (timeout := end.next_timeout()) is not None]
    assert timeouts
    time.sleep(max(timeouts) + 0.05)  # OpenSSL reads the clock itself
    for end in (a, b):
        end.handle_timeout()
    roundtrip(a, b)
    assert a.state is b.state is State.CONNECTED


@pytest.mark.parametrize(
    "prints",
    [[("sha-256", OTHER.fingerprint.replace("A", "B").replace("0", "1"))], [("md5", "00")], []],
)
def test_a_peer_with_another_fingerprint_than_the_sdp_is_refused(prints: list[tuple[str, str]]) -> None:
    a = DtlsAssociation(ME, "server", prints)
    b = DtlsAssociation(OTHER, "client", [("sha-256", ME.fingerprint)])
    a.start()
    b.start()
    roundtrip(a, b)
    assert a.state is State.CLOSED
    assert a.failure == "fingerprint mismatch"
    assert a.keys is None


def test_application_data_and_goodbye() -> None:
    a, b = pair()
    roundtrip(a, b)
    b.send(b"sctp")
    roundtrip(a, b)
    assert a.application_data() == [b"sctp"]
    assert a.application_data() == []
    b.close()
    roundtrip(a, b)
    assert a.state is State.CLOSED
    assert a.failure == "closed by the peer"


@pytest.mark.parametrize("junk", [b"", b"\x16", bytes(100), b"\x16\xfe\xfd" + bytes(2000), b"\x17\xfe\xfd" + bytes(40)])
def test_junk_changes_nothing(junk: bytes) -> None:
    a, b = pair()
    a.receive(junk)
    roundtrip(a, b)
    assert a.state is State.CONNECTED
    a.receive(junk)
    b.send(b"still here")
    roundtrip(a, b)
    assert a.application_data() == [b"still here"]
