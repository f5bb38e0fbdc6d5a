"""The ICE transport of one connection: answers checks, claims addresses, selects one and watches consent.

It joins the pure parts, `IceAgent` (credentials) and `CandidatePairs` (selection), with the port's address table and the
engine. An address belongs to one connection at a time: the one whose check proved it last (RFC 8445, RFC 7675).
"""

from collections import Counter
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Final, Protocol

from sfu.forwarding.engine import Engine
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.peer_transport import Address, DatagramSink
from sfu.transport.candidate_pairs import CandidatePairs
from sfu.transport.ice import IceAgent
from sfu.transport.settings import Settings
from sfu.transport.stun import BindingRequest, RepeatedCheck

if TYPE_CHECKING:
    from sfu.transport.udp import DatagramHandler

TAKEN_FOR: Final = 10.0
"""Seconds for which an address that one connection proved cannot be claimed by another."""


class ServerPort(Protocol):
    """The part of the media port (udp.py) that ICE transports and connections use."""

    @property
    def by_address(self) -> "MutableMapping[Address, DatagramHandler]": ...

    @property
    def dropped(self) -> Counter[str]: ...


class IceServer(Protocol):
    """The part of the server (webrtc_server.py) that ICE transports use."""

    engine: Engine
    settings: Settings

    @property
    def port(self) -> ServerPort: ...

    def learn_ufrag(self, ufrag: str, handler: "DatagramHandler") -> None: ...

    def forget_ufrag(self, ufrag: str) -> None: ...

    def release(self, address: Address) -> None:
        """Closes the TCP connection of this address, if it is one."""

    def watch(self, ice: "IceTransport") -> None:
        """Calls `ice.watched` ten times a second until it returns False."""


