"""Publishing connection of a bot: one audio track and one video track with simulcast, and their RTCP feedback."""

import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sfu.bots.connection import Connection
from sfu.bots.descriptions import (
    AUDIO_MID,
    OPUS,
    VIDEO_MID,
    VP8,
    VP8_RTX,
    publishing_offer,
    remote_of,
)
from sfu.bots.media_sources import Camera, Layer, Microphone, Picture, Sound
from sfu.bots.outbound import OutboundStream
from sfu.bots.voice import SILENT, Turn
from sfu.errors import MalformedPacket
from sfu.rtp import rtcp
from sfu.sdp.description import parse
from sfu.signaling.messages import LayerSpec, TrackSpec
from sfu.transport.dtls import Identity

REPORT_INTERVAL: Final = 1.0
SILENCE: Final = b"\xf8\xff\xfe"
"""Opus packet of 20 ms of silence (RFC 6716 3.1: CELT, full band, one frame)."""
RESENDS_PER_REPORT: Final = 64


class PublishingConnection:
    """Attached to a camera and a microphone from the time it is connected until `close`."""

    def __init__(
        self,
        identity: Identity,
        camera: Camera | None,
        microphone: Microphone | None,
        *,
        turn: Turn,
        lost: Callable[[str], None],
    ) -> None:
        self.connection = Connection(identity, self)
        self.muted = {AUDIO_MID: False, VIDEO_MID: False}
        """M-lines that a moderator muted; they send nothing."""
        self.keyframes_asked = 0
        self._camera = camera
        self._microphone = microphone
        self._turn = turn
        self._lost = lost
        self._version = 0
        self._transport_sequence = secrets.randbits(15)
        self._report_at = 0.0
        self._cname = secrets.token_hex(8)
        self.audio = _stream(OPUS, 48_000, AUDIO_MID) if microphone is not None else None
        layers = camera.layers if camera is not None else ()
        self.video = [
            _stream(VP8, 90_000, VIDEO_MID, rid=layer.rid if len(layers) > 1 else "", rtx=True) for layer in layers
        ]
        self._by_ssrc = {stream.ssrc: stream for stream in self.streams}

    @property
    def streams(self) -> list[OutboundStream]:
        return [*([self.audio] if self.audio is not None else []), *self.video]

    def offer(self) -> str:
        self._version += 1
        return publishing_offer(self.connection.credentials, self._version, self._cname, self.audio, self.video)

    def tracks(self, restored: Mapping[str, str]) -> list[TrackSpec]:
        """Describes the m-lines of the offer. `restored`: ids, by mid, that the tracks keep after a rebuild."""
        audio = TrackSpec(mid=AUDIO_MID, track=restored.get(AUDIO_MID, ""), source="microphone")
        specs = [audio] if self.audio is not None else []
        if self._camera is not None:
            layers: Sequence[Layer] = self._camera.layers
            specs.append(
                TrackSpec(
                    mid=VIDEO_MID,
                    track=restored.get(VIDEO_MID, ""),
                    source="camera",
                    width=layers[-1].width,
                    height=layers[-1].height,
                    layers=[
                        LayerSpec(
                            rid=layer.rid,
                            width=layer.width,
                            height=layer.height,
                            fps=self._camera.fps,
                            bitrate=layer.bitrate,
                        )
                        for layer in layers
                    ]
                    if len(layers) > 1
                    else [],
                )
            )
        return specs

    def use_answer(self, sdp: str) -> None:
        self.connection.connect(remote_of(parse(sdp)))

    def handle_timer(self, now: float) -> None:
        self.connection.handle_timer(now)
        if now >= self._report_at:
            self._report_at = now + REPORT_INTERVAL * random.uniform(0.8, 1.2)
            unix = time.time()
            for stream in self.streams:
                if stream.packets:
                    report = rtcp.encode_sender_report(stream.sender_report(unix))
                    self.connection.send_rtcp(report + rtcp.encode_source_description(stream.ssrc, self._cname))

    def close(self) -> None:
        self._detach()
        self.connection.close()

    def _detach(self) -> None:
        if self._camera is not None:
            self._camera.detach(self.send_picture)
        if self._microphone is not None:
            self._microphone.detach(self.send_sound)

    # -- camera and microphone --------------------------------------------------------------------------------------

    def send_picture(self, layer: int, picture: Picture) -> None:
        if self.muted[VIDEO_MID]:
            return
        stream = self.video[layer]
        last = len(picture.payloads) - 1
        for index, payload in enumerate(picture.payloads):
            self.connection.send_rtp(stream.packet(payload, picture.timestamp, index == last, self._next_transport()))

    def send_sound(self, sound: Sound) -> None:
        stream = self.audio
        if stream is None or self.muted[AUDIO_MID]:
            return
        speaks = self._turn.speaks(sound.at)
        self.connection.send_rtp(
            stream.packet(
                sound.payload if speaks else SILENCE,
                sound.timestamp,
                False,
                self._next_transport(),
                sound.level if speaks else SILENT,
            )
        )

    def speaks(self, at: float) -> bool:
        return not self.muted[AUDIO_MID] and self._turn.speaks(at)

    def _next_transport(self) -> int:
        self._transport_sequence += 1
        return self._transport_sequence & 0xFFFF

    # -- ConnectionListener -----------------------------------------------------------------------------------------

    def connected(self) -> None:
        if self._camera is not None:
            self._camera.attach(self.send_picture)
        if self._microphone is not None:
            self._microphone.attach(self.send_sound, self.speaks)

    def lost(self, reason: str) -> None:
        self._detach()
        self._lost(reason)

    def path_broken(self) -> None:
        """Does nothing: checks continue, and a connection that stays broken is replaced."""

    def rtp_received(self, packet: bytes, now: float) -> None:
        """Ignores packets: the server sends no media on this connection."""

    def rtcp_received(self, packet: bytes, now: float) -> None:
        try:
            reports = rtcp.parse(packet)
        except MalformedPacket:
            return
        for report in reports:
            match report:
                case rtcp.ReceiverReport() | rtcp.SenderReport():
                    for block in report.reports:
                        self._reported(block)
                case rtcp.Nack():
                    self._resend(report)
                case rtcp.PictureLossIndication() | rtcp.FullIntraRequest():
                    self.keyframes_asked += 1
                    if self._camera is not None:
                        self._camera.request_keyframe()
                case _:
                    pass

    def _reported(self, block: rtcp.ReportBlock) -> None:
        stream = self._by_ssrc.get(block.ssrc)
        if stream is not None:
            stream.known = True
            stream.reported_lost = max(0, block.packets_lost)
            stream.fraction_lost = block.fraction_lost / 256

    def _resend(self, nack: rtcp.Nack) -> None:
        stream = self._by_ssrc.get(nack.media_ssrc)
        if stream is None:
            return
        for sequence in nack.lost[:RESENDS_PER_REPORT]:
            packet = stream.retransmission(sequence, self._transport_sequence + 1)
            if packet is not None:
                self._next_transport()
                self.connection.send_rtp(packet)


def _stream(payload_type: int, clock_rate: int, mid: str, rid: str = "", rtx: bool = False) -> OutboundStream:
    return OutboundStream(
        ssrc=secrets.randbits(31) | 1,
        payload_type=payload_type,
        clock_rate=clock_rate,
        mid=mid,
        rid=rid,
        rtx_ssrc=(secrets.randbits(31) | 1) + 1 if rtx else 0,
        rtx_payload_type=VP8_RTX if rtx else 0,
        sequence=secrets.randbits(15),
        timestamp_offset=secrets.randbits(32),
        rtx_sequence=secrets.randbits(15),
    )
