"""Subscribing connection of a bot: answers the server's offers, receives media and sends RTCP feedback.

It sends the same feedback as browsers: receiver reports, NACK, PLI, and transport-wide congestion control.
"""

import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sfu.bandwidth.twcc import Recorder
from sfu.bots.codecs import SoundDecoder, VideoDecoder
from sfu.bots.connection import Connection
from sfu.bots.descriptions import remote_of, subscribing_answer
from sfu.bots.inbound import Frame, InboundStream
from sfu.bots.picture import read_stamp, stamp_age
from sfu.bots.voice import strongest_pitch
from sfu.errors import MalformedPacket
from sfu.rtp import red, rtcp
from sfu.rtp.packet import extensions, parse_header
from sfu.sdp import capabilities as caps
from sfu.sdp.description import MediaSection, parse
from sfu.transport.dtls import Identity

REPORT_INTERVAL: Final = 1.0
FEEDBACK_INTERVAL: Final = 0.1
KEYFRAME_INTERVAL: Final = 1.0
"""Seconds between two requests for the same stream."""
DEFAULT_RTT: Final = 0.1


@dataclass(slots=True)
class ReceivedTrack:
    """One received track and the results of decoding it."""

    track: str
    stream: InboundStream
    decoder: VideoDecoder | SoundDecoder | None = None
    decoded: int = 0
    "Decoded pictures or audio packets."
    size: tuple[int, int] = (0, 0)
    latency: float | None = None
    "Seconds from drawing to decoding of the last picture with a stamp. Requires synchronized clocks."
    pitch: float = 0.0
    "Strongest frequency in hertz of the last audio packet that was not quiet."
    first_at: float | None = None
    "Monotonic time of the first complete frame, or of the first decoded one if the track is decoded."
    keyframe_requested_at: float = 0.0
    "Monotonic time of the last keyframe request."
    red: int | None = None
    "Payload type of redundant audio (RFC 2198), if negotiated."


