"""Publications on disk as they came: coded frames into a file each, nothing decoded, so that a room can be composed again.

A file's time is the time of capture on the server's clock, by the sender reports that the server gives of the track, so the
tracks of one sender agree. The beginning of a track waits up to `PATIENCE` seconds for its first report; without one, its
fastest packets say when frames were captured. Drift is followed at most 0.5 %, and gaps stay. While it runs a track is
`NAME.mkv` in clusters of a second, each written whole; `finalize_track` makes WebM of it (VP8, VP9, AV1, Opus) or
fast-start MP4 (H.264), also after a crash. Beside it, `NAME.jsonl` says when it began, by which clock (`reports` or
`arrivals`), and holds the sender's reports: `ntp` (64 bits) was `media` seconds into the file.
RFC 9559 (Matroska), RFC 3550 6.4.1, RFC 7845.
"""

import json
import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av

from sfu.errors import MalformedPacket
from sfu.outputs import matroska
from sfu.outputs.codec_config import codec_config, length_prefixed
from sfu.outputs.disk_writer import DiskWriter
from sfu.resources.media_clock import NTP_EPOCH
from sfu.rtp.frames import CodedFrame
from sfu.rtp.sender_clock import NTP_UNITS, SenderClock, unwrap

SLEW: Final = 0.005
"""Seconds per second by which a file's time may run faster or slower than the RTP clock."""
PATIENCE: Final = 3.0
"""Seconds for which a track's beginning is kept in memory until its first report."""
_BEGINNING_LIMIT: Final = 8_000_000
"""Bytes of it."""
_JUMP: Final = 0.040
"""Seconds off its place beyond which a frame is not left to the slew: lips would be seen to be apart."""
_COHERENT: Final = 1.0
"""Seconds by which capture and arrival may differ before a report is not believed."""
_RESTART: Final = 3.0
"""Seconds by which a timestamp must miss its place to be another clock's."""
_WINDOW: Final = 10
"""Seconds, in buckets of one, over which the fastest packet is sought."""
_CLUSTER: Final = 1000
"""Milliseconds."""
_REPORTS_EVERY: Final = 5.0
_NAMES: Final = {"VP8": "V_VP8", "VP9": "V_VP9", "AV1": "V_AV1", "H264": "V_MPEG4/ISO/AVC", "OPUS": "A_OPUS"}


@dataclass(frozen=True, slots=True)
class TrackMetadata:
    """Of a track, for its side file: who published what."""

    track: str
    participant: str
    source: str = ""
    "camera, microphone, screen …"


class CaptureClock:
    """When the frames of one track were captured, in Unix time: by reports, else by the fastest packets. Pure."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._sender = SenderClock()
        self._buckets: deque[tuple[int, float]] = deque()
        self._fastest = 0.0  # arrival − media time
        self._newest: int | None = None

    @property
    def reported(self) -> bool:
        return self._sender.reported is not None

    def receive(self, timestamp: int, arrival: float) -> None:
        """A frame: unwrapped RTP timestamp, Unix time of its arrival."""
        second, transit, buckets = int(arrival), arrival - timestamp / self._rate, self._buckets
        if self._newest is not None and abs(transit - self._fastest) > _RESTART:
            buckets.clear()
            self._sender.reset()
        self._newest = timestamp
        if buckets and buckets[-1][0] >= second:
            buckets[-1] = (buckets[-1][0], min(buckets[-1][1], transit))
        else:
            buckets.append((second, transit))
            while buckets[0][0] <= second - _WINDOW:
                buckets.popleft()
        self._fastest = min([fastest for _, fastest in buckets])

    def report(self, ntp: int, rtp_timestamp: int, now: float) -> None:
        """A sender report on the server's clock; ignored before the first frame, and when it contradicts the arrivals."""
        if self._newest is None:
            return
        wall = ntp / NTP_UNITS - NTP_EPOCH - unwrap(rtp_timestamp, self._newest) / self._rate
        recent = min([fastest for _, fastest in list(self._buckets)[-2:]])
        if abs(wall - recent) < _COHERENT:
            change = wall - self._sender.wall
            self._sender.receive(wall, now, believed=abs(recent - self._fastest - change) < _JUMP)

    def captured(self, timestamp: int) -> float:
        return timestamp / self._rate + (self._sender.wall if self.reported else self._fastest)


