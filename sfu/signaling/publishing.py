"""The publishing connection of a participant, with the publication of each m-line."""

from collections.abc import Container, Mapping

from sfu.errors import AtCapacity, BadRequest
from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.loop_budget import RELAY_BURST, RELAY_COST, RELAY_SHARE, LoopBudget
from sfu.ids import TrackId
from sfu.rooms.events import DataPacket
from sfu.rooms.media_stats import QualityLimitation
from sfu.rooms.participant import Participant
from sfu.rooms.ports import MediaSource
from sfu.rooms.publication import Publication
from sfu.rooms.quality import Link
from sfu.rooms.room import Room
from sfu.rooms.track_description import SOURCE_KINDS, TrackDescription
from sfu.sdp.answer import AcceptedOffer, accept_offer
from sfu.sdp.capabilities import MAX_MESSAGE_BYTES
from sfu.sdp.description import parse
from sfu.signaling.context import Context
from sfu.signaling.messages import Error, LayersWanted, TrackSpec
from sfu.signaling.ports import Client, Negotiated, Publisher
from sfu.signaling.serialization import description_of
from sfu.signaling.token_bucket import TokenBucket

REFUSAL_INTERVAL = 1.0
"""Minimum seconds between two errors about data-channel messages. A client may send hundreds of them a second."""
DATA_UNIT = 2048
"""Bytes of a data-channel message that count as one message in the rate limit. `RELAY_SHARE` additionally limits the copies,
which depend on the number of receivers."""

SCTP_PACKET_BYTES = 1200
"""Approximate bytes of a message in one SCTP packet."""


