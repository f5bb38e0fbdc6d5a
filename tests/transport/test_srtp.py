"""The contract with pylibsrtp's private names, and what sealing must never do."""

import os

import pytest
from pylibsrtp import Policy, Session

from sfu.transport.srtp import DATAGRAM, PROFILES, Profile, SrtpDecryptor, SrtpEncryptor, SrtpSession
from tests.support.wire import rtp


def keys(profile: Profile) -> bytes:
    return os.urandom(profile.key + profile.salt)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name.decode())
def test_sealed_packets_open_again_and_in_stock_libsrtp(profile: Profile) -> None:
    key = keys(profile)
    encryptor, decryptor = SrtpEncryptor(), SrtpDecryptor()
    sending, receiving = SrtpSession(profile, key, outbound=True), SrtpSession(profile, key, outbound=False)
    stock = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile.libsrtp))
    packet = rtp(b"payload", ssrc=5, sequence=7, timestamp=9)
    encryptor.view[100 : 100 + len(packet)] = packet
    encryptor.length[0] = len(packet)
    assert encryptor.protect(sending.handle, encryptor.base + 100, encryptor.length) == 0
    sealed = bytes(encryptor.view[100 : 100 + encryptor.length[0]])
    assert len(sealed) == len(packet) + profile.tag
    assert stock.unprotect(sealed) == packet
    decryptor.view[: len(sealed)] = sealed
    decryptor.length[0] = len(sealed)
    assert decryptor.unprotect(receiving.handle, decryptor.pointer, decryptor.length) == 0
    assert bytes(decryptor.view[: decryptor.length[0]]) == packet


def test_an_index_is_never_sealed_twice() -> None:
    encryptor, context = SrtpEncryptor(), SrtpSession(PROFILES[0], keys(PROFILES[0]), outbound=True)
    results = []
    for timestamp in (1, 2):
        packet = rtp(b"x", ssrc=5, sequence=7, timestamp=timestamp)
        encryptor.view[: len(packet)] = packet
        encryptor.length[0] = len(packet)
        results.append(encryptor.protect(context.handle, encryptor.base, encryptor.length))
    assert results[0] == 0
    assert results[1] != 0


def test_replays_and_bad_tags_do_not_open() -> None:
    key = keys(PROFILES[0])
    stock = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=PROFILES[0].libsrtp))
    sealed = stock.protect(rtp(b"x" * 50, ssrc=5, sequence=7, timestamp=1))
    decryptor, context = SrtpDecryptor(), SrtpSession(PROFILES[0], key, outbound=False)

    def opens(data: bytes) -> bool:
        decryptor.view[: len(data)] = data
        decryptor.length[0] = len(data)
        return not decryptor.unprotect(context.handle, decryptor.pointer, decryptor.length)

    assert not opens(sealed[:-1] + bytes((sealed[-1] ^ 1,)))
    assert not any(opens(os.urandom(200)) for _ in range(1000))
    assert opens(sealed)
    assert not opens(sealed)


def test_rtcp_is_sealed_and_too_much_of_it_is_not() -> None:
    key = keys(PROFILES[0])
    context, encryptor = SrtpSession(PROFILES[0], key, outbound=True), SrtpEncryptor()
    stock = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=PROFILES[0].libsrtp))
    report = bytes.fromhex("80c9000100000001")
    sealed = encryptor.encrypt_rtcp(context.handle, report)
    assert sealed is not None
    assert stock.unprotect_rtcp(bytes(sealed)) == report
    assert encryptor.encrypt_rtcp(context.handle, bytes(DATAGRAM)) is None
