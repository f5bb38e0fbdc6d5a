"""The packet path in C where it was built (native_src/, an optional part of the installation): found, checked, set up.

Measured: a quarter to a half of what the same path costs in Python (README, Benchmarks). It does the usual case of
sfu.forwarding.fanout, sfu.forwarding.inbound and sfu.transport.udp and calls them for everything else; they are what it is
tested against, and what is used where it was not built. It links nothing: libsrtp is pylibsrtp's own, by address.
"""

import logging
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Final

from pylibsrtp._binding import ffi, lib

from sfu.forwarding import fanout, header_extensions, inbound, packet
from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.peer_transport import PLAIN, SrtpContext
from sfu.forwarding.track import Track
from sfu.sdp import capabilities as caps
from sfu.transport.udp_socket import UdpSocket

log = logging.getLogger(__name__)

INTERFACE: Final = 5
"""Of the C part; one that was built from other sources is left alone."""
SIGNATURE: Final = ["struct srtp_ctx_t_ *", "void *", "int *"]
FanOut = Callable[[Iterable[DownTrack], list[fanout.GsoBatch], fanout.SrtpEncryptor], int]


def load() -> ModuleType | None:
    """The C part, ready for use; None where it cannot be had."""
    try:
        from sfu.transport import _native
    except ImportError:
        return None
    functions = [ffi.addressof(lib, name) for name in ("srtp_protect", "srtp_unprotect")]
    fits = all([each.cname for each in ffi.typeof(function).args] == SIGNATURE for function in functions)
    if _native.INTERFACE != INTERFACE or not fits:
        log.warning("native packet path does not fit and is not used; install again")
        return None
    protect, unprotect = (int(ffi.cast("uintptr_t", function)) for function in functions)
    try:
        _native.setup(
            (EnginePeer, DownTrack, Encoding, Track, packet.Packet, packet.CodecPatch, UdpSocket),
            (
                packet.TWCC_AND_MID,
                packet.WIDE_TWCC,
                packet.WIDE_MID,
                caps.OUT_EXTENSION_IDS[caps.URI_AUDIO_LEVEL],
                caps.OUT_EXTENSION_IDS[caps.URI_DEPENDENCY_DESCRIPTOR],
                caps.OUT_EXTENSION_IDS[caps.URI_ABS_SEND_TIME],
                header_extensions.IGNORE,
                header_extensions.TWCC,
                header_extensions.LEVEL,
                header_extensions.DEPENDENCY,
                header_extensions.SEND_TIME,
                header_extensions.PASS,
            ),
            PLAIN,
            fanout.fan_out,
            inbound.describe,
            _word_of,
            protect,
            unprotect,
        )
    except (TypeError, AttributeError):
        log.warning("native packet path does not fit and is not used; install again", exc_info=True)
        return None
    return _native


def _word_of(context: SrtpContext) -> int:
    return int(ffi.cast("uintptr_t", context))
