"""What the two kinds of connection tell those above: results of a negotiation, and how a path is."""

from dataclasses import dataclass

from sfu.rooms.ports import MediaSource


@dataclass(frozen=True, slots=True)
class LinkReport:
    """How one connection's path is now. `loss` 0–1 over the last seconds; `silent_for` seconds since anything came."""

    rtt: float | None
    loss: float
    silent_for: float
    connected: bool


@dataclass(frozen=True, slots=True)
class Negotiated:
    """Result of a publishing offer: the answer's SDP, and the media source of every sending m-line by its mid."""

    sdp: str
    sources: dict[str, MediaSource]
