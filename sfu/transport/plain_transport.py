"""Exchanges plain RTP with another process of this machine over a Unix socket: subscriptions out, published media in.

Egress workers and recorders receive ordinary subscriptions: down tracks of the engine with the layer selection, keyframe
throttle, sender reports and audio levels that a browser gets, but without SRTP. Media that the process sends back is
published like a browser's, with simulcast encodings, repair by NACK and RTX, and audio levels. The socket preserves
messages (SOCK_SEQPACKET); one message is a batch of datagrams of one size:

    | size, 16 bits | datagram of `size` bytes | … | the last one, perhaps shorter |

Nothing here blocks: a process that does not keep up loses datagrams, which are counted, and requests a keyframe. The
process decodes untrusted media, so its output passes the checks of any publisher. RTP and RTCP are distinguished by their
second byte (RFC 5761 4).
"""

import asyncio
import logging
import secrets
import socket
import struct
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.layers import Size
from sfu.forwarding.peer_transport import Address
from sfu.ids import TrackId
from sfu.resources.media_clock import ntp_time
from sfu.rooms.ports import MediaSource, SubscriptionSettings
from sfu.sdp.capabilities import OUT_EXTENSION_IDS, URI_AUDIO_LEVEL
from sfu.transport.down_tracks import DownTracks
from sfu.transport.layer_control import ignore_state
from sfu.transport.outbound_ssrcs import OutboundSsrcs
from sfu.transport.published_track import PublishedTrack
from sfu.transport.subscription import SendParameters, Subscription
from sfu.transport.udp import LONGEST

if TYPE_CHECKING:
    from sfu.transport.webrtc_server import WebRtcServer

log = logging.getLogger(__name__)

PAYLOAD_TYPES: Final[dict[str, int]] = {"opus": 111, "red": 63, "VP8": 96, "VP9": 98, "H264": 102, "AV1": 45}
"""Payload types in both directions. Both processes run the same version, so nothing is negotiated."""
RTX_PAYLOAD_TYPES: Final[dict[str, int]] = {"VP8": 97, "VP9": 99, "H264": 103, "AV1": 46}
"""Payload types of retransmissions (RFC 4588) by the codec that they repair."""
AUDIO_EXTENSIONS: Final = {URI_AUDIO_LEVEL: OUT_EXTENSION_IDS[URI_AUDIO_LEVEL]}
"""Header extensions of audio in both directions (RFC 6464). A process may leave them out."""
PARAMETERS: Final = {
    "H264": "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    "opus": "minptime=10;useinbandfec=1;sprop-stereo=1",
}
"""Codec parameters (fmtp) of published media."""
CLOCK_RATES: Final = {"audio": 48_000, "video": 90_000}
LARGEST: Final = 65_536 + 2
BATCH: Final = 64
"""Messages read per turn of the loop."""
BUFFER: Final = 1_048_576
"""Requested size of the socket buffers: a second of 8 Mbit/s; the kernel's limit may be lower."""
_SIZE: Final = struct.Struct("!H")


def pair() -> tuple[socket.socket, socket.socket]:
    """Creates a socket pair: our end, which is non-blocking, and the other process's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    return ours, theirs


class EncodingParameters(NamedTuple):
    """One RTP stream of a published track. Compare WebRTC's `RTCRtpEncodingParameters`."""

    ssrc: int
    rid: str = ""
    "Name of a simulcast encoding; empty if the track has one encoding. Packets need no RID extension."
    rtx_ssrc: int | None = None
    "SSRC of retransmissions. None: the process does not answer NACKs."
    size: Size = Size(0, 0)
    "Pixels of the pictures, until a keyframe tells."


class PlainTransportSocket:
    """The engine's DatagramSink towards the process; `sock` is None while no process is attached."""

    __slots__ = ("_heads", "dropped", "segments", "sock")

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.segments = True
        self.dropped = 0
        """Messages dropped because the process reads too slowly."""
        self._heads = [_SIZE.pack(size) for size in range(LONGEST + 1)]

    def send(self, data: memoryview | bytes, address: Address) -> bool:
        return self._send(data, len(data))

    def send_segments(self, data: memoryview, size: int, address: Address) -> bool:
        return self._send(data, size)

    def _send(self, data: memoryview | bytes, size: int) -> bool:
        if self.sock is None:
            return True  # no process is attached
        try:
            self.sock.sendmsg((self._heads[size] if size <= LONGEST else _SIZE.pack(size), data))
        except OSError:  # its buffer is full, or the process ended, which the owner learns elsewhere
            self.dropped += 1
            return False
        return True


