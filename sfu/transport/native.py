"""Loads the packet path in C (native_src/), an optional part of the installation, and checks that it fits.

It costs a quarter to a half of the Python path (tests/bench/README.md). It handles the common case of
sfu.forwarding.fanout, sfu.forwarding.inbound and sfu.transport.udp and calls them for everything else. They are the
reference in its tests and the fallback where it is not built. It links no library: it calls pylibsrtp's libsrtp by address.
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
from sfu.transport.tcp_connection import TcpConnection
from sfu.transport.udp_socket import UdpSocket

log = logging.getLogger(__name__)

INTERFACE: Final = 7
"""Version of the interface; a C part built from other sources is not used."""
SIGNATURE: Final = ["struct srtp_ctx_t_ *", "void *", "int *"]
FanOut = Callable[[Iterable[DownTrack], list[fanout.GsoBatch], fanout.SrtpEncryptor], int]


def load() -> ModuleType | None:
    """The C part, set up; None when it is not available."""
    try:
        from sfu.transport import _native
    except ImportError:
        return None
    functions = [ffi.addressof(lib, name) for name in ("srtp_protect", "srtp_unprotect")]
    fits = all([each.cname for each in ffi.typeof(function).args] == SIGNATURE for function in functions)
    if _native.INTERFACE != INTERFACE or not fits:
        log.warning("native packet path does not match this version and is not used; reinstall aiosfu")
        return None
    protect, unprotect = (int(ffi.cast("uintptr_t", function)) for function in functions)
    try:
        _native.setup(
            (EnginePeer, DownTrack, Encoding, Track, packet.Packet, packet.CodecPatch, UdpSocket, TcpConnection),
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
        log.warning("native packet path does not match this version and is not used; reinstall aiosfu", exc_info=True)
        return None
    return _native


def _word_of(context: SrtpContext) -> int:
    return int(ffi.cast("uintptr_t", context))