class TrackWriter:
    """One publication → one file. One thread calls it; the disk has its own.

    Pictures begin with the first keyframe. `end` is the file's length so far in seconds.
    """

    def __init__(self, disk: DiskWriter, name: str, codec: str, about: TrackMetadata) -> None:
        """`name`: the file's, without extension; `codec`: VP8, VP9, H264, AV1 or opus. ValueError for others."""
        self._codec = codec.upper()
        if self._codec not in _NAMES or "/" in name or name.startswith("."):
            raise ValueError(f"cannot record {codec} as {name}")
        self.name = name
        self.is_video = self._codec != "OPUS"
        self.frames = 0
        self.refused = 0
        "Frames that did not parse, or came before a keyframe."
        self.end = 0.0
        self._disk = disk
        self._about = about
        self._rate = 90_000 if self.is_video else 48_000
        self._clock = CaptureClock(self._rate)
        self._waiting: list[CodedFrame] = []  # until the clock is known
        self._waiting_bytes = 0
        self._waiting_since: float | None = None
        self._origin: float | None = None  # Unix time of the file's 0
        self._first = 0  # RTP timestamp of the file's 0
        self._newest = 0
        self._correction = 0.0  # seconds to add to the RTP clock
        self._raw = 0.0
        self._blocks: list[bytes] = []
        self._cluster_at = 0
        self._cluster_keyframe = True
        self._last = -1  # milliseconds of the last block
        self._reported = -_REPORTS_EVERY
        self._closed = False

    def receive(self, frame: CodedFrame, wall: float) -> None:
        """`wall`: Unix time at which the frame arrived."""
        if self._closed:
            return
        self.handle_timer(wall)
        self._clock.receive(frame.timestamp, wall)
        if self._origin is not None:
            self._write(frame)
        elif self.is_video and not self._waiting and not frame.keyframe:
            self.refused += 1
        else:
            self._waiting.append(frame)
            self._waiting_bytes += len(frame.data)
            self._waiting_since = wall if self._waiting_since is None else self._waiting_since
            self.handle_timer(wall)

    def handle_timer(self, wall: float) -> None:
        """Some times a second: begins the file when its clock is known, or not waited for any longer."""
        since = self._waiting_since
        if since is not None and (
            self._clock.reported or wall - since >= PATIENCE or self._waiting_bytes > _BEGINNING_LIMIT
        ):
            self._begin_waiting(wall)

    def _begin_waiting(self, wall: float) -> None:
        waiting, self._waiting = self._waiting, []
        self._waiting_bytes, self._waiting_since = 0, None
        for frame in waiting:
            if self._origin is not None or self._begin(frame, wall):
                self._write(frame)
            else:
                self.refused += 1

    def _write(self, frame: CodedFrame) -> None:
        at = round(self._time(frame.timestamp) * 1000)
        if not self.is_video and at <= self._last:
            self.refused += 1  # the clock was corrected backwards: what is in the file stays
            return
        at = max(self._last + 1, at)
        data = length_prefixed(frame.data) if self._codec == "H264" else frame.data
        keyframe = frame.keyframe or not self.is_video
        relative = at - self._cluster_at
        if self._blocks and (relative >= _CLUSTER or (self.is_video and keyframe) or not matroska.fits(relative)):
            self._flush()
        if not self._blocks:
            self._cluster_at, self._cluster_keyframe, relative = at, keyframe, 0
        self._blocks.append(matroska.block(1, relative, data, keyframe=keyframe))
        self._newest = frame.timestamp
        self.frames += 1
        self.end = max(self.end, at / 1000)
        self._last = at

    def report(self, ntp: int, rtp_timestamp: int, wall: float) -> None:
        """A sender report on the server's clock: 64 bits of NTP, 32 of RTP; `wall`: when it arrived."""
        if self._closed:
            return
        self._clock.report(ntp, rtp_timestamp, wall)
        self.handle_timer(wall)
        if self._origin is None or wall - self._reported < _REPORTS_EVERY:
            return
        self._reported = wall
        media = (unwrap(rtp_timestamp, self._newest) - self._first) / self._rate + self._correction
        self._note({"event": "report", "ntp": ntp, "rtp": rtp_timestamp, "media": round(media, 4)}, wall)

    def close(self, wall: float) -> None:
        """Idempotent. The disk stays open: it is its owner's."""
        if self._closed:
            return
        self._begin_waiting(wall)
        self._closed = True
        self._flush()
        if self._origin is not None:
            self._note({"event": "end", "media": round(self.end, 3), "frames": self.frames}, wall)

    def _begin(self, frame: CodedFrame, wall: float) -> bool:
        if not self.is_video:
            # Always stereo: a browser sends mono packets while nothing is heard (RFC 7845 5.1.1: either can be decoded so).
            shape = matroska.Track("A_OPUS", matroska.opus_head(2), channels=2)
        elif not frame.keyframe:
            return False
        else:
            try:
                width, height, private = codec_config(self._codec, frame.data)
            except MalformedPacket:
                return False
            shape = matroska.Track(_NAMES[self._codec], private, width, height)
        self._origin = self._clock.captured(frame.timestamp)
        self._first = self._newest = frame.timestamp
        self._disk.append(f"{self.name}.mkv", matroska.header([shape]), vital=True)
        about = self._about
        self._note(
            {
                "event": "begin",
                "track": about.track,
                "participant": about.participant,
                "source": about.source,
                "codec": self._codec,
                "rate": self._rate,
                "started_at": round(self._origin, 6),
                "clock": "reports" if self._clock.reported else "arrivals",
                "rtp": frame.timestamp,
                "width": shape.width,
                "height": shape.height,
                "rotation": frame.rotation,
            },
            wall,
        )
        return True

    def _time(self, timestamp: int) -> float:
        assert self._origin is not None
        raw = (timestamp - self._first) / self._rate
        off = self._clock.captured(timestamp) - self._origin - raw - self._correction
        if abs(off) > _JUMP:
            self._correction += off
        else:
            step = SLEW * min(max(raw - self._raw, 0.0), 1.0)
            self._correction += min(step, max(-step, off))
        self._raw = raw
        return raw + self._correction

    def _flush(self) -> None:
        if self._blocks:
            data = matroska.cluster(self._cluster_at, b"".join(self._blocks))
            self._disk.append(f"{self.name}.mkv", data, independent=self._cluster_keyframe)
            self._blocks.clear()

    def _note(self, line: dict[str, object], wall: float) -> None:
        data = json.dumps({**line, "time": round(wall, 6)}, ensure_ascii=False).encode() + b"\n"
        self._disk.append(f"{self.name}.jsonl", data, vital=True)


def finalize_track(path: Path) -> Path | None:
    """`NAME.mkv` → `NAME.webm` or `NAME.mp4`, then the former goes; None if nothing was in it.

    For a short-lived process, as `finalize` is. Raises OSError.
    """
    with path.open("rb+") as file:
        end = matroska.whole(file)
        if not end:
            return None
        file.truncate(end)
    with av.open(str(path), format="matroska") as source:
        stream = source.streams[0]
        kind = "mp4" if stream.codec_context.name == "h264" else "webm"
        result, part = path.with_suffix(f".{kind}"), path.with_suffix(".part")
        options = {"movflags": "+faststart"} if kind == "mp4" else {}
        with av.open(str(part), "w", format=kind, options=options) as output:
            copy = output.add_stream_from_template(stream, opaque=True)
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = copy
                    output.mux_one(packet)
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(result)
    path.unlink()
    return result
