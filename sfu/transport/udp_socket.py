"""The sending side of a media socket: datagrams one by one or in runs (UDP GSO), and what to do when the kernel says no."""

import errno
import socket
import struct
from typing import Final

from sfu.forwarding.peer_transport import Address

UDP_SEGMENT: Final = 103
SOL_UDP: Final = 17
UNABLE: Final = (errno.EIO, errno.ENOPROTOOPT, errno.EOPNOTSUPP)
"""What kernels say when they cannot segment: from then on datagrams go one by one."""
NARROW: Final = (errno.EINVAL, errno.EMSGSIZE)
"""What they say when this path is narrower than this segment: these datagrams go one by one."""


class UdpSocket:
    """One bound socket; the engine's Outlet. Several packets to one destination leave in one message where the kernel can."""

    __slots__ = ("_ancillary", "_sendmsg", "_sendto", "dropped", "fd", "port", "segments", "sock")

    def __init__(self, sock: socket.socket, *, segments: bool) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        """−1 once it is closed."""
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
        except OSError:  # full buffer, or the network says no: for media both mean a lost packet
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
