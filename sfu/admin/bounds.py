"""Memory bounds: the limit of every queue, buffer, cache and map that remote parties can fill, with the reason.

Each row belongs to one owner (a participant, a room, the server, …). The sums are the maximum memory of an owner. Bytes per
entry are those of CPython and OpenSSL, measured and rounded up; `tests/bounds/` fills the real objects and compares. Actual
use is far below these bounds; `node.memory_limit` limits it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from sfu.api import edge_cache, hls_responses
from sfu.bandwidth import pacer, send_time_history, twcc
from sfu.config import Settings
from sfu.egress import job, protocol, supervisor
from sfu.events import attendance, stream, webhook_queue, webhooks
from sfu.forwarding import decision_log, down_track, layer_filter, resend_limits, switch_history
from sfu.forwarding.stream import HISTORY
from sfu.forwarding.stream_table import LIFETIME_LIMIT, REPORTER_LIMIT, SSRC_LIMIT
from sfu.ingest import picture_pacer, rtmp_server, transcoder
from sfu.outputs import disk_writer, rtmp
from sfu.outputs.hls import captions, live_streams, rendition_stream
from sfu.resources import disk_executor
from sfu.rooms import moderation
from sfu.rtp import nack
from sfu.sdp import description
from sfu.signaling import http_sessions, messages
from sfu.transport import candidate_pairs, srtp
from sfu.transport.sctp_guard import RECEIVE_WINDOW, SctpLimits

PACKET = 2_400
"""Bytes of a stored packet: the largest datagram on the Internet, its metadata and the rewritten header."""
CHARACTER = 4
"""Bytes of a character in a CPython string that contains an emoji."""


class Owner(Enum):
    """The object that a bound applies to; its end frees the memory."""

    PUBLICATION = "publication"
    SUBSCRIPTION = "subscription"
    PARTICIPANT = "participant"
    ROOM = "room"
    EGRESS = "egress"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Bound:
    """One row: at most `count` entries of at most `each` bytes per owner."""

    what: str
    owner: Owner
    count: int
    each: int
    set_by: str
    "The settings or constants that define the limit."
    reason: str

    @property
    def bytes(self) -> int:
        return self.count * self.each


def table(settings: Settings) -> tuple[Bound, ...]:
    """All rows, from the smallest owner to the largest."""
    return (*_media(settings), *_participant(settings), *_room(settings), *_egress(settings), *_server(settings))


# fmt: off
def _media(settings: Settings) -> Iterable[Bound]:
    encodings = description.RID_LIMIT
    yield Bound(
        "retransmission history", Owner.PUBLICATION, encodings * HISTORY["video"], PACKET,
        "`HISTORY`, `RID_LIMIT`", "2.5 s at 2 Mbit/s; older packets would arrive too late to be decoded",
    )
    yield Bound(
        "history of filtered layers", Owner.PUBLICATION, layer_filter.LIMIT * HISTORY["video"], PACKET,
        "`HISTORY`", "only while a subscriber uses the filtered layer; shares most bytes with the row above",
    )
    yield Bound(
        "missing packets", Owner.PUBLICATION, encodings * nack.MAX_MISSING, 180,
        "`MAX_MISSING`", "a longer gap is a restart of the stream, not a loss",
    )
    yield Bound(
        "recent retransmissions", Owner.SUBSCRIPTION, resend_limits.RESENDS_KEPT, 200,
        "`RESENDS_KEPT`", "twice the history, to limit the retransmissions of each packet",
    )
    yield Bound(
        "encrypted packets to resend", Owner.SUBSCRIPTION, down_track.DATAGRAMS_KEPT, PACKET,
        "`DATAGRAMS_KEPT`", "a second of 2 Mbit/s; only for subscribers that negotiate NACK without RTX",
    )
    yield Bound(
        "paced packets", Owner.SUBSCRIPTION, pacer.COUNT_LIMIT, PACKET + 200,
        "`SHARE`, `QUEUE_LIMIT`, `COUNT_LIMIT`", "GOP for a new subscriber, at most 0.5 s at the path's rate",
    )
    yield Bound(
        "layer switch history", Owner.SUBSCRIPTION, switch_history.SEGMENTS, 600,
        "`SEGMENTS`", "packets from before the last eight switches have left the history",
    )
    yield Bound(
        "down track, m-line and allocation", Owner.SUBSCRIPTION, 1, 8_000,
        "`MEDIA_LIMIT`", "one of each per subscription",
    )


def _participant(settings: Settings) -> Iterable[Bound]:
    yield Bound(
        "connections: DTLS, ICE, SRTP keys", Owner.PARTICIPANT, 2, 250_000,
        "", "one for publishing, one for subscribing",
    )
    yield Bound(
        "SRTP streams", Owner.PARTICIPANT,
        2 * (LIFETIME_LIMIT + REPORTER_LIMIT), 1_000 + srtp.REPLAY_WINDOW // 8,
        "`LIFETIME_LIMIT`, `REPORTER_LIMIT`", "libsrtp keeps state per stream and slows down with their number",
    )
    yield Bound(
        "known SSRCs", Owner.PARTICIPANT, 2 * (SSRC_LIMIT + LIFETIME_LIMIT + REPORTER_LIMIT), 200,
        "`SSRC_LIMIT`, …", "packets of further SSRCs are dropped before decryption",
    )
    yield Bound(
        "candidate pairs", Owner.PARTICIPANT, 2 * candidate_pairs.ADDRESSES, 1_000,
        "`ADDRESSES`", "a client has few network interfaces; the oldest pair is dropped",
    )
    yield Bound(
        "arrivals to report", Owner.PARTICIPANT, twcc.PENDING_LIMIT, 130,
        "`PENDING_LIMIT`", "transport-wide feedback is sent ten times a second; the oldest is dropped",
    )
    yield Bound(
        "reported arrivals", Owner.PARTICIPANT,
        max(twcc.PENDING_LIMIT, settings.rtc.publish_packets_per_second), 130,
        "`rtc.publish_packets_per_second`", "0.5 s, for packets that arrive late",
    )
    yield Bound(
        "send times", Owner.PARTICIPANT, send_time_history.LARGEST, 100,
        "`LARGEST`", "3 s at 30 Mbit/s, to match incoming feedback",
    )
    yield Bound(
        "unprocessed send batches", Owner.PARTICIPANT, send_time_history.BATCHES, 400,
        "`BATCHES`", "processed with each feedback; the oldest are dropped",
    )
    yield Bound(
        "estimator, allocator, layer control", Owner.PARTICIPANT, 1, 60_000,
        "", "time windows of seconds with one number per packet group or feedback",
    )
    yield Bound(
        "decision log", Owner.PARTICIPANT, decision_log.KEPT, 400,
        "`KEPT`", "for the statistics overlay and the admin API; entries above the rate are only counted",
    )
    limits = SctpLimits()
    yield Bound(
        "unacknowledged data", Owner.PARTICIPANT, 2 * settings.rtc.data_channel_buffer_bytes, 2,
        "`rtc.data_channel_buffer_bytes`", "the data channel of a slower receiver is closed",
    )
    yield Bound(
        "SCTP reassembly", Owner.PARTICIPANT, 1, 2 * (RECEIVE_WINDOW + 1_200 * limits.chunks),
        "`SctpLimits`", "the peer retransmits chunks that do not fit",
    )
    signaling = settings.signaling
    yield Bound(
        "outgoing messages", Owner.PARTICIPANT,
        2 * signaling.queue_bytes + messages.MESSAGE_LIMIT_BYTES, 1,
        "`signaling.queue_bytes`", "the socket of a slower client is closed; it may resume",
    )
    yield Bound(
        "incoming message", Owner.PARTICIPANT, 1, 2 * CHARACTER * messages.MESSAGE_LIMIT_BYTES + 65_536,
        "`MESSAGE_LIMIT_BYTES`", "as bytes and decoded; the socket is not read meanwhile",
    )
    yield Bound(
        "events for a resume", Owner.PARTICIPANT, 1, signaling.replay_bytes + 160 * signaling.replay_events,
        "`signaling.replay_bytes`, `…_events`", "beyond it, a client must rejoin instead of resuming",
    )
    yield Bound(
        "name, metadata and attributes", Owner.PARTICIPANT, 2 * messages.MESSAGE_LIMIT_BYTES, CHARACTER,
        f"`MESSAGE_LIMIT_BYTES`, {moderation.ATTRIBUTE_LIMIT} attributes",
        "all arrive in one message or token",
    )
    yield Bound(
        "session and subscription settings", Owner.PARTICIPANT, settings.rooms.max_room_tracks, 500,
        "`rooms.max_room_tracks`", "requested settings, last sent state and name of each track in the room",
    )


def _room(settings: Settings) -> Iterable[Bound]:
    rooms = settings.rooms
    yield Bound(
        "chat for late joiners", Owner.ROOM, 1, CHARACTER * rooms.chat_bytes + 600 * rooms.chat_entries,
        "`rooms.chat_bytes`, `…_entries`", "the oldest is dropped",
    )
    yield Bound(
        "data for late joiners", Owner.ROOM, 1, CHARACTER * rooms.data_bytes + 600 * rooms.data_entries,
        "`rooms.data_bytes`, `…_entries`", "the oldest is dropped",
    )
    yield Bound(
        "lobby", Owner.ROOM, rooms.max_waiting, messages.MESSAGE_LIMIT_BYTES,
        "`rooms.max_waiting`", "further participants are refused",
    )
    yield Bound(
        "attendance of an open room", Owner.ROOM, settings.events.attendance_stays, 1_200,
        "`events.attendance_stays`", "the oldest stay is dropped",
    )
    yield Bound(
        "speakers and quality levels", Owner.ROOM, rooms.max_participants, 3_000,
        "`rooms.max_participants`", "a few numbers per participant",
    )


def _egress(settings: Settings) -> Iterable[Bound]:
    egress_settings, outputs = settings.egress, settings.outputs
    rate = sum(one.bit_rate + egress_settings.audio_bit_rate for one in outputs.ladder) // 8
    yield Bound(
        "worker process", Owner.EGRESS, 1, egress_settings.worker_memory,
        "`egress.worker_memory`", "it decodes untrusted media; beyond the limit it fails and is replaced",
    )
    yield Bound(
        "worker IPC messages", Owner.EGRESS, 1, supervisor.MAX_BACKLOG_BYTES + protocol.LIMIT,
        "`MAX_BACKLOG_BYTES`, `LIMIT`", "a worker that does not read has hung and is replaced",
    )
    yield Bound(
        "HLS parts in memory", Owner.EGRESS, int(outputs.hls.memory), 2 * rate,
        "`outputs.hls.memory`", "older ones are on disk",
    )
    yield Bound(
        "HLS parts without a file", Owner.EGRESS,
        max(0, int(outputs.hls.dvr - outputs.hls.memory)), 2 * rate,
        "`outputs.hls.dvr`", "kept in memory while the live playlist lists them, if writing to disk failed",
    )
    yield Bound(
        "segment index", Owner.EGRESS, len(outputs.ladder) * rendition_stream.KEPT, 1_200,
        "`KEPT`", "one day",
    )
    yield Bound(
        "captions", Owner.EGRESS, job.LANGUAGES * (rendition_stream.KEPT + 2 * captions.CUES), 600,
        "`LANGUAGES`, `KEPT`, `CUES`", "one day per language; a hundred cues at a time",
    )
    yield Bound(
        "recording write queue", Owner.EGRESS, 1, 2 * disk_writer.QUEUE_LIMIT,
        "`QUEUE_LIMIT`", "in the worker; for track recordings, in the server. A slower disk causes gaps",
    )
    yield Bound(
        "RTMP push queues", Owner.EGRESS, egress_settings.max_destinations, 2 * rtmp.QUEUE_LIMIT,
        "`egress.max_destinations`, `QUEUE_LIMIT`", "in the worker; a slower destination skips to the next keyframe",
    )


def _server(settings: Settings) -> Iterable[Bound]:
    yield Bound(
        "idle server", Owner.SERVER, 1, 160_000_000,
        "", "Python, its modules and one arena for datagrams",
    )
    yield Bound(
        "HTTP connections", Owner.SERVER,
        settings.http.max_connections, 300_000 if settings.http.tls_certificate else 12_000,  # asyncio's buffer for TLS
        "`http.max_connections`, `…_per_address`", "idle or with a request; a connection whose request head is late is closed",
    )
    yield Bound(
        "request bodies", Owner.SERVER, settings.http.max_connections, 2 * settings.http.body_limit_bytes,
        "`http.max_connections`, `http.body_limit_bytes`", "larger bodies are refused; a body must arrive within 10 s",
    )
    yield Bound(
        "revoked tokens", Owner.SERVER, settings.auth.revocation_limit, 1_200,
        "`auth.revocation_limit`", "until they expire; beyond it, the first to expire is dropped",
    )
    yield Bound(
        "cached files of HLS edges", Owner.SERVER, 1, edge_cache.TOTAL_LIMIT_BYTES,
        "`TOTAL_LIMIT_BYTES`, `ROOM_LIMIT_BYTES`", "the least recently used are dropped; a room's, 30 s after its last viewer",
    )
    yield Bound(
        "cached HLS responses", Owner.SERVER, hls_responses.CACHE_SIZE, 100_000,
        "`CACHE_SIZE`", "the newest playlists and parts, requested by many viewers",
    )
    yield Bound(
        "ended live streams", Owner.SERVER, live_streams.KEPT, 4_000,
        "`KEPT`", "the oldest can no longer be replayed; the row for segments counts their index",
    )
    yield Bound(
        "HLS write queue", Owner.SERVER, 1, disk_executor.SIZE,
        "`disk_executor.SIZE`", "a file that does not fit is not stored; the live stream continues from memory",
    )
    yield Bound(
        "events to pass on", Owner.SERVER, stream.MAX_PENDING, 1_500,
        "`MAX_PENDING`", "one turn of the event loop passes on 32; the oldest is dropped and counted",
    )
    yield Bound(
        "webhooks to write", Owner.SERVER, 1, webhooks.MAX_WAITING_BYTES + 400 * webhooks.MAX_WAITING,
        "`MAX_WAITING`, `MAX_WAITING_BYTES`", "a disk that hangs; the oldest are dropped and counted",
    )
    yield Bound(
        "webhooks in memory", Owner.SERVER, max(1, len(settings.events.webhooks.endpoints)),
        2 * webhook_queue.WINDOW_BYTES + 2_000 * webhook_queue.WINDOW,
        "`WINDOW`, `WINDOW_BYTES`", "per receiver; the others are on disk, at most `events.webhooks.max_queued`",
    )
    yield Bound(
        "recent events", Owner.SERVER, 1, settings.events.recent_bytes + messages.MESSAGE_LIMIT_BYTES,
        "`events.recent`, `events.recent_bytes`", "the oldest is dropped",
    )
    yield Bound(
        "events for Kafka", Owner.SERVER, 1,
        settings.events.kafka.max_queued_bytes + 200 * settings.events.kafka.max_queued,
        "`events.kafka.max_queued`, `…_bytes`", "brokers that are away; the oldest are dropped and counted",
    )
    yield Bound(
        "attendance", Owner.SERVER, attendance.MAX_ENDED_STAYS + settings.events.attendance_stays, 1_200,
        "`MAX_ENDED_STAYS`, `events.attendance_stays`", "of ended rooms; the room that ended first is dropped",
    )
    yield Bound(
        "RTMP connections", Owner.SERVER, rtmp_server.MAX_CONNECTIONS, 200_000,
        "`MAX_CONNECTIONS`, `ingest.connections_per_address`", "without a stream key: 36 KB of input each",
    )
    yield Bound(
        "RTMP streams", Owner.SERVER, settings.ingest.max_streams,
        rtmp_server.MESSAGE_LIMIT + 2 * rtmp_server.READ_BYTES + transcoder.MAX_BACKLOG_BYTES
        + 1200 * picture_pacer.QUEUE_LIMIT,
        "`ingest.max_streams`, `MESSAGE_LIMIT`, `MAX_BACKLOG_BYTES`, `QUEUE_LIMIT`",
        "one picture, its packets, the transcoder's input",
    )
    yield Bound(
        "stream keys", Owner.SERVER, settings.ingest.max_keys, 1_000,
        "`ingest.max_keys`", "created by operators",
    )
    yield Bound(
        "WHIP and WHEP sessions", Owner.SERVER, settings.signaling.max_http_sessions, 40_000,
        "`signaling.max_http_sessions`", "the offer, the last answer and the event stream; the rest counts as a participant",
    )
    yield Bound(
        "rates of new WHIP and WHEP sessions", Owner.SERVER, http_sessions.RATE_LIMIT_ENTRIES, 400,
        "`RATE_LIMIT_ENTRIES`", "one per address; the one that was used least recently is dropped",
    )
    yield Bound(
        "half-open connections by address", Owner.SERVER, 20_000, 200,
        "`rtc.half_open_per_address`", "one entry per address with a handshake in progress",
    )


# fmt: on
