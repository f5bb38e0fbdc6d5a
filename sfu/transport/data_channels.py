"""Data channels over aiortc's SCTP, behind our guard (RFC 8831, RFC 8832, RFC 9260).

aiortc's association trusts its peer: a parameter of length 0 makes it loop forever, an invalid chunk ends the connection.
Therefore every packet passes `SctpAssociation.check` first, remaining faults are caught here, and the send queue is bounded.
The association's coroutines never suspend (our transport sends immediately), so they run to completion where they are
called, without a task.
"""

import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Final, Protocol

from aiortc import RTCDataChannel, RTCSctpCapabilities

from sfu.errors import MalformedPacket
from sfu.transport.sctp_association import SctpAssociation

log = logging.getLogger(__name__)

LABELS: Final = ("reliable", "lossy")
"""The channels a client may open; others are closed at once."""
OUTGOING_LIMIT: Final = 65_536
"""Bytes of a message to a client that accepts any size (`a=max-message-size:0`)."""
FAILURES: Final = 16
"""Malformed packets or internal faults after which the association is closed."""


class DataListener(Protocol):
    def message_received(self, label: str, payload: bytes | str) -> None: ...

    def message_refused(self, size: int) -> None:
        """A message of `size` bytes is longer than the SDP announces."""


class _Link:
    """The slice of RTCDtlsTransport that RTCSctpTransport uses."""

    def __init__(self, send: Callable[[bytes], None], *, server: bool) -> None:
        self.state = "connected"
        self._role = "server" if server else "client"
        self._send = send

    def _register_data_receiver(self, receiver: object) -> None: ...

    def _unregister_data_receiver(self, receiver: object) -> None: ...

    async def _send_data(self, data: bytes) -> None:
        self._send(data)


class DataChannels:
    """The SCTP association of one connection."""

    def __init__(
        self,
        send: Callable[[bytes], None],
        *,
        server: bool,
        remote_port: int,
        max_message_size: int,
        buffer_bytes: int,
        listener: DataListener,
        counts: Counter[str] | None = None,
    ) -> None:
        """`counts`: counts refused packets and messages, by reason."""
        self._listener = listener
        self._counts = counts if counts is not None else Counter()
        self._remote_port = remote_port
        self._max_message_size = max_message_size or OUTGOING_LIMIT
        self._buffer_bytes = buffer_bytes
        self._link = _Link(send, server=server)
        self._sctp = SctpAssociation(self._link)  # type: ignore[arg-type]  # the slice of it that is used
        self._sctp.on("datachannel", self._opened)
        self._channels: dict[str, RTCDataChannel] = {}
        self._started = self._faulted = False
        self.closed = False
        self.failures = 0
        self.dropped = 0
        """Messages not sent: no channel, or its buffer is full."""

    @property
    def acknowledged(self) -> bool:
        """Whether the last packet only acknowledged our data."""
        return self._sctp.acknowledges

    def start(self) -> None:
        if not self._started:
            self._started = True
            self._run(self._sctp.start(RTCSctpCapabilities(self._max_message_size), self._remote_port))

    def receive(self, packet: bytes) -> None:
        """One SCTP packet from DTLS."""
        if self.closed or not self._started:
            return
        refused = self._sctp.refused
        try:
            packet = self._sctp.check(packet)
        except MalformedPacket:
            self._failed("sctp_malformed")
            return
        self._run(self._sctp._handle_data(packet))
        if self._sctp.oversized:
            size, self._sctp.oversized = self._sctp.oversized, 0
            self._listener.message_refused(size)
        if self._sctp.refused != refused:
            self._counts["sctp_refused"] += self._sctp.refused - refused

    def send(self, label: str, payload: bytes | str) -> bool:
        """Sends on the client's channel with this label. False: there is no such channel, or the client does not read it."""
        channel = self._channels.get(label)
        size = len(payload.encode()) if isinstance(payload, str) else len(payload)
        if channel is None or channel.readyState != "open" or size > self._max_message_size:
            self.dropped += 1
            return False
        if channel.bufferedAmount + self._pending() > self._buffer_bytes:
            self.dropped += 1
            if label == "reliable":
                log.info("data channel closed: its reader is too slow")
                self._channels.pop(label)
                channel.close()
            return False
        channel.send(payload)
        return True

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if self._started:
                self._run(self._sctp.stop())
                self._sctp.forget()
            self._link.state = "closed"

    def _pending(self) -> int:
        """Bytes that aiortc holds beyond the channel's own count: queued, or sent and not acknowledged."""
        queues = (self._sctp._outbound_queue, self._sctp._sent_queue)
        return sum(len(chunk.user_data) for queue in queues for chunk in queue)

    def _opened(self, channel: RTCDataChannel) -> None:
        if channel.label not in LABELS or channel.label in self._channels:
            channel.close()
            return
        self._channels[channel.label] = channel
        label = channel.label
        channel.on("message", lambda payload: self._listener.message_received(label, payload))
        channel.on("close", lambda: self._channels.pop(label, None))

    def _run(self, coroutine: Coroutine[object, None, None]) -> None:
        try:
            coroutine.send(None)
        except StopIteration:
            return
        except Exception:  # aiortc may raise anything on hostile input; the fault stays here
            if not self._faulted:
                self._faulted = True
                log.warning("data channel fault", exc_info=True)
            self._failed("sctp_fault")
            return
        coroutine.close()
        raise RuntimeError("aiortc's SCTP suspended, which breaks the contract of this module")

    def _failed(self, reason: str) -> None:
        self._counts[reason] += 1
        self.failures += 1
        if self.failures >= FAILURES and not self.closed:
            log.info("data channels closed after too many faults")
            self.close()
