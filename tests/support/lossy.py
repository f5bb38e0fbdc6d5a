"""A path that loses packets, for connections in this process."""

import asyncio

from sfu.forwarding.peer_transport import Address, DatagramSink


class Lossy:
    """A DatagramSink that loses every tenth datagram."""

    segments = False

    def __init__(self, inner: DatagramSink) -> None:
        self._inner = inner
        self._count = 0

    def send(self, data: memoryview | bytes, address: Address) -> bool:
        self._count += 1
        return self._count % 10 == 0 or self._inner.send(data, address)

    def send_segments(self, data: memoryview, size: int, address: Address) -> bool:
        return all(self.send(data[at : at + size], address) for at in range(0, len(data), size))


class Listener:
    """A ConnectionListener that can be waited for."""

    def __init__(self) -> None:
        self.is_connected = asyncio.Event()

    def connected(self) -> None:
        self.is_connected.set()

    def lost(self, reason: str) -> None: ...
