"""One ICE-TCP connection (RFC 6544): the engine's DatagramSink towards its peer, and the reader of its frames.

The kernel's send buffer is the queue: TCP_NOTSENT_LOWAT limits what waits in it, to less while the path is slower than the
media, so that a peer which reads too slowly loses media packets instead of receiving them late. Its congestion control sees
growing delay and lost packets, as on UDP. STUN, DTLS and RTCP wait in a small buffer of their own. Nothing here blocks, and no
method raises.
"""

import asyncio
import socket
import sys
import time
from collections import Counter
from typing import Final, Protocol

from sfu.errors import MalformedPacket
from sfu.forwarding.loop_budget import LoopBudget
from sfu.forwarding.peer_transport import Address, TcpAddress
from sfu.transport.framing import FRAME_LIMIT, HEADER_SIZE, header, split

READ_BYTES: Final = 16_384
"""Bytes read per connection and turn of the loop."""
BUFFER_BYTES: Final = 262_144
"""Requested size of the kernel's send and receive buffers."""
UNSENT_BYTES: Final = 131_072
"""Bytes that may wait for transmission in the kernel's send buffer: a keyframe of 1080p."""
UNSENT_SECONDS: Final = 0.2
"""Seconds without an empty queue after which the path counts as slow."""
SLOW_UNSENT_BYTES: Final = 16_384
"""Bytes that may wait on a slow path: a keyframe of a small layer."""
CONTROL_BYTES: Final = 65_536
"""Bytes of STUN, DTLS and RTCP that wait until the peer reads again."""
UNAUTHENTICATED_READS: Final = 16
"""Reads, or frames if there are more, before the first valid check: browsers send a check in one segment."""
UNAUTHENTICATED_BYTES: Final = 512
"""Bytes per read before the first valid check. Hundreds of strangers may be read in one turn of the loop."""
PAUSE: Final = 0.1
"""Seconds without reading from a peer that has used up its loop budget with parts of frames."""
TCP_INFO, TCP_NOTSENT_LOWAT, TCP_USER_TIMEOUT = 11, 25, 18
INFO_SIZE: Final = 148
"""Bytes of `struct tcp_info` up to and with `tcpi_notsent_bytes`, a number of 32 bits."""
USER_TIMEOUT_MS: Final = 30_000
"""A peer that acknowledges nothing for so long is gone; the same as `rtc.consent_timeout`."""


class FrameReceiver(Protocol):
    """The port (tcp_port.py), as its connections use it."""

    buffer: memoryview
    """The memory that connections read into; in use during one read only."""
    dropped: Counter[str]

    def take(self, connection: "TcpConnection", datagram: memoryview, now: float) -> None:
        """Handles one datagram."""

    def flush(self, now: float) -> None:
        """Call after the last datagram of a read."""

    def authenticate(self, connection: "TcpConnection") -> None:
        """Sets `connection.authenticated` if a valid check came over it."""

    def budget_of(self, connection: "TcpConnection") -> LoopBudget: ...

    def connection_closed(self, connection: "TcpConnection") -> None: ...


