"""Packet log: records the headers and the feedback of calls as JSON lines, for replay. It contains no media.

Video packets are logged with header, extensions and the first payload bytes (codec descriptor and frame header), audio
packets with their sizes only, RTCP in full after decryption. Times are monotonic seconds. `tests/support/replay.py` reads
it: it replays publishers in the virtual network, and feedback for the estimator. Rows:

- `["track", number, peer, mid, kind, codec, parameters, clock_rate]` before a track's first packets,
- `["rtp", time, track, rid, [[sequence, timestamp, marker, size, extra, head], …]]` in canonical form; `head` in hex:
  `extension_size` bytes of extensions, then payload,
- `["rtcp", time, peer, data]` in hex,
- `["sent", time, peer, number, [size, …]]`: packets sent to a subscriber, from this transport-wide number on.
"""

import json
from collections.abc import Callable, Sequence
from typing import Final

from sfu.forwarding.down_track import DownTrack, SentCallback
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.media_track import MediaTrack
from sfu.forwarding.packet import Packet
from sfu.forwarding.peer_transport import PeerTransport
from sfu.forwarding.track import Track

HEAD: Final = 20
"""Logged bytes of a video payload: codec descriptor and frame header."""
MARKER: Final = 0x80


class PacketLog:
    """Log of one engine. `write` takes a line without line end, and may drop it."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._tracks: dict[MediaTrack, int] = {}
        self._count = 0
        self._tapped: set[Encoding] = set()

    def forwarded(self, encoding: Encoding, batch: Sequence[Packet], now: float) -> None:
        track = encoding.track
        number = self._tracks.get(track)
        if number is None:
            number = self._introduce(track)
        video = track.kind == "video"
        rows = [
            (
                packet.sequence,
                packet.timestamp,
                packet.first & MARKER != 0,
                packet.size,
                packet.extension_size if video else 0,
                packet.tail[: packet.extension_size + HEAD].hex() if video else "",
            )
            for packet in batch
        ]
        self._row("rtp", round(now, 6), number, encoding.rid, rows)

    def rtcp(self, peer: PeerTransport, data: bytes | memoryview, now: float) -> None:
        self._row("rtcp", round(now, 6), peer.id, bytes(data).hex())

    def logging_sent(self, peer: PeerTransport, on_sent: SentCallback) -> SentCallback:
        """A callback that logs the packets and calls `on_sent`."""

        def noted(sent: tuple[int, Sequence[int], float]) -> None:
            number, sizes, now = sent
            self._row("sent", round(now, 6), peer.id, number, list(sizes))
            on_sent(sent)

        return noted

    def listen(self, encoding: Encoding) -> None:
        """Logs all packets of the encoding from now on, with or without subscribers."""
        if encoding not in self._tapped:
            self._tapped.add(encoding)
            encoding.down_tracks.append(DownTrack.null_tap(encoding))

    def forget(self, track: Track) -> None:
        self._tracks.pop(track, None)
        self._tapped.difference_update(track.encodings.values())

    def _introduce(self, track: MediaTrack) -> int:
        self._count += 1
        number = self._tracks[track] = self._count
        self._row(
            "track", number, track.peer.id, track.mid, track.kind, track.codec, track.parameters, track.clock_rate
        )
        return number

    def _row(self, *values: object) -> None:
        self._write(json.dumps(values, separators=(",", ":")))
