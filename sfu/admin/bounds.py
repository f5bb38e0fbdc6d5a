"""Every queue, buffer, cache and map that what others send can fill: how much of it there may be, and why no more.

One row per thing, counted within what owns it; added up they are the most that a participant, a room or a server may take.
Bytes are what CPython and OpenSSL take for one entry, measured and rounded up (`tests/bounds/` fills the real things and
compares). Nearly nobody is near a bound, let alone all: what a server takes in practice is what `node.memory_limit` watches.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from sfu.api import hls, playback_tokens
from sfu.bandwidth import pacer, send_time_history, twcc
from sfu.config import Settings
from sfu.egress import job, protocol, supervisor
from sfu.forwarding import decision_log, down_track, layer_filter, peer
from sfu.forwarding.stream import HISTORY
from sfu.outputs import disk_writer, rtmp
from sfu.outputs.hls import captions, live_streams, rendition_stream
from sfu.resources import disk_executor
from sfu.rooms import moderation
from sfu.rtp import nack
from sfu.sdp import description
from sfu.signaling import messages
from sfu.transport import candidate_pairs, srtp
from sfu.transport.sctp_guard import RECEIVE_WINDOW, SctpLimits

PACKET = 2_400
"""Bytes of a kept packet: the largest datagram of the open internet, its numbers, and what of it is rewritten."""
WORDS = 4
"""Bytes of a character, when one of them is an emoji."""


class Owner(Enum):
    """What a bound is counted within, and what the ending of which frees it."""

    PUBLICATION = "publication"
    SUBSCRIPTION = "subscription"
    PARTICIPANT = "participant"
    ROOM = "room"
    EGRESS = "egress"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Bound:
    what: str
    owner: Owner
    count: int
    "At most so many in one owner,"
    each: int
    "of at most so many bytes."
    set_by: str
    "The setting or constant."
    reason: str

    @property
    def bytes(self) -> int:
        return self.count * self.each


def table(settings: Settings) -> tuple[Bound, ...]:
    """All of them, from the smallest owner to the largest."""
    return (*_media(settings), *_participant(settings), *_room(settings), *_egress(settings), *_server(settings))


# fmt: off
def _media(settings: Settings) -> Iterable[Bound]:
    encodings = description.RID_LIMIT
    yield Bound(
        "packets kept for repair", Owner.PUBLICATION, encodings * HISTORY["video"], PACKET,
        "`HISTORY`, `RID_LIMIT`", "2.5 s at 2 Mbit/s: what is older comes too late for any picture",
    )
    yield Bound(
        "the same with layers left out", Owner.PUBLICATION, layer_filter.LIMIT * HISTORY["video"], PACKET,
        "`HISTORY`", "while somebody takes them; their bytes are mostly those of the row above",
    )
    yield Bound(
        "packets asked for again", Owner.PUBLICATION, encodings * nack.MAX_MISSING, 180,
        "`MAX_MISSING`", "a longer gap is no loss but a new beginning",
    )
    yield Bound(
        "packets repaired", Owner.SUBSCRIPTION, down_track.RESENDS_KEPT, 200,
        "`RESENDS_KEPT`", "twice a history, so that no packet is repaired more often than allowed",
    )
    yield Bound(
        "packets of a picture at once", Owner.SUBSCRIPTION, pacer.COUNT_LIMIT, PACKET + 200,
        "`SHARE`, `QUEUE_LIMIT`, `COUNT_LIMIT`", "for a newcomer: half a second of the path, sent within that time",
    )
    yield Bound(
        "layers that were sent before", Owner.SUBSCRIPTION, down_track.SEGMENTS, 600,
        "`SEGMENTS`", "packets before the last eight switches are in no history any more",
    )
    yield Bound(
        "route, m-line and decision", Owner.SUBSCRIPTION, 1, 8_000,
        "`MEDIA_LIMIT`", "one of each",
    )


def _participant(settings: Settings) -> Iterable[Bound]:
    yield Bound(
        "connections: DTLS, ICE, keys", Owner.PARTICIPANT, 2, 250_000,
        "", "one to publish, one to subscribe",
    )
    yield Bound(
        "SRTP streams", Owner.PARTICIPANT,
        2 * (peer.LIFETIME_LIMIT + peer.REPORTER_LIMIT), 1_000 + srtp.REPLAY_WINDOW // 8,
        "`LIFETIME_LIMIT`, `REPORTER_LIMIT`", "libsrtp keeps what it knows of each, and slows with every one",
    )
    yield Bound(
        "streams known", Owner.PARTICIPANT, 2 * (peer.SSRC_LIMIT + peer.LIFETIME_LIMIT + peer.REPORTER_LIMIT), 200,
        "`SSRC_LIMIT`, …", "beyond it packets are dropped before they are opened",
    )
    yield Bound(
        "addresses checked", Owner.PARTICIPANT, 2 * candidate_pairs.ADDRESSES, 1_000,
        "`ADDRESSES`", "a client has a handful of networks; the oldest is forgotten",
    )
    yield Bound(
        "arrivals that feedback is owed for", Owner.PARTICIPANT, twcc.PENDING_LIMIT, 130,
        "`PENDING_LIMIT`", "told ten times a second; the oldest goes first",
    )
    yield Bound(
        "arrivals that were told", Owner.PARTICIPANT,
        max(twcc.PENDING_LIMIT, settings.rtc.publish_packets_per_second), 130,
        "`rtc.publish_packets_per_second`", "half a second of them, for packets that come late",
    )
    yield Bound(
        "packets sent that feedback may speak of", Owner.PARTICIPANT, send_time_history.LARGEST, 100,
        "`LARGEST`", "three seconds at 30 Mbit/s",
    )
    yield Bound(
        "batches sent since the last look", Owner.PARTICIPANT, send_time_history.BATCHES, 400,
        "`BATCHES`", "looked at with each feedback; the oldest count as never sent",
    )
    yield Bound(
        "estimator, allocator, steering", Owner.PARTICIPANT, 1, 60_000,
        "", "windows of seconds, one number per group or feedback",
    )
    yield Bound(
        "decisions told", Owner.PARTICIPANT, decision_log.KEPT, 400,
        "`KEPT`", "for people to read; what comes too thick is counted only",
    )
    limits = SctpLimits()
    yield Bound(
        "data not yet acknowledged", Owner.PARTICIPANT, 2 * settings.rtc.data_channel_buffer_bytes, 2,
        "`rtc.data_channel_buffer_bytes`", "a reader who is slower than that loses the channel",
    )
    yield Bound(
        "data not yet whole", Owner.PARTICIPANT, 1, 2 * (RECEIVE_WINDOW + 1_200 * limits.chunks),
        "`SctpLimits`", "what does not fit is sent again by the peer",
    )
    signaling = settings.signaling
    yield Bound(
        "messages waiting in the socket", Owner.PARTICIPANT,
        2 * signaling.queue_bytes + messages.MESSAGE_LIMIT_BYTES, 1,
        "`signaling.queue_bytes`", "a client that does not read is closed, and may resume",
    )
    yield Bound(
        "message being received", Owner.PARTICIPANT, 1, 2 * WORDS * messages.MESSAGE_LIMIT_BYTES + 65_536,
        "`MESSAGE_LIMIT_BYTES`", "as bytes and as what it says; the socket stops reading meanwhile",
    )
    yield Bound(
        "events kept for a resume", Owner.PARTICIPANT, 1, signaling.replay_bytes + 160 * signaling.replay_events,
        "`signaling.replay_bytes`, `…_events`", "more, and the client joins afresh",
    )
    yield Bound(
        "what it says of itself", Owner.PARTICIPANT, 2 * messages.MESSAGE_LIMIT_BYTES, WORDS,
        f"`MESSAGE_LIMIT_BYTES`, {moderation.ATTRIBUTE_LIMIT} attributes",
        "name, metadata, attributes come in one message or token",
    )
    yield Bound(
        "session and wishes", Owner.PARTICIPANT, settings.rooms.max_room_tracks, 500,
        "`rooms.max_room_tracks`", "a wish, what was told, and a name of each track of the room",
    )


def _room(settings: Settings) -> Iterable[Bound]:
    rooms = settings.rooms
    yield Bound(
        "chat for late joiners", Owner.ROOM, 1, WORDS * rooms.chat_bytes + 600 * rooms.chat_entries,
        "`rooms.chat_bytes`, `…_entries`", "the oldest goes first",
    )
    yield Bound(
        "data for late joiners", Owner.ROOM, 1, WORDS * rooms.data_bytes + 600 * rooms.data_entries,
        "`rooms.data_bytes`, `…_entries`", "the oldest goes first",
    )
    yield Bound(
        "people waiting", Owner.ROOM, rooms.max_waiting, messages.MESSAGE_LIMIT_BYTES,
        "`rooms.max_waiting`", "a full lobby takes nobody",
    )
    yield Bound(
        "speakers, order, qualities", Owner.ROOM, rooms.max_participants, 3_000,
        "`rooms.max_participants`", "some numbers of each of the people",
    )


def _egress(settings: Settings) -> Iterable[Bound]:
    egress_settings, outputs = settings.egress, settings.outputs
    rate = sum(one.bit_rate + egress_settings.audio_bit_rate for one in outputs.ladder) // 8
    yield Bound(
        "worker process", Owner.EGRESS, 1, egress_settings.worker_memory,
        "`egress.worker_memory`", "it decodes what strangers send: an allocation beyond it fails, and it is replaced",
    )
    yield Bound(
        "messages to and from the worker", Owner.EGRESS, 1, supervisor.MAX_BACKLOG_BYTES + protocol.LIMIT,
        "`MAX_BACKLOG_BYTES`, `LIMIT`", "a worker that does not read hangs, and is replaced",
    )
    yield Bound(
        "parts of HLS in memory", Owner.EGRESS, int(outputs.hls.memory), 2 * rate,
        "`outputs.hls.memory`", "older ones are on disk",
    )
    yield Bound(
        "parts of HLS that the disk did not take", Owner.EGRESS,
        max(0, int(outputs.hls.dvr - outputs.hls.memory)), 2 * rate,
        "`outputs.hls.dvr`", "kept as long as the live playlist names them",
    )
    yield Bound(
        "segments listed", Owner.EGRESS, len(outputs.ladder) * rendition_stream.KEPT, 1_200,
        "`KEPT`", "a day",
    )
    yield Bound(
        "captions", Owner.EGRESS, job.LANGUAGES * (rendition_stream.KEPT + 2 * captions.CUES), 600,
        "`LANGUAGES`, `KEPT`, `CUES`", "a day of each language; a hundred cues at a time",
    )
    yield Bound(
        "recording not yet on disk", Owner.EGRESS, 1, 2 * disk_writer.QUEUE_LIMIT,
        "`QUEUE_LIMIT`", "in the worker or, of single tracks, here: a slower disk gets gaps",
    )
    yield Bound(
        "pushes", Owner.EGRESS, egress_settings.max_destinations, 2 * rtmp.QUEUE_LIMIT,
        "`egress.max_destinations`, `QUEUE_LIMIT`", "in the worker: a slower destination skips to the next keyframe",
    )


def _server(settings: Settings) -> Iterable[Bound]:
    yield Bound(
        "the empty server", Owner.SERVER, 1, 160_000_000,
        "", "Python, its modules, one arena for datagrams",
    )
    yield Bound(
        "HTTP connections", Owner.SERVER,
        settings.http.max_connections, 300_000 if settings.http.tls_certificate else 12_000,  # asyncio's buffer for TLS
        "`http.max_connections`, `…_per_address`", "idle or with a request; one whose head does not come in time is closed",
    )
    yield Bound(
        "requests' bodies under way", Owner.SERVER, settings.http.max_connections, 2 * settings.http.body_limit_bytes,
        "`http.max_connections`, `http.body_limit_bytes`", "larger ones are refused; a whole one has ten seconds",
    )
    yield Bound(
        "revoked tokens", Owner.SERVER, settings.auth.revocation_limit, 1_200,
        "`auth.revocation_limit`", "until they expire; then the one that ends first",
    )
    yield Bound(
        "viewers' passes", Owner.SERVER, playback_tokens.HOLDERS, 900,
        "`HOLDERS`", "whose pass is older comes anew after a kick of somebody else",
    )
    yield Bound(
        "answers packed for viewers", Owner.SERVER, hls.KEPT, 100_000,
        "`KEPT`", "playlists, each asked for by many",
    )
    yield Bound(
        "ended programmes", Owner.SERVER, live_streams.KEPT, 4_000,
        "`KEPT`", "the oldest are no longer replayed; their segments are counted above",
    )
    yield Bound(
        "programmes' files that wait for the disk", Owner.SERVER, 1, disk_executor.SIZE,
        "`disk_executor.SIZE`", "a file that does not fit is not stored; the window in memory continues",
    )
    yield Bound(
        "half-open connections' hosts, counters", Owner.SERVER, 20_000, 200,
        "`rtc.half_open_per_address`", "one entry per address with somebody under way",
    )


# fmt: on
@dataclass(frozen=True, slots=True)
class Totals:
    """Bytes at most, everything at its bound at once."""

    participant: int
    room: int
    egress: int
    server: int
    people: int
    "Who may be on the server at once: sockets end before rooms do, as a rule."


def totals(settings: Settings) -> Totals:
    """A participant who publishes and is sent all that is allowed; rooms and a server full of such."""
    rows = table(settings)
    rooms = settings.rooms

    def of(owner: Owner) -> int:
        return sum(row.bytes for row in rows if row.owner is owner)

    publications = min(rooms.max_tracks, peer.SSRC_LIMIT)
    # One peer's streams end before all its publications have all their encodings.
    publication = of(Owner.PUBLICATION) * min(peer.SSRC_LIMIT, publications * description.RID_LIMIT)
    publication //= publications * description.RID_LIMIT
    subscriptions = description.MEDIA_LIMIT
    receiving = of(Owner.PARTICIPANT) + subscriptions * of(Owner.SUBSCRIPTION)
    participant = receiving + publications * publication
    room = of(Owner.ROOM) + rooms.max_participants * receiving
    room += min(rooms.max_participants * publications, rooms.max_room_tracks) * publication
    people = min(rooms.max_rooms * rooms.max_participants, settings.signaling.max_sockets)
    egress = of(Owner.EGRESS)
    server = of(Owner.SERVER) + rooms.max_rooms * of(Owner.ROOM) + people * participant
    server += settings.egress.max_jobs * egress
    return Totals(participant, room, egress, server, people)


def size(count: float) -> str:
    """`1.5 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def rows(settings: Settings) -> Iterable[str]:
    """The table, as Markdown."""
    yield "| what | in each | at most | of | together | by | because |"
    yield "|---|---|---|---|---|---|---|"
    for row in table(settings):
        yield (
            f"| {row.what} | {row.owner.value} | {row.count:,} | {size(row.each)} | {size(row.bytes)}"
            f" | {row.set_by} | {row.reason} |"
        )


def summary(settings: Settings) -> str:
    found = totals(settings)
    publications, subscriptions = min(settings.rooms.max_tracks, peer.SSRC_LIMIT), description.MEDIA_LIMIT
    return (
        f"Everything at its bound at once: a participant (with {publications} publications and {subscriptions}"
        f" subscriptions) takes {size(found.participant)}, a room of {settings.rooms.max_participants:,} people"
        f" {size(found.room)}, a programme {size(found.egress)}, a server with {found.people:,} people"
        f" {size(found.server)}."
    )