class Publishing:
    """A PublisherListener. Opens the connection with the first offer, and again with the next offer after a loss."""

    __slots__ = (
        "_bucket",
        "_budget",
        "_client",
        "_context",
        "_decision_log",
        "_fingerprints",
        "_mids",
        "_participant",
        "_publisher",
        "_refused_at",
        "_relay_budget",
        "_room",
        "_wanted",
    )  # fmt: skip

    def __init__(
        self,
        context: Context,
        client: Client,
        room: Room,
        participant: Participant,
        decision_log: DecisionLog,
        budget: LoopBudget,
    ) -> None:
        self._context = context
        self._client = client
        self._room = room
        self._participant = participant
        self._decision_log = decision_log
        self._budget = budget
        self._publisher: Publisher | None = None
        self._fingerprints: tuple[tuple[str, str], ...] = ()
        "DTLS certificates of the client. A change means a new RTCPeerConnection."
        self._mids: dict[str, Publication] = {}
        self._wanted: dict[str, tuple[str, ...]] = {}
        "Layers with subscribers, by mid, as last sent to the client."
        self._refused_at = float("-inf")
        self._relay_budget = LoopBudget(RELAY_SHARE, RELAY_BURST, context.now())
        "Loop time of the copies of its data-channel messages."
        rate = context.settings.data_channel_rate
        self._bucket = TokenBucket(rate, rate, context.now())

    def negotiate(self, sdp: str, tracks: list[TrackSpec]) -> tuple[str, dict[str, str]]:
        """Answers an offer. `tracks` describes its sending m-lines. Returns the answer's SDP and the track id of each
        published m-line. Raises RemoteErrors and then changes nothing."""
        return self.answer(accept_offer(parse(sdp)), tracks)

    def answer(self, accepted: AcceptedOffer, tracks: list[TrackSpec]) -> tuple[str, dict[str, str]]:
        """`negotiate` of an offer that is parsed already."""
        self._check(tracks, accepted)
        publisher = self._publisher
        renewed = bool(self._fingerprints and accepted.fingerprints) and accepted.fingerprints != self._fingerprints
        if publisher is None or renewed:
            publisher = self._context.endpoint.open_publisher(
                self._participant.id, self, self._decision_log, self._budget
            )
        try:
            negotiated = publisher.negotiate(accepted, tracks)
        except Exception:
            if publisher is not self._publisher:
                publisher.close()
            raise
        if publisher is not self._publisher:
            self._drop()
            self._publisher = publisher
        self._fingerprints = accepted.fingerprints or self._fingerprints
        self._commit(tracks, negotiated)
        return negotiated.sdp, {mid: publication.id for mid, publication in self._mids.items()}

    def send_data(self, packet: DataPacket, *, reliable: bool) -> None:
        """Sends a data-channel message of another participant."""
        if self._publisher is not None:
            self._publisher.send_data(self._client.dialect.encode_data(packet), reliable=reliable)

    def quality_limitation_changed(
        self, tracks: Mapping[TrackId, QualityLimitation], *, exclude: Container[TrackId]
    ) -> None:
        """Tracks that the client's browser limits, and why. It limits no others; the state of those in `exclude` is unknown."""
        if self._publisher is None:
            return
        for mid, publication in self._mids.items():
            if publication.id in tracks or publication.id not in exclude:
                self._publisher.quality_limitation_changed(mid, tracks.get(publication.id, "none"))

    @property
    def remote_host(self) -> str:
        """IP address that the connection sends to; empty: none yet."""
        return self._publisher.remote_host if self._publisher is not None else ""

    def report(self) -> Link | None:
        return self._publisher.report() if self._publisher is not None else None

    def close(self) -> None:
        publisher, self._publisher = self._publisher, None
        self._mids.clear()
        self._wanted.clear()
        if publisher is not None:
            publisher.close()

    def data_received(self, payload: bytes | str, *, reliable: bool) -> None:
        size = len(payload)
        if isinstance(payload, str) and not payload.isascii():
            size = len(payload.encode(errors="replace"))
        if size > MAX_MESSAGE_BYTES:
            self.data_refused(size)
            return
        if not self._bucket.take(max(1.0, size / DATA_UNIT), self._context.now()):
            self._refuse(
                "rate_limited", "You send too many or too long data-channel messages. Send fewer bytes per second."
            )
            return
        try:
            packet = self._client.dialect.decode_data(self._participant.id, payload)
        except BadRequest as error:
            self._refuse(error.code, error.message)
            return
        now = self._context.now()
        if not self._relay_budget.admits(now):
            self._refuse("rate_limited", "Your data-channel messages take too much server time. Send fewer.")
            return
        size = len(self._client.dialect.encode_data(packet))
        room = self._room
        if not room.messages.relay_data(self._participant, packet, reliable=reliable):
            self._refuse("not_authorized", "Your token does not allow sending data.")
            return
        packets = 1 + size // SCTP_PACKET_BYTES
        self._relay_budget.charge(RELAY_COST * packets * (len(room.members) - 1), now)

    def data_refused(self, size: int) -> None:
        limit = f"{MAX_MESSAGE_BYTES:,}"
        self._refuse(
            "data_too_large", f"A data-channel message of {size:,} bytes exceeds the limit of {limit}. Split it."
        )

    def _refuse(self, code: str, message: str) -> None:
        """Counts a message that is not relayed. The client gets at most one error per interval."""
        self._context.counters.data_dropped += 1
        now = self._context.now()
        if now - self._refused_at >= REFUSAL_INTERVAL:
            self._refused_at = now
            self._client.send(Error(code=code, message=message))

    def layers_wanted(self, mid: str, rids: tuple[str, ...]) -> None:
        self._wanted[mid] = rids
        publication = self._mids.get(mid)
        if publication is not None:
            self._client.send(LayersWanted(track=publication.id, layers=list(rids)))

    def resume(self) -> None:
        """Call it after the client attached again: repeats messages that it may have missed."""
        for mid, rids in list(self._wanted.items()):
            self.layers_wanted(mid, rids)

    def publisher_lost(self) -> None:
        self._publisher = None
        self._unpublish_all()
        self._client.publisher_lost()

    def _check(self, tracks: list[TrackSpec], accepted: AcceptedOffer) -> None:
        self._room.publications.check_publish(self._participant, [track.source for track in tracks])
        if len({track.mid for track in tracks}) != len(tracks):
            raise BadRequest("Two tracks name the same m-line.")
        kinds = {section.mid: section.kind for section in accepted.offer.media if section.mid}
        for track in tracks:
            kind = kinds.get(track.mid)
            if kind not in ("audio", "video"):
                raise BadRequest(f"The offer has no audio or video m-line with the mid {track.mid!r}.")
            if SOURCE_KINDS.get(track.source, kind) != kind:
                raise BadRequest(f"A {track.source} cannot be {kind}.")
        if self._context.draining and self._publisher is None:
            raise AtCapacity("This server is going down.", code="draining")

    def _commit(self, tracks: list[TrackSpec], negotiated: Negotiated) -> None:
        publications = self._room.publications
        sending = {track.mid: track for track in tracks if track.mid in negotiated.sources}
        for mid, publication in list(self._mids.items()):
            track = sending.get(mid)
            kept = (
                track is not None
                and publication.id in self._participant.publications
                and publication.media is negotiated.sources[mid]
                and publication.description.source == track.source
            )
            if not kept:
                del self._mids[mid]
                self._wanted.pop(mid, None)
                publications.unpublish(publication)
        for mid, track in sending.items():
            description = description_of(track)
            known = self._mids.get(mid)
            if known is not None:
                publications.update_description(known, description)
            else:
                self._mids[mid] = self._publish(track, negotiated.sources[mid], description)

    def _publish(self, track: TrackSpec, media: MediaSource, description: TrackDescription) -> Publication:
        publications = self._room.publications
        restored = publications.find_unbound(self._participant, track.track, media.kind) if track.track else None
        if restored is None:
            return publications.publish(self._participant, media, description, muted=track.muted)
        publications.bind(restored, media, description)
        publications.mute(restored, track.muted, by=self._participant)
        return restored

    def _drop(self) -> None:
        publisher, self._publisher = self._publisher, None
        self._unpublish_all()
        if publisher is not None:
            publisher.close()

    def _unpublish_all(self) -> None:
        publications, self._mids = list(self._mids.values()), {}
        self._wanted.clear()
        for publication in publications:
            self._room.publications.unpublish(publication, notify_owner=True)
