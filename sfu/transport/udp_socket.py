"""Sends on a media socket: single datagrams or UDP GSO batches, with a fallback when the kernel refuses them."""

import errno
import socket
import struct
from typing import Final

from sfu.forwarding.peer_transport import Address

UDP_SEGMENT: Final = 103
SOL_UDP: Final = 17
UNABLE: Final = (errno.EIO, errno.ENOPROTOOPT, errno.EOPNOTSUPP)
"""Errors of kernels without UDP GSO: datagrams are sent one by one from then on."""
NARROW: Final = (errno.EINVAL, errno.EMSGSIZE)
"""Errors when the segment exceeds the path MTU: these datagrams are sent one by one."""


class UdpSocket:
    """One bound socket; the engine's DatagramSink. Uses UDP GSO where the kernel supports it."""

    __slots__ = ("_ancillary", "_sendmsg", "_sendto", "dropped", "fd", "port", "segments", "sock")

    def __init__(self, sock: socket.socket, *, segments: bool) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        """−1 after `close`."""
        self.port: int = sock.getsockname()[1]
        self.segments = segments
        self.dropped = 0
        self._sendto = sock.sendto
        self._sendmsg = sock.sendmsg
        self._ancillary: dict[int, list[tuple[int, int, bytes]]] = {}

    def close(self) -> None:
        self.fd = -1
        self.sock.close()

    def send(self, data: memoryview | bytes, address: Address) -> bool:
        try:
            self._sendto(data, address)
        except OSError:  # full buffer or network error: for media both are a lost packet
            self.dropped += 1
            return False
        return True

    def send_segments(self, data: memoryview, size: int, address: Address) -> bool:
        if not self.segments:
            return self._send_each(data, size, address)
        ancillary = self._ancillary.get(size)
        if ancillary is None:
            ancillary = self._ancillary[size] = [(SOL_UDP, UDP_SEGMENT, struct.pack("H", size))]
        try:
            self._sendmsg((data,), ancillary, 0, address)
        except OSError as error:
            if error.errno in UNABLE:
                self.segments = False
            if error.errno in UNABLE or error.errno in NARROW:
                return self._send_each(data, size, address)
            self.dropped += 1
            return False
        return True

    def _send_each(self, data: memoryview, size: int, address: Address) -> bool:
        sent = True
        for at in range(0, len(data), size):
            sent = self.send(data[at : at + size], address) and sent
        return sent
