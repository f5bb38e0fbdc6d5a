"""The contract with pylibsrtp's private names, and what sealing must never do."""

import os

import pytest
from pylibsrtp import Policy, Session

from sfu.transport.srtp import DATAGRAM, PROFILES, Context, Opener, Profile, Sealer
from tests.support.wire import rtp


def keys(profile: Profile) -> bytes:
    return os.urandom(profile.key + profile.salt)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name.decode())
def test_what_is_sealed_opens_again_and_in_stock_libsrtp(profile: Profile) -> None:
    key = keys(profile)
    sealer, opener = Sealer(), Opener()
    sending, receiving = Context(profile, key, outbound=True), Context(profile, key, outbound=False)
    stock = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile.libsrtp))
    packet = rtp(b"payload", ssrc=5, sequence=7, timestamp=9)
    sealer.view[100 : 100 + len(packet)] = packet
    sealer.length[0] = len(packet)
    assert sealer.protect(sending.handle, sealer.base + 100, sealer.length) == 0
    sealed = bytes(sealer.view[100 : 100 + sealer.length[0]])
    assert len(sealed) == len(packet) + profile.tag
    assert stock.unprotect(sealed) == packet
    opener.view[: len(sealed)] = sealed
    opener.length[0] = len(sealed)
    assert opener.unprotect(receiving.handle, opener.pointer, opener.length) == 0
    assert bytes(opener.view[: opener.length[0]]) == packet


def test_an_index_is_never_sealed_twice() -> None:
    sealer, context = Sealer(), Context(PROFILES[0], keys(PROFILES[0]), outbound=True)
    results = []
    for timestamp in (1, 2):
        packet = rtp(b"x", ssrc=5, sequence=7, timestamp=timestamp)
        sealer.view[: len(packet)] = packet
        sealer.length[0] = len(packet)
        results.append(sealer.protect(context.handle, sealer.base, sealer.length))
    assert results[0] == 0
    assert results[1] != 0


def test_replays_and_bad_tags_do_not_open() -> None:
    key = keys(PROFILES[0])
    stock = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=PROFILES[0].libsrtp))
    sealed = stock.protect(rtp(b"x" * 50, ssrc=5, sequence=7, timestamp=1))
    opener, context = Opener(), Context(PROFILES[0], key, outbound=False)

    def opens(data: bytes) -> bool:
        opener.view[: len(data)] = data
        opener.length[0] = len(data)
        return not opener.unprotect(context.handle, opener.pointer, opener.length)

    assert not opens(sealed[:-1] + bytes((sealed[-1] ^ 1,)))
    assert not any(opens(os.urandom(200)) for _ in range(1000))
    assert opens(sealed)
    assert not opens(sealed)


def test_rtcp_is_sealed_and_too_much_of_it_is_not() -> None:
    key = keys(PROFILES[0])
    context, sealer = Context(PROFILES[0], key, outbound=True), Sealer()
    stock = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=PROFILES[0].libsrtp))
    report = bytes.fromhex("80c9000100000001")
    sealed = sealer.seal_rtcp(context.handle, report)
    assert sealed is not None
    assert stock.unprotect_rtcp(bytes(sealed)) == report
    assert sealer.seal_rtcp(context.handle, bytes(DATAGRAM)) is None
