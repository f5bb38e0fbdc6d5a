"""What an engine saw of a call, one line of JSON for each thing, to be played again: headers and feedback, no content.

Of a picture's packets the header, its extensions and as many bytes of the payload as say where pictures begin; of sound
nothing but sizes; RTCP as a whole, once opened. Times are monotonic seconds. `tests/support/replay.py` reads it: recorded
publishers in the virtual network, and recorded feedback for the estimator. Rows:

- `["track", number, peer, mid, kind, codec, parameters, clock_rate]` before a track's first packets,
- `["rtp", time, track, rid, [[sequence, timestamp, marker, size, extra, head], …]]` in canonical form; `head` in hex:
  `extension_size` bytes of extensions, then payload,
- `["rtcp", time, peer, data]` in hex,
- `["sent", time, peer, number, [size, …]]`: what went to a subscriber, from this transport-wide number on.
"""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from sfu.forwarding.down_track import DownTrack

if TYPE_CHECKING:
    from sfu.forwarding.down_track import SentCallback
    from sfu.forwarding.encoding import Encoding
    from sfu.forwarding.packet import Packet
    from sfu.forwarding.peer import EnginePeer
    from sfu.forwarding.track import Track

HEAD: Final = 20
"""Bytes of a picture's payload: the codec's descriptor and the frame's header."""
MARKER: Final = 0x80


class PacketLog:
    """`write` takes a line without its end; it may drop it."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._tracks: dict[Track, int] = {}
        self._count = 0
        self._heard: set[Encoding] = set()

    def forwarded(self, encoding: "Encoding", batch: "Sequence[Packet]", now: float) -> None:
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

    def rtcp(self, peer: "EnginePeer", data: bytes | memoryview, now: float) -> None:
        self._row("rtcp", round(now, 6), peer.id, bytes(data).hex())

    def logging_sent(self, peer: "EnginePeer", on_sent: "SentCallback") -> "SentCallback":
        """`on_sent`, and a row for each of its calls."""

        def noted(sent: tuple[int, Sequence[int], float]) -> None:
            number, sizes, now = sent
            self._row("sent", round(now, 6), peer.id, number, list(sizes))
            on_sent(sent)

        return noted

    def listen(self, encoding: "Encoding") -> None:
        """From now on all of it comes here, though nobody is sent it: what has no route is not handed on."""
        if encoding not in self._heard:
            self._heard.add(encoding)
            encoding.down_tracks.append(DownTrack.null_tap(encoding))

    def forget(self, track: "Track") -> None:
        self._tracks.pop(track, None)
        self._heard.difference_update(track.encodings.values())

    def _introduce(self, track: "Track") -> int:
        self._count += 1
        number = self._tracks[track] = self._count
        self._row(
            "track", number, track.peer.id, track.mid, track.kind, track.codec, track.parameters, track.clock_rate
        )
        return number

    def _row(self, *values: object) -> None:
        self._write(json.dumps(values, separators=(",", ":")))
