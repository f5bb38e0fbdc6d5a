"""Values that publishing and subscribing connections report: results of a negotiation and the state of the path."""

from dataclasses import dataclass

from sfu.rooms.ports import MediaSource


@dataclass(frozen=True, slots=True)
class LinkReport:
    """Current state of a connection's path. `loss`: 0–1 over the last seconds; `silent_for`: seconds since the last packet."""

    rtt: float | None
    loss: float
    silent_for: float
    connected: bool


@dataclass(frozen=True, slots=True)
class Negotiated:
    """Result of a publishing offer: the answer's SDP, and the media source of every sending m-line by its mid."""

    sdp: str
    sources: dict[str, MediaSource]