class SubscribingConnection:
    """Created for a `fresh` offer of the server; `answer` also handles all later offers of the same connection."""

    def __init__(
        self, identity: Identity, *, decode: bool, lost: Callable[[str], None], broken: Callable[[], None]
    ) -> None:
        self.connection = Connection(identity, self)
        self.receptions: dict[int, ReceivedTrack] = {}
        """By SSRC."""
        self.retired: list[ReceivedTrack] = []
        """Tracks that have ended, kept for their counters."""
        self._decode = decode
        self._lost = lost
        self._broken = broken
        self._version = 0
        self._ufrag = ""
        self._ssrc = secrets.randbits(31) | 1
        self._cname = secrets.token_hex(8)
        self._recorder = Recorder(self._ssrc)
        self._transport_id = 0
        self._rtx: dict[int, int] = {}
        "Maps RTX SSRC to media SSRC."
        self._report_at = 0.0
        self._feedback_at = 0.0

    def answer(self, sdp: str, tracks: dict[str, str]) -> str:
        """`tracks` maps m-lines to track ids. Connects, or restarts ICE if the server has new credentials."""
        offer = parse(sdp)
        self._version += 1
        answer = subscribing_answer(offer, self.connection.credentials, self._version)
        wanted: set[int] = set()
        for section in offer.media:
            track = tracks.get(section.mid, "")
            if section.kind in ("audio", "video") and section.direction == "sendonly" and track:
                self._add_streams(section, track, wanted)
        for ssrc in [ssrc for ssrc in self.receptions if ssrc not in wanted]:
            self.retired.append(self.receptions.pop(ssrc))
        remote = remote_of(offer)
        if remote.ufrag != self._ufrag:
            self._ufrag = remote.ufrag
            self.connection.connect(remote)
        return answer

    def _add_streams(self, section: MediaSection, track: str, wanted: set[int]) -> None:
        repairs = {group[1]: group[0] for semantics, group in section.ssrc_groups if semantics == "FID"}
        self._transport_id = section.extensions.get(caps.URI_TRANSPORT_CC, self._transport_id)
        for ssrc in section.ssrcs:
            if ssrc in repairs:
                self._rtx[ssrc] = repairs[ssrc]
                continue
            wanted.add(ssrc)
            if ssrc in self.receptions or not section.codecs:
                continue
            codec = next((codec for codec in section.codecs if codec.name.lower() != "red"), section.codecs[0])
            kind = "video" if section.kind == "video" else "audio"
            reception = ReceivedTrack(track, InboundStream(ssrc, kind, codec.name, codec.clock_rate))  # type: ignore[arg-type]
            if self._decode and codec.name == "VP8":
                reception.decoder = VideoDecoder()
            elif self._decode and codec.name.lower() == "opus":
                reception.decoder = SoundDecoder()
            reception.red = next((each.payload_type for each in section.codecs if each.name.lower() == "red"), None)
            self.receptions[ssrc] = reception

    def handle_timer(self, now: float) -> None:
        self.connection.handle_timer(now)
        if not self.receptions:
            return
        rtt = self.connection.ice.rtt or DEFAULT_RTT
        for reception in self.receptions.values():
            stream = reception.stream
            for frame in stream.handle_timer(now):
                self._decode_frame(reception, frame, now)
            missing = stream.nack.due(now, rtt) if stream.nack.missing else []
            if missing:
                self.connection.send_rtcp(rtcp.encode_nack(self._ssrc, stream.ssrc, missing))
            if (
                stream.wants_keyframe
                and stream.counts.packets
                and now - reception.keyframe_requested_at > KEYFRAME_INTERVAL
            ):
                reception.keyframe_requested_at = now
                self.connection.send_rtcp(rtcp.encode_pli(self._ssrc, stream.ssrc))
        if now >= self._feedback_at:
            self._feedback_at = now + FEEDBACK_INTERVAL
            media = next(iter(self.receptions))
            for packet in self._recorder.feedback(media):
                self.connection.send_rtcp(packet)
        if now >= self._report_at:
            self._report_at = now + REPORT_INTERVAL * random.uniform(0.8, 1.2)
            self._report(now)

    def _report(self, now: float) -> None:
        blocks = [block for each in self.receptions.values() if (block := each.stream.report(now)) is not None]
        for at in range(0, max(1, len(blocks)), 31):
            report = rtcp.ReceiverReport(self._ssrc, tuple(blocks[at : at + 31]))
            description = rtcp.encode_source_description(self._ssrc, self._cname)
            self.connection.send_rtcp(rtcp.encode_receiver_report(report) + description)

    def close(self) -> None:
        self.connection.close()

    # -- ConnectionListener -----------------------------------------------------------------------------------------

    def connected(self) -> None:
        pass

    def lost(self, reason: str) -> None:
        self._lost(reason)

    def path_broken(self) -> None:
        self._broken()

    def rtp_received(self, packet: bytes, now: float) -> None:
        try:
            header = parse_header(packet)
            if self._transport_id and header.extension_profile:
                for number, at, size in extensions(
                    packet, header.extension_start, header.extension_end, header.extension_profile
                ):
                    if number == self._transport_id and size == 2:
                        self._recorder.record(packet[at] << 8 | packet[at + 1], now)
        except MalformedPacket:
            self.connection.dropped += 1
            return
        payload = packet[header.payload_start : header.payload_end]
        ssrc, repaired = header.ssrc, False
        if ssrc in self._rtx:
            if len(payload) < 2:
                return  # padding
            ssrc, repaired = self._rtx[ssrc], True
            header = header._replace(sequence=payload[0] << 8 | payload[1])
            payload = payload[2:]
        reception = self.receptions.get(ssrc)
        if reception is None:
            return
        if header.payload_type == reception.red:
            try:
                _, start, end = red.primary(payload, 0, len(payload))
            except MalformedPacket:
                self.connection.dropped += 1
                return
            payload = payload[start:end]
        for frame in reception.stream.receive(header, payload, now, repaired=repaired):
            self._decode_frame(reception, frame, now)

    def rtcp_received(self, packet: bytes, now: float) -> None:
        try:
            reports = rtcp.parse(packet)
        except MalformedPacket:
            self.connection.dropped += 1
            return
        for report in reports:
            if isinstance(report, rtcp.SenderReport) and report.ssrc in self.receptions:
                self.receptions[report.ssrc].stream.sender_reported(report.ntp, now)

    def _decode_frame(self, reception: ReceivedTrack, frame: Frame, now: float) -> None:
        decoder = reception.decoder
        if isinstance(decoder, VideoDecoder):
            luma = decoder.decode(frame.data, frame.timestamp)
            if luma is None:
                return
            reception.decoded += 1
            reception.size = (luma.shape[1], luma.shape[0])
            stamp = read_stamp(luma)
            if stamp is not None:
                reception.latency = stamp_age(stamp, time.time())
        elif isinstance(decoder, SoundDecoder):
            samples = decoder.decode(frame.data)
            if samples is None or not len(samples):
                return
            reception.decoded += 1
            if int(abs(samples).max()) > 1000:
                reception.pitch = strongest_pitch(samples)
        if reception.first_at is None:
            reception.first_at = now
