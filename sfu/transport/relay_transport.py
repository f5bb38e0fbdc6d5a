"""The media transport to one other node: SRTP over the UDP port that clients use, without DTLS and SDP.

The port's table of addresses leads to it as to a client's connection, so packets take the usual path, in C as well.
"""

import logging
import socket
from typing import TYPE_CHECKING, Final

from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.peer_transport import Address, DatagramSink
from sfu.transport import stun
from sfu.transport.relay_keys import PROFILE, SessionKeys
from sfu.transport.relay_path import RelayPath, socket_address
from sfu.transport.srtp import SrtpSession

if TYPE_CHECKING:
    from sfu.transport.webrtc_server import WebRtcServer

log = logging.getLogger(__name__)

RTCP_SSRC: Final = 1
"""SSRC of our reports. Media streams have higher ones."""
PROVEN_FOR: Final = 10.0
"""Seconds for which an address that the other node proved cannot be claimed by another connection."""


class RelayTransport:
    """A DatagramHandler. The engine's peer lives as long as this object; `begin` gives it the keys of each session."""

    def __init__(self, webrtc_server: "WebRtcServer") -> None:
        self._webrtc_server = webrtc_server
        self.peer: EnginePeer = webrtc_server.engine.open_node_peer(webrtc_server.next_peer_id(), RTCP_SSRC)
        self._sessions: tuple[SrtpSession, SrtpSession] | None = None
        """Inbound and outbound; keeps them alive."""
        self._proven: dict[Address, float] = {}
        """Addresses that a check of the other node proved, and when."""
        self.path: RelayPath | None = None
        self.closed = False

    def begin(self, keys: SessionKeys, addresses: tuple[tuple[str, int], ...], now: float) -> None:
        """Uses the keys of a new session from now on. `addresses`: where the other node receives media."""
        self.end()
        rx = SrtpSession(PROFILE, keys.receive.srtp, outbound=False)
        tx = SrtpSession(PROFILE, keys.send.srtp, outbound=True)
        self._sessions = rx, tx
        self._webrtc_server.engine.set_srtp_sessions(self.peer, rx.handle, tx.handle, PROFILE.tag, rx.forget)
        self.path = RelayPath(keys, [], now)
        self.add_addresses(addresses)
        self._webrtc_server.learn_ufrag(self.path.ufrag, self)

    def add_addresses(self, addresses: tuple[tuple[str, int], ...]) -> None:
        """Addresses that the other node announced."""
        if self.path is not None:
            self.path.add([each for each in (socket_address(*address) for address in addresses) if each is not None])

    def forget_sent(self, ssrc: int) -> None:
        """Frees the SRTP state of a stream that is never sent again."""
        if self._sessions is not None:
            self._sessions[1].forget(ssrc)

    def tick(self, now: float) -> None:
        """Sends the checks that are due."""
        if self.path is None:
            return
        for address, check in self.path.checks(now):
            sink = self._sink(address)
            if sink is not None:
                sink.send(check, address)

    def _sink(self, address: Address) -> DatagramSink | None:
        """The socket of the address family."""
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        return next((each for each in self._webrtc_server.port.sockets if each.sock.family == family), None)

    def close(self) -> None:
        """Idempotent."""
        self.closed = True
        self.end()
        self._webrtc_server.engine.close_peer(self.peer)
        self._sessions = None

    def end(self) -> None:
        """Ends the session. Idempotent."""
        if self.path is not None:
            self._webrtc_server.forget_ufrag(self.path.ufrag)
        for address in list(self._proven):
            self._release(address)
        self.path = None

    # -- DatagramHandler ------------------------------------------------------------------------------------------------

    def check_received(
        self, request: stun.BindingRequest, data: memoryview, source: DatagramSink, address: Address, now: float
    ) -> bytes | None:
        if self.path is None or len(address) == 3:
            return None
        password = self.path.check_received(request, data, address, now)
        if password is None or not self._claim(address, now):
            return None
        self.tick(now)  # a new address is checked in return
        return password

    def check_repeated(self, data: memoryview, source: DatagramSink, address: Address, now: float) -> bytes | None:
        if self.path is None:
            return None
        before = self.path.selected
        if not self.path.answer_received(data, address, now):
            return None
        selected = self.path.selected
        if selected is not None and selected != before:
            self._webrtc_server.engine.set_peer_address(self.peer, source, selected)
            log.info("relay connected", extra={"address": selected[0]})
        return b""

    def dtls_received(self, datagram: bytes) -> None:
        self._webrtc_server.port.dropped["unknown_protocol"] += 1

    def packet_received(self, address: Address, now: float) -> None: ...

    def yield_address(self, address: Address, now: float) -> bool:
        """A client cannot claim the address of a node, as long as the node proves it."""
        if now - self._proven.get(address, float("-inf")) < PROVEN_FOR:
            return False
        self._release(address)
        return True

    def path_closed(self, address: Address) -> None: ...

    def _claim(self, address: Address, now: float) -> bool:
        by_address = self._webrtc_server.port.by_address
        holder = by_address.get(address)
        if holder is not None and holder is not self and not holder.yield_address(address, now):
            return False
        self._proven[address] = now
        by_address[address] = self
        for old in [each for each, proven in self._proven.items() if now - proven >= PROVEN_FOR]:
            if self.path is None or old != self.path.selected:
                self._release(old)
        return True

    def _release(self, address: Address) -> None:
        self._proven.pop(address, None)
        by_address = self._webrtc_server.port.by_address
        if by_address.get(address) is self:
            del by_address[address]
