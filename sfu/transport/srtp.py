"""SRTP through libsrtp, without a copy or an object per packet (RFC 3711, RFC 7714).

pylibsrtp's `Session.protect` copies twice; calling its `ffi` and `lib` with one reused buffer halves the cost. These names are
private to that package. Only this module uses them, and tests/transport/test_srtp.py checks their contract.

A packet index is never encrypted twice (`allow_repeat_tx` stays off): with GCM, a second packet with the same nonce reveals
the authentication key.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from socket import htonl
from typing import Final

from pylibsrtp import Policy, Session
from pylibsrtp._binding import ffi, lib

from sfu.forwarding.fanout import Length
from sfu.forwarding.peer_transport import Pointer, SrtpContext

DATAGRAM: Final = 2048
ARENA: Final = 65_536 + 4096
REPLAY_WINDOW: Final = 1024
RTCP_LIMIT: Final = 1400


@dataclass(frozen=True, slots=True)
class Profile:
    """One DTLS-SRTP protection profile (RFC 5764, RFC 7714): key and salt sizes in bytes."""

    name: bytes
    libsrtp: int
    key: int
    salt: int
    tag: int


PROFILES: Final = (
    Profile(b"SRTP_AEAD_AES_128_GCM", Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12, 16),
    Profile(b"SRTP_AEAD_AES_256_GCM", Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12, 16),
    Profile(b"SRTP_AES128_CM_SHA1_80", Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14, 10),
)
"""In order of preference: AES-128-GCM costs half as much as AES-CM with SHA-1."""


@dataclass(frozen=True, slots=True, repr=False)
class SrtpKeys:
    """Result of a DTLS handshake: master key and salt of each direction."""

    profile: Profile
    receive: bytes
    send: bytes


class SrtpSession:
    """A libsrtp session for one direction; keeps the Python object that owns the C one alive."""

    __slots__ = ("handle", "session")

    def __init__(self, profile: Profile, key: bytes, *, outbound: bool) -> None:
        policy = _policy(profile.libsrtp, outbound)
        policy.key = key
        self.session = Session(policy)
        policy.key = None
        self.handle: SrtpContext = self.session._srtp[0]

    def forget(self, ssrc: int) -> None:
        """Frees the state of a stream. A sent stream must not be sent again: its nonces would repeat."""
        lib.srtp_remove_stream(self.handle, htonl(ssrc))  # libsrtp 2 expects network byte order


@lru_cache
def _policy(profile: int, outbound: bool) -> Policy:
    """One policy for all sessions except for the key, which libsrtp copies; creating a policy costs as much as a session."""
    policy = Policy(
        ssrc_type=Policy.SSRC_ANY_OUTBOUND if outbound else Policy.SSRC_ANY_INBOUND,
        srtp_profile=profile,
    )
    policy.window_size = REPLAY_WINDOW
    return policy


class SrtpEncryptor:
    """The memory in which outbound packets are built and encrypted. One per engine; used by one thread."""

    def __init__(self) -> None:
        self._memory = ffi.new("unsigned char[]", ARENA)
        self.view = memoryview(ffi.buffer(self._memory)).cast("B")
        self.base: Pointer = self._memory
        self.length: Length = ffi.new("int *")
        self.protect: Callable[[SrtpContext, Pointer, Length], int] = lib.srtp_protect
        self._rtcp = ffi.new("unsigned char[]", DATAGRAM)
        self._rtcp_view = memoryview(ffi.buffer(self._rtcp)).cast("B")
        self._protect_rtcp: Callable[[SrtpContext, Pointer, Length], int] = lib.srtp_protect_rtcp

    def encrypt_rtcp(self, context: SrtpContext, data: bytes) -> memoryview | None:
        """The encrypted compound packet, valid until the next call; None when encryption fails."""
        if len(data) > RTCP_LIMIT:
            return None
        self._rtcp_view[: len(data)] = data
        self.length[0] = len(data)
        if self._protect_rtcp(context, self._rtcp, self.length):
            return None
        return self._rtcp_view[: self.length[0]]


class SrtpDecryptor:
    """The memory in which datagrams are received and decrypted."""

    def __init__(self) -> None:
        self._memory = ffi.new("unsigned char[]", DATAGRAM)
        self.view = memoryview(ffi.buffer(self._memory)).cast("B")
        self.pointer: Pointer = self._memory
        self.length: Length = ffi.new("int *")
        self.unprotect: Callable[[SrtpContext, Pointer, Length], int] = lib.srtp_unprotect
        self.unprotect_rtcp: Callable[[SrtpContext, Pointer, Length], int] = lib.srtp_unprotect_rtcp
