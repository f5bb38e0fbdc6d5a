"""A source of RTP inside the server process: an engine peer without a socket.

The engine sees an ordinary publisher. Large pictures leave in slices (`PicturePacer`).
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final, Literal

from sfu.errors import MalformedPacket
from sfu.forwarding.layers import Size
from sfu.forwarding.peer_transport import Address
from sfu.ingest.picture_pacer import SLICE_INTERVAL, PicturePacer
from sfu.resources.media_clock import ntp_time
from sfu.rtp import rtcp
from sfu.rtp.sender import RtpSender
from sfu.sdp.capabilities import URI_AUDIO_LEVEL
from sfu.transport.plain_transport import CLOCK_RATES, PARAMETERS, PAYLOAD_TYPES
from sfu.transport.published_track import PublishedTrack
from sfu.transport.webrtc_server import WebRtcServer

_LEVEL_EXTENSION: Final = 1


class RtpSource:
    """Publishes tracks of one participant. All methods run on the event loop."""

    def __init__(self, webrtc_server: WebRtcServer, name: str, keyframe_wanted: Callable[[int], None]) -> None:
        """`name`: stream name of the tracks. `keyframe_wanted` gets the SSRC for which subscribers need a keyframe."""
        self._webrtc_server = webrtc_server
        self._name = name
        self._keyframe_wanted = keyframe_wanted
        self.segments = False
        self.peer = webrtc_server.engine.open_plain_peer(webrtc_server.next_peer_id(), secrets.randbits(31) | 1, self)
        self._pacer = PicturePacer()
        self._timer: asyncio.TimerHandle | None = None

    def publish_video(self, codec: str, sizes: Mapping[str, Size]) -> tuple[PublishedTrack, dict[str, RtpSender]]:
        """`sizes` by rid, lowest first; one entry: no simulcast."""
        return self._publish("video", codec, sizes)

    def publish_audio(self) -> tuple[PublishedTrack, RtpSender]:
        track, senders = self._publish("audio", "opus", {"": Size(0, 0)})
        return track, senders[""]

    def unpublish(self, source: PublishedTrack) -> None:
        if not source.track.closed:
            self._webrtc_server.engine.remove_track(source.track)

    def close(self) -> None:
        """Closes the tracks. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pacer.clear()
        self._webrtc_server.engine.close_peer(self.peer)

    def send_sound(self, sender: RtpSender, packet: bytes, pts: int, level: int) -> None:
        """`level` as in RFC 6464; negative: unknown."""
        extension = bytes((0xBE, 0xDE, 0, 1, _LEVEL_EXTENSION << 4, level, 0, 0)) if level >= 0 else b""
        self._receive(sender.packets([packet], pts, extension))

    def send_picture(self, packets: list[bytes]) -> None:
        """The packets of one picture."""
        out = self._pacer.push(packets, time.monotonic())
        if out:
            self._receive(out)
        self._schedule()

    def send_report(self, report: bytes) -> None:
        now = time.monotonic()
        self._webrtc_server.engine.receive_rtcp(self.peer, report, now, ntp_time(now))

    def _send_slice(self) -> None:
        self._timer = None
        self._receive(self._pacer.due(time.monotonic()))
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is None and self._pacer.waiting:
            self._timer = asyncio.get_running_loop().call_later(SLICE_INTERVAL, self._send_slice)

    def _receive(self, packets: list[bytes]) -> None:
        engine, peer, now = self._webrtc_server.engine, self.peer, time.monotonic()
        for packet in packets:
            engine.receive(peer, memoryview(packet), len(packet), now)
        engine.flush(now)
        self._webrtc_server.port.resume_timers()

    def _publish(
        self, kind: Literal["audio", "video"], codec: str, sizes: Mapping[str, Size]
    ) -> tuple[PublishedTrack, dict[str, RtpSender]]:
        ssrcs = {rid: secrets.randbits(31) | 1 for rid in sizes}
        rids = tuple(sizes) if len(sizes) > 1 else ()
        track = self._webrtc_server.engine.add_track(
            self.peer,
            mid=f"{kind}-{next(iter(ssrcs.values()))}",
            kind=kind,
            codec=codec,
            parameters=PARAMETERS.get(codec, ""),
            clock_rate=CLOCK_RATES[kind],
            payload_types={PAYLOAD_TYPES[codec]: codec},
            rtx={},
            extensions={URI_AUDIO_LEVEL: _LEVEL_EXTENSION},
            rids=rids,
            ssrcs=tuple((ssrc, None) for ssrc in ssrcs.values()),
            by_ssrc=bool(rids),
        )
        source = PublishedTrack(self._webrtc_server.engine, track, self._name)
        source.declared = dict(sizes)
        base = secrets.randbits(31)
        senders = {
            rid: RtpSender(ssrc, PAYLOAD_TYPES[codec], CLOCK_RATES[kind], secrets.randbits(15), base)
            for rid, ssrc in ssrcs.items()
        }
        return source, senders

    # -- DatagramSink: RTCP of the engine ---------------------------------------------------------------------------

    def send(self, data: memoryview | bytes, address: Address) -> bool:
        try:
            packets = rtcp.parse(bytes(data))
        except MalformedPacket:
            return True
        for packet in packets:
            if isinstance(packet, rtcp.PictureLossIndication):
                self._keyframe_wanted(packet.media_ssrc)
        return True

    def send_segments(self, data: memoryview, size: int, address: Address) -> bool:
        return True  # media, which this peer does not subscribe to
