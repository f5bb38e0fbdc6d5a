"""One subscription of a browser on its way: what is wished, the m-line it was offered on, and the route that carries it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from sfu.forwarding.route import Route
from sfu.ids import TrackId
from sfu.rooms.ports import Wish
from sfu.sdp.offer import AcceptedSection, Slot
from sfu.transport.publisher import PublishedTrack


@dataclass(slots=True)
class Line:
    """One m-line: its slot as offered, and whose track it carries."""

    slot: Slot
    track: TrackId | None = None
    accepted: AcceptedSection | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What a client knows of one of its subscriptions: whether it is paused, why it is no better, and which layer comes."""

    paused: bool
    reason: str = ""
    layer: str = ""
    width: int = 0
    height: int = 0


@dataclass(slots=True)
class Outbound:
    """One subscription: the source, the wish, the m-line, and the engine's route once it is accepted."""

    track: TrackId
    source: PublishedTrack
    wish: Wish
    line: Line | None = None
    route: Route | None = None
    told: Told | None = field(default=None)
    "What the client was last told."


Tell = Callable[[Outbound, Told], None]
