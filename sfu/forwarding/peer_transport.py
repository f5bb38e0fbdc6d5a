"""The transport of one peer: keys, address, clock, counters and budgets. Tracks and down tracks use it of their peer.

`EnginePeer` (peer.py) adds the tables of tracks and streams.
"""

from dataclasses import dataclass
from typing import Final, Literal, Protocol

from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.downlink import Downlink
from sfu.forwarding.loop_budget import LoopBudget, media_budget, node_budget
from sfu.forwarding.peer_clock import PeerClock
from sfu.ids import PeerId
from sfu.rtp.nack import NackBudget

TcpAddress = tuple[str, int, Literal["tcp"]]
"""The remote address of an ICE-TCP connection."""
Address = tuple[str, int] | tuple[str, int, int, int] | TcpAddress


class Pointer(Protocol):
    """An address that libsrtp accepts; addition moves it by bytes."""

    def __add__(self, offset: int, /) -> "Pointer": ...


class SrtpContext(Protocol):
    """A libsrtp session, opaque to the engine."""


class Plain:
    """Stands in for the keys of a plain peer: a process on this machine behind a Unix socket."""

    __slots__ = ()


PLAIN: Final = Plain()


class DatagramSink(Protocol):
    """A UDP socket, or an ICE-TCP connection or the receiver of a plain peer's datagrams (which ignore `address`).

    Both methods return False when the kernel buffer is full: the datagrams are dropped.
    """

    segments: bool
    "Whether `send_segments` sends all datagrams in one system call (UDP: GSO, Linux)."

    def send(self, data: memoryview | bytes, address: Address) -> bool: ...

    def send_segments(self, data: memoryview, size: int, address: Address) -> bool:
        """Sends `data` as datagrams of `size` bytes; the last one may be shorter."""


@dataclass(slots=True)
class PeerCounters:
    """Counters of one peer that are not incremented for every packet."""

    nacks_sent: int = 0
    "Packets requested from the peer."
    nacks_received: int = 0
    "Packets that the peer requested."
    keyframe_requests_received: int = 0
    retransmitted: int = 0
    "Packets sent in repair streams, padding included."
    retransmitted_bytes: int = 0
    unrouted: int = 0
    "Packets dropped because they are malformed or belong to no track."
    removed_packets: int = 0
    "Packets sent by down tracks that no longer exist."
    removed_bytes: int = 0


class PeerTransport:
    """Sending state of one connection. The C part reads the slots marked (C) by their offset."""

    __slots__ = (
        "address",
        "auth_tag_size",
        "budget",
        "clock",
        "closed",
        "counters",
        "datagram_sink",
        "decision_log",
        "downlink",
        "id",
        "nack_budget",
        "native_state",
        "rtcp_ssrc",
        "trusted",
        "twcc_number",
        "tx",
    )  # fmt: skip

    def __init__(self, peer_id: PeerId, rtcp_ssrc: int, *, trusted: bool = False) -> None:
        self.id = peer_id
        self.rtcp_ssrc = rtcp_ssrc
        self.trusted = trusted
        """Whether the peer is another node of the cluster: limits per client do not apply."""
        self.closed = False
        self.tx: SrtpContext | None = None
        """Outbound SRTP session; `PLAIN`: send without SRTP; None: no keys yet. (C)"""
        self.native_state: object = None
        """The C part's copy of keys and address. (C)"""
        self.auth_tag_size = 16
        """Bytes that SRTP adds to an RTP packet. (C)"""
        self.datagram_sink: DatagramSink | None = None
        """(C)"""
        self.address: Address = ("", 0)
        """(C)"""
        self.twcc_number = 0
        """Next transport-wide sequence number towards this peer. (C)"""
        self.clock = PeerClock()
        self.counters = PeerCounters()
        self.nack_budget = None if trusted else NackBudget()
        """Bounds the packets that all streams of the peer wait for; None: each stream has its own bound only."""
        self.budget: LoopBudget = node_budget() if trusted else media_budget()
        """Loop time of the peer's datagrams and their processing. Both connections of a participant share one."""
        self.downlink: Downlink | None = None
        """Estimates bandwidth and allocates layers for this peer; None if nothing is to be allocated."""
        self.decision_log: DecisionLog | None = None
        """Decision log of the peer's participant, if anything reads it."""