class IceTransport:
    """Owned by a Connection, its `handler`: the port passes it what comes from the addresses claimed here."""

    def __init__(self, server: IceServer, peer: EnginePeer, handler: "DatagramHandler") -> None:
        self.agent = IceAgent()
        self._server = server
        self._peer = peer
        self._handler: DatagramHandler | None = handler
        """None once closed."""
        self._candidate_pairs: CandidatePairs[DatagramSink] = CandidatePairs()
        self._repeated: RepeatedCheck | None = None
        """The last check of the selected address, once ICE is settled."""

    @property
    def selected(self) -> Address | None:
        """The address that media goes to; None before the first valid check."""
        return self._candidate_pairs.selected

    @property
    def protocol(self) -> str:
        """Transport protocol of the selected address: `udp` or `tcp`; empty: none is selected."""
        if self.selected is None:
            return ""
        return "tcp" if len(self.selected) == 3 else "udp"

    @property
    def remote_host(self) -> str:
        """IP address that media goes to; empty: no address is selected."""
        return self.selected[0].removeprefix("::ffff:") if self.selected is not None else ""

    def checked(self, address: Address) -> float:
        """When this address last proved itself; minus infinity if it never did."""
        return self._candidate_pairs.checked(address)

    def restart(self) -> None:
        """Creates new credentials. Media stays on the old path until the peer checks a new one."""
        if self._handler is None:
            return
        self._repeated = None
        dropped = self.agent.restart()
        if dropped is not None:
            self._server.forget_ufrag(dropped)
        self._server.learn_ufrag(self.agent.ufrag, self._handler)

    # -- checks -----------------------------------------------------------------------------------------------------

    def check_repeated(self, data: memoryview, source: DatagramSink, address: Address, now: float) -> bytes | None:
        """The response when this address repeats its last check; None for other datagrams."""
        repeated = self._repeated
        if repeated is None or address != self.selected:
            return None
        answer = repeated.answer(data)
        if answer is not None:
            self.agent.last_check = now
            self._follow(
                self._candidate_pairs.check(
                    address, source, now, nominated=repeated.nominated, transaction=bytes(data[8:20])
                )
            )
        return answer

    def check_received(
        self, request: BindingRequest, data: memoryview, source: DatagramSink, address: Address, now: float
    ) -> bytes | None:
        """The password that authenticates the check; None: drop it."""
        password = self.agent.check(request, data, now)
        if password is None or (address not in self._candidate_pairs and not self._claim(address, now)):
            return None
        self._follow(
            self._candidate_pairs.check(
                address, source, now, nominated=request.use_candidate, transaction=request.transaction_id
            )
        )
        dropped = self.agent.settle(request)
        if dropped is not None:
            self._server.forget_ufrag(dropped)
        return password

    def expect_repetition(self, request: BindingRequest, data: memoryview, address: Address, password: bytes) -> None:
        """`check_repeated` answers this check from now on if it is one of the selected address with settled credentials."""
        if address == self.selected and self.agent.settled:
            self._repeated = RepeatedCheck(request, data, address, password)

    def packet_received(self, address: Address, now: float) -> None:
        """An authentic packet other than RTP came from this address."""
        self._candidate_pairs.packet_received(address, now)

    # -- addresses --------------------------------------------------------------------------------------------------

    def _claim(self, address: Address, now: float) -> bool:
        if self._handler is None:
            return False
        by_address = self._server.port.by_address
        holder = by_address.get(address)
        if holder is not None and holder is not self._handler and not holder.yield_address(address, now):
            return False
        evictable = self._candidate_pairs.evictable()
        if evictable is not None:
            self._release(evictable)
        by_address[address] = self._handler
        return True

    def yield_address(self, address: Address, now: float) -> bool:
        """Releases an address that another connection claims. False: it proved itself too recently here."""
        if len(address) == 3 or now - self.checked(address) < TAKEN_FOR:  # a TCP connection belongs to its first user
            return False
        self._release(address)
        return True

    def _release(self, address: Address) -> None:
        self._candidate_pairs.forget(address)
        by_address = self._server.port.by_address
        if self._handler is not None and by_address.get(address) is self._handler:
            del by_address[address]
        self._server.release(address)

    def path_closed(self, address: Address) -> None:
        """The TCP connection of this address ended. Media moves to the address that checked last, or waits for a new one."""
        self._release(address)
        other = self._candidate_pairs.latest()
        if address == self.selected and other is not None:
            self._candidate_pairs.select(other)
            self._follow(True)

    def _follow(self, moved: bool) -> None:
        """Sends media to the selected address."""
        pairs = self._candidate_pairs
        if moved and pairs.selected is not None:
            self._repeated = None
            self._server.engine.set_peer_address(self._peer, pairs.datagram_sink, pairs.selected)
        if pairs.is_selecting:
            self._server.watch(self)

    # -- time -------------------------------------------------------------------------------------------------------

    def watched(self, now: float) -> bool:
        """Called ten times a second while address selection is undecided; returns whether it still is."""
        self._follow(self._candidate_pairs.update(now))
        return self._candidate_pairs.is_selecting

    def has_consent(self, now: float) -> bool:
        """Call it once a second: leaves an address that fell silent; False once no address has consent (RFC 7675 5.1)."""
        if self.selected is None:
            return True
        if self._candidate_pairs.stale(now):
            self._follow(True)
        elif now - self._consent_at(self.selected) > self._server.settings.consent_timeout:
            address = self._candidate_pairs.latest()
            if address is None or now - self.checked(address) > self._server.settings.consent_timeout:
                return False
            self._candidate_pairs.select(address)
            self._follow(True)
        return True

    def _consent_at(self, selected: Address) -> float:
        """Time of the last check from the selected address; of any address if its TCP connection ended."""
        return self.checked(selected) if selected in self._candidate_pairs else self.agent.last_check

    def close(self) -> None:
        """Releases all addresses. Idempotent."""
        self._repeated = None
        for address in list(self._candidate_pairs):
            self._release(address)
        self._handler = None
