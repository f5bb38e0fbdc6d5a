"""The memory bounds added up per owner, and their table in Markdown."""

from collections.abc import Iterable
from dataclasses import dataclass

from sfu.admin.bounds import Owner, table
from sfu.config import Settings
from sfu.forwarding.stream_table import SSRC_LIMIT
from sfu.sdp import description


@dataclass(frozen=True, slots=True)
class Totals:
    """Maximum bytes per owner, with everything at its bound at the same time."""

    participant: int
    room: int
    egress: int
    server: int
    max_participants: int
    "Maximum participants on the server; usually `signaling.max_sockets` and `signaling.max_http_sessions` limit it."


def totals(settings: Settings) -> Totals:
    """Totals for participants that publish and subscribe to the maximum, and for rooms and a server full of them."""
    rows = table(settings)
    rooms = settings.rooms

    def of(owner: Owner) -> int:
        return sum(row.bytes for row in rows if row.owner is owner)

    publications = min(rooms.max_tracks, SSRC_LIMIT)
    # The SSRC limit of a peer is reached before all its publications have all their encodings.
    publication = of(Owner.PUBLICATION) * min(SSRC_LIMIT, publications * description.RID_LIMIT)
    publication //= publications * description.RID_LIMIT
    subscriptions = description.MEDIA_LIMIT
    receiving = of(Owner.PARTICIPANT) + subscriptions * of(Owner.SUBSCRIPTION)
    participant = receiving + publications * publication
    room = of(Owner.ROOM) + rooms.max_participants * receiving
    room += min(rooms.max_participants * publications, rooms.max_room_tracks) * publication
    sessions = settings.signaling.max_sockets + settings.signaling.max_http_sessions
    max_participants = min(rooms.max_rooms * rooms.max_participants, sessions)
    egress = of(Owner.EGRESS)
    server = of(Owner.SERVER) + rooms.max_rooms * of(Owner.ROOM) + max_participants * participant
    server += settings.egress.max_jobs * egress
    return Totals(participant, room, egress, server, max_participants)


def size(count: float) -> str:
    """Formats bytes with three significant digits, such as `1.5 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def rows(settings: Settings) -> Iterable[str]:
    """The table in Markdown."""
    yield "| resource | owner | limit | bytes each | total | set by | reason |"
    yield "|---|---|---|---|---|---|---|"
    for row in table(settings):
        yield (
            f"| {row.what} | {row.owner.value} | {row.count:,} | {size(row.each)} | {size(row.bytes)}"
            f" | {row.set_by} | {row.reason} |"
        )


def summary(settings: Settings) -> str:
    found = totals(settings)
    publications, subscriptions = min(settings.rooms.max_tracks, SSRC_LIMIT), description.MEDIA_LIMIT
    return (
        f"Maximum memory with everything at its bound: {size(found.participant)} for a participant with {publications}"
        f" publications and {subscriptions} subscriptions, {size(found.room)} for a room of"
        f" {settings.rooms.max_participants:,} participants, {size(found.egress)} for an egress job, {size(found.server)}"
        f" for a server with {found.max_participants:,} participants."
    )