class TcpConnection:
    """Created by TcpPort for an accepted socket. `address` identifies the connection in the table of the media port."""

    __slots__ = (
        "_backlog",
        "_loop",
        "_partial",
        "_paused",
        "_port",
        "_reads",
        "_sendmsg",
        "_unsent_limit",
        "_unsent_since",
        "address",
        "authenticated",
        "closed",
        "dropped",
        "fd",
        "opened_at",
        "ready",
        "segments",
        "sock",
    )

    def __init__(
        self, sock: socket.socket, address: TcpAddress, port: FrameReceiver, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        """−1 after `close`. (C)"""
        self.address = address
        self.segments = True
        self.ready = True
        """Whether the send buffer takes more, and no bytes wait in `_backlog`. (C)"""
        self.authenticated = False
        """Whether a valid connectivity check came over this connection."""
        self.closed = False
        self.dropped = 0
        """Media packets dropped because the peer reads too slowly."""
        self.opened_at = time.monotonic()
        self._port = port
        self._loop = loop
        self._sendmsg = sock.sendmsg
        self._backlog = bytearray()
        """The rest of a frame of which the kernel took a part, then STUN, DTLS and RTCP."""
        self._partial = b""
        """The beginning of a frame of which the rest has not arrived."""
        self._unsent_limit = UNSENT_BYTES
        self._unsent_since = self.opened_at
        self._reads = 0
        self._paused: asyncio.TimerHandle | None = None
        _configure(sock)
        loop.add_reader(self.fd, self._readable)

    def close(self) -> None:
        """Idempotent. The candidate pair of this connection ends."""
        if self.closed:
            return
        self.closed = True
        self.ready = False
        if self._paused is not None:
            self._paused.cancel()
        self._loop.remove_reader(self.fd)
        self._loop.remove_writer(self.fd)
        self.fd = -1
        self.sock.close()
        self._backlog.clear()
        self._port.connection_closed(self)

    # -- sending ----------------------------------------------------------------------------------------------------

    def send(self, data: memoryview | bytes, address: Address) -> bool:
        if not self.ready:
            return self._defer(data)
        size = len(data)
        try:
            sent = self._sendmsg((header(size), data))
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:  # the connection ended; the reader closes it
            self.ready = False
            return False
        if sent == size + HEADER_SIZE:
            return True
        self._block()
        if sent == 0:
            return self._defer(data)
        self._backlog += (header(size) + data)[sent:]
        return True

    def send_segments(self, data: memoryview, size: int, address: Address) -> bool:
        count = -(-len(data) // size)
        if not self.ready:
            self.dropped += count
            return False
        parts: list[memoryview | bytes] = []
        for at in range(0, len(data), size):
            segment = data[at : at + size]
            parts.append(header(len(segment)))
            parts.append(segment)
        try:
            sent = self._sendmsg(parts)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            sent = -1
        if sent == len(data) + count * HEADER_SIZE:
            return True
        return self.frames_sent(memoryview(b"".join(parts)), sent) == 0

    def frames_sent(self, frames: memoryview, sent: int) -> int:
        """The kernel took `sent` bytes of these frames, fewer than all; negative: the connection ended. Keeps the rest of a
        frame of which it took a part, and returns the number of frames that are dropped. The C part calls it."""
        if sent < 0:  # the reader closes it
            self.ready = False
        else:
            self._block()
        at = dropped = 0
        while at < len(frames):
            end = at + HEADER_SIZE + (frames[at] << 8 | frames[at + 1])
            if sent <= at:
                dropped += 1
            elif sent < end:
                self._backlog += frames[sent:end]
            at = end
        self.dropped += dropped
        return dropped

    def limit_unsent(self, now: float) -> None:
        """Lowers the limit of bytes that wait in the kernel while the path is slower than the media. Call it ten times a
        second."""
        try:
            info = self.sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, INFO_SIZE)
            if len(info) < INFO_SIZE or not int.from_bytes(info[-4:], sys.byteorder):
                self._unsent_since, limit = now, UNSENT_BYTES
            else:
                limit = UNSENT_BYTES if now - self._unsent_since < UNSENT_SECONDS else SLOW_UNSENT_BYTES
            if limit != self._unsent_limit:
                self._unsent_limit = limit
                self.sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, limit)
        except OSError:  # the connection ended; the reader closes it
            self.ready = False

    def _defer(self, data: memoryview | bytes) -> bool:
        """Keeps STUN, DTLS and RTCP until the kernel takes more; drops media (RFC 7983, RFC 5761 4)."""
        is_media = 127 < data[0] < 192 and not 191 < data[1] < 224
        if is_media or self.closed or len(self._backlog) + len(data) > CONTROL_BYTES:
            self.dropped += 1
            return False
        self._backlog += header(len(data))
        self._backlog += data
        return True

    def _block(self) -> None:
        if self.ready:
            self.ready = False
            self._loop.add_writer(self.fd, self._writable)

    def _writable(self) -> None:
        backlog = self._backlog
        if backlog:
            try:
                del backlog[: self.sock.send(backlog)]
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.close()
                return
        if not backlog:
            self._loop.remove_writer(self.fd)
            self.ready = True

    # -- receiving --------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        now = time.monotonic()
        buffer, kept = self._port.buffer, len(self._partial)
        buffer[:kept] = self._partial
        try:
            count = self.sock.recv_into(
                buffer[kept : kept + (READ_BYTES if self.authenticated else UNAUTHENTICATED_BYTES)]
            )
            frames, taken, skipped = split(buffer, kept + count)
        except (BlockingIOError, InterruptedError):
            return
        except MalformedPacket:
            self._port.dropped["tcp_frame_size"] += 1
            self.close()
            return
        except OSError:
            count = 0
        if not count:
            self.close()
            return
        self._partial = bytes(buffer[taken : kept + count])
        if skipped:
            self._port.dropped["short"] += skipped
        if not self.authenticated and not self._is_check(frames, skipped):
            return
        take = self._port.take
        for begin, end in frames:
            take(self, buffer[begin:end], now)
            if self.closed:
                return
        if not self.authenticated:
            self._port.authenticate(self)
        if frames:
            self._port.flush(now)
        if skipped or not frames:
            self._charge(time.monotonic() - now, now)

    def _is_check(self, frames: list[tuple[int, int]], skipped: int) -> bool:
        """Whether a connection without a valid check has sent STUN, and not too little at a time."""
        self._reads += max(1, len(frames) + skipped)
        if self._reads > UNAUTHENTICATED_READS or any(self._port.buffer[begin] > 3 for begin, _ in frames):
            self._port.dropped["tcp_not_stun"] += 1
            self.close()
            return False
        return True

    def _charge(self, elapsed: float, now: float) -> None:
        """Charges a read without a datagram. A peer without credit is not read for a moment: TCP slows it down."""
        budget = self._port.budget_of(self)
        budget.charge_elapsed(elapsed, now)
        if self.authenticated and budget.delay(now):
            self._loop.remove_reader(self.fd)
            self._paused = self._loop.call_later(PAUSE, self._resume)

    def _resume(self) -> None:
        self._paused = None
        self._loop.add_reader(self.fd, self._readable)


def _configure(sock: socket.socket) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        sock.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS)


BUFFER_SIZE: Final = FRAME_LIMIT + HEADER_SIZE + READ_BYTES
"""Bytes of the buffer that all connections of a port read into: the beginning of a frame, then a read."""