class PlainTransport:
    """A MediaSink. Lives as long as the egress job; the process behind it may be replaced (`attach`)."""

    def __init__(self, webrtc_server: "WebRtcServer", name: str) -> None:
        """`name`: stream name of published media."""
        self._webrtc_server = webrtc_server
        self._name = name
        self._socket = PlainTransportSocket()
        self.peer = webrtc_server.engine.open_plain_peer(
            webrtc_server.next_peer_id(), secrets.randbits(31) | 1, self._socket
        )
        self._ssrcs = OutboundSsrcs(secrets.randbits(31) | 1)
        self._down_tracks = DownTracks(webrtc_server.engine, None, ignore_state, DecisionLog())
        self._down_tracks.start(time.monotonic())
        self._published: list[PublishedTrack] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._memory = memoryview(bytearray(LARGEST))

    @property
    def dropped(self) -> int:
        """Messages dropped because the process reads too slowly."""
        return self._socket.dropped

    # -- the process ------------------------------------------------------------------------------------------------

    def attach(self, sock: socket.socket) -> None:
        """Attaches a process at the other end of `sock`. Takes ownership of `sock`."""
        self.detach()
        self._loop = asyncio.get_running_loop()
        self._socket.sock = sock
        self._loop.add_reader(sock.fileno(), self._readable, sock)

    def detach(self) -> None:
        """The process ended: down tracks stay and their packets are dropped."""
        sock, self._socket.sock = self._socket.sock, None
        if sock is not None and self._loop is not None:
            self._loop.remove_reader(sock.fileno())
            sock.close()

    def close(self) -> None:
        """Closes subscriptions, then publications, then the socket. Idempotent."""
        self._down_tracks.close()
        for source in list(self._published):
            self.unpublish(source)
        self._webrtc_server.engine.close_peer(self.peer)
        self.detach()

    # -- MediaSink --------------------------------------------------------------------------------------------------

    def subscribe(self, track: TrackId, source: MediaSource, settings: SubscriptionSettings) -> None:
        now = time.monotonic()
        if self.peer.closed or self._down_tracks.update_same_source(track, source, settings, now):
            return
        self.unsubscribe(track)
        if source.track.closed or source.codec not in PAYLOAD_TYPES:
            return
        subscription = Subscription(track, source, settings)
        self._down_tracks.add(subscription)
        extensions = AUDIO_EXTENSIONS if source.kind == "audio" else {}
        parameters = SendParameters("00", self._ssrcs.take(), 0, PAYLOAD_TYPES[source.codec], None, None, extensions)
        self._down_tracks.open(subscription, self.peer, parameters, 1, now)

    def update(self, track: TrackId, settings: SubscriptionSettings) -> None:
        self._down_tracks.update(track, settings, time.monotonic())

    def unsubscribe(self, track: TrackId) -> None:
        self._down_tracks.remove(track)

    def ssrc(self, track: TrackId) -> int:
        """SSRC of the track's packets; 0: not subscribed."""
        subscription = self._down_tracks.get(track)
        return subscription.down_track.ssrc if subscription is not None and subscription.down_track is not None else 0

    # -- media that comes back --------------------------------------------------------------------------------------

    def publish(
        self,
        kind: Literal["audio", "video"],
        codec: str,
        encodings: Sequence[EncodingParameters],
        *,
        parameters: str | None = None,
    ) -> PublishedTrack:
        """Publishes a track that the process sends. `encodings`: smallest first; several need different rids.

        `codec`: a key of `PAYLOAD_TYPES`; `parameters`: its fmtp value, by default from `PARAMETERS`. Missing packets of
        video are requested with NACK on this socket, keyframes with PLI.
        """
        rids = tuple(encoding.rid for encoding in encodings)
        if not encodings or len(set(rids)) < len(rids) or (len(rids) > 1 and "" in rids):
            raise ValueError("encodings need different rids")
        payload_type, rtx = PAYLOAD_TYPES[codec], RTX_PAYLOAD_TYPES.get(codec)
        has_rtx = rtx is not None and any(encoding.rtx_ssrc is not None for encoding in encodings)
        track = self._webrtc_server.engine.add_track(
            self.peer,
            mid=f"{kind}-{encodings[0].ssrc}",
            kind=kind,
            codec=codec,
            parameters=PARAMETERS.get(codec, "") if parameters is None else parameters,
            clock_rate=CLOCK_RATES[kind],
            payload_types={payload_type: codec},
            rtx={rtx: payload_type} if has_rtx and rtx is not None else {},
            extensions=AUDIO_EXTENSIONS if kind == "audio" else {},
            rids=rids if rids != ("",) else (),
            ssrcs=tuple((encoding.ssrc, encoding.rtx_ssrc) for encoding in encodings),
            by_ssrc=True,
        )
        source = PublishedTrack(self._webrtc_server.engine, track, self._name)
        source.declared = {encoding.rid: encoding.size for encoding in encodings}
        self._published.append(source)
        return source

    def unpublish(self, source: PublishedTrack) -> None:
        if source in self._published:
            self._published.remove(source)
            self._webrtc_server.engine.remove_track(source.track)

    def _readable(self, sock: socket.socket) -> None:
        now = time.monotonic()
        memory = self._memory
        try:
            for _ in range(BATCH):
                count = sock.recv_into(memory)
                if not count:
                    self.detach()  # the process closed its end; the owner learns of its exit
                    break
                self._receive(memory[:count], now)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.detach()
        except Exception:  # a fault affects only the packet that caused it
            self._webrtc_server.port.dropped["fault"] += 1
            log.exception("plain transport failed")
        self._webrtc_server.engine.flush(now)
        self._webrtc_server.port.resume_timers()

    def _receive(self, message: memoryview, now: float) -> None:
        engine, peer, dropped = self._webrtc_server.engine, self.peer, self._webrtc_server.port.dropped
        size = _SIZE.unpack_from(message)[0] if len(message) > 2 else 0
        if not 12 <= size <= LONGEST:
            dropped["plain_malformed"] += 1
            return
        for at in range(2, len(message), size):
            packet = message[at : at + size]
            if len(packet) < 12 or packet[0] & 0xC0 != 0x80:
                dropped["plain_malformed"] += 1
            elif 191 < packet[1] < 224:
                engine.receive_rtcp(peer, bytes(packet), now, ntp_time(now))
            elif peer.flooding:
                dropped["ingress_rate"] += 1
                engine.count_refused(peer, len(packet))
            else:
                engine.receive(peer, packet, len(packet), now)
