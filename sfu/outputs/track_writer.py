"""Records publications without decoding: writes the encoded frames of each track to one file, from which `sfu mix` can mix.

Time in a file is the capture time on the server's clock, from the server's sender reports, so that the tracks of one
sender agree. A track waits up to `MAX_REPORT_WAIT` seconds for its first report; without one, its fastest packets
define the capture time. Drift is corrected by at most 0.5 %; gaps are preserved.

While recording, a track is `NAME.mkv` with clusters of one second, each written whole. `finalize_track` turns it into
WebM (VP8, VP9, AV1, Opus) or fast-start MP4 (H.264), also after a crash. The side file `NAME.jsonl` holds the start
time, its clock (`reports` or `arrivals`) and the sender reports: `ntp` (64 bits) is `media` seconds into the file. RFC
9559 (Matroska), RFC 3550 6.4.1, RFC 7845.
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

MAX_SLEW: Final = 0.005
"""Maximum clock correction, in seconds per second."""
MAX_REPORT_WAIT: Final = 3.0
"""Maximum seconds that the beginning of a track is buffered until its first sender report."""
_MAX_WAITING_BYTES: Final = 8_000_000
"""Maximum bytes of this buffer."""
_MAX_SLEWED_OFFSET: Final = 0.040
"""Seconds of clock offset beyond which a frame is moved at once, because the lip sync error would be visible."""
_MAX_CAPTURE_OFFSET: Final = 1.0
"""Maximum seconds between capture and arrival time. Reports beyond this are ignored."""
_CLOCK_RESTART_OFFSET: Final = 3.0
"""Seconds by which a timestamp must be off to count as a restarted RTP clock."""
_TRANSIT_WINDOW: Final = 10
"""Seconds over which the fastest packet is determined, in buckets of one second."""
_CLUSTER_DURATION: Final = 1000
"""Milliseconds per cluster."""
_REPORT_INTERVAL: Final = 5.0
_MATROSKA_CODECS: Final = {"VP8": "V_VP8", "VP9": "V_VP9", "AV1": "V_AV1", "H264": "V_MPEG4/ISO/AVC", "OPUS": "A_OPUS"}


@dataclass(frozen=True, slots=True)
class TrackMetadata:
    """Metadata of a track, for its side file."""

    track: str
    participant: str
    source: str = ""
    "`camera`, `microphone`, `screen_share` …"


class CaptureClock:
    """Capture time of the frames of one track in Unix time: from sender reports, otherwise from the fastest packets. Pure."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._sender = SenderClock()
        self._buckets: deque[tuple[int, float]] = deque()
        self._fastest = 0.0  # smallest arrival time − media time
        self._newest: int | None = None

    @property
    def reported(self) -> bool:
        return self._sender.reported is not None

    def receive(self, timestamp: int, arrival: float) -> None:
        """Adds a frame: unwrapped RTP timestamp, and Unix time of arrival."""
        second, transit, buckets = int(arrival), arrival - timestamp / self._rate, self._buckets
        if self._newest is not None and abs(transit - self._fastest) > _CLOCK_RESTART_OFFSET:
            buckets.clear()
            self._sender.reset()
        self._newest = timestamp
        if buckets and buckets[-1][0] >= second:
            buckets[-1] = (buckets[-1][0], min(buckets[-1][1], transit))
        else:
            buckets.append((second, transit))
            while buckets[0][0] <= second - _TRANSIT_WINDOW:
                buckets.popleft()
        self._fastest = min([fastest for _, fastest in buckets])

    def report(self, ntp: int, rtp_timestamp: int, now: float) -> None:
        """Adds a sender report on the server's clock. Ignored before the first frame, or if it contradicts the arrival
        times.
        """
        if self._newest is None:
            return
        wall = ntp / NTP_UNITS - NTP_EPOCH - unwrap(rtp_timestamp, self._newest) / self._rate
        recent = min([fastest for _, fastest in list(self._buckets)[-2:]])
        if abs(wall - recent) < _MAX_CAPTURE_OFFSET:
            change = wall - self._sender.wall
            self._sender.receive(wall, now, believed=abs(recent - self._fastest - change) < _MAX_SLEWED_OFFSET)

    def captured(self, timestamp: int) -> float:
        return timestamp / self._rate + (self._sender.wall if self.reported else self._fastest)


class TrackWriter:
    """Writes one publication to one file. Not thread-safe; the disk writer has its own thread.

    Video begins with the first keyframe. `end` is the length of the file so far, in seconds.
    """

    def __init__(self, disk: DiskWriter, name: str, codec: str, metadata: TrackMetadata) -> None:
        """`name`: file name without extension. `codec`: VP8, VP9, H264, AV1 or opus; raises ValueError for others."""
        self._codec = codec.upper()
        if self._codec not in _MATROSKA_CODECS or "/" in name or name.startswith("."):
            raise ValueError(f"cannot record {codec} as {name}")
        self.name = name
        self.is_video = self._codec != "OPUS"
        self.frames = 0
        self.refused = 0
        "Frames that were invalid, preceded the first keyframe, or had an old timestamp."
        self.end = 0.0
        self._disk = disk
        self._metadata = metadata
        self._rate = 90_000 if self.is_video else 48_000
        self._clock = CaptureClock(self._rate)
        self._waiting: list[CodedFrame] = []  # frames until the clock is known
        self._waiting_bytes = 0
        self._waiting_since: float | None = None
        self._origin: float | None = None  # Unix time of file time 0
        self._first = 0  # RTP timestamp of file time 0
        self._newest = 0
        self._correction = 0.0  # seconds to add to the RTP clock
        self._raw = 0.0
        self._blocks: list[bytes] = []
        self._cluster_at = 0
        self._cluster_keyframe = True
        self._last = -1  # milliseconds of the last block
        self._reported = -_REPORT_INTERVAL
        self._closed = False

    def receive(self, frame: CodedFrame, wall: float) -> None:
        """Writes a frame. `wall`: Unix time of its arrival."""
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
        """Begins the file when its clock is known or the wait is over. Call it several times per second."""
        since = self._waiting_since
        if since is not None and (
            self._clock.reported or wall - since >= MAX_REPORT_WAIT or self._waiting_bytes > _MAX_WAITING_BYTES
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
            self.refused += 1  # the clock was corrected backwards; written frames stay
            return
        at = max(self._last + 1, at)
        data = length_prefixed(frame.data) if self._codec == "H264" else frame.data
        keyframe = frame.keyframe or not self.is_video
        relative = at - self._cluster_at
        if self._blocks and (
            relative >= _CLUSTER_DURATION or (self.is_video and keyframe) or not matroska.fits(relative)
        ):
            self._flush()
        if not self._blocks:
            self._cluster_at, self._cluster_keyframe, relative = at, keyframe, 0
        self._blocks.append(matroska.block(1, relative, data, keyframe=keyframe))
        self._newest = frame.timestamp
        self.frames += 1
        self.end = max(self.end, at / 1000)
        self._last = at

    def report(self, ntp: int, rtp_timestamp: int, wall: float) -> None:
        """Adds a sender report on the server's clock: 64-bit NTP time, 32-bit RTP timestamp. `wall`: Unix time of its
        arrival.
        """
        if self._closed:
            return
        self._clock.report(ntp, rtp_timestamp, wall)
        self.handle_timer(wall)
        if self._origin is None or wall - self._reported < _REPORT_INTERVAL:
            return
        self._reported = wall
        media = (unwrap(rtp_timestamp, self._newest) - self._first) / self._rate + self._correction
        self._note({"event": "report", "ntp": ntp, "rtp": rtp_timestamp, "media": round(media, 4)}, wall)

    def close(self, wall: float) -> None:
        """Flushes the track. The disk writer stays open; its owner closes it. Idempotent."""
        if self._closed:
            return
        self._begin_waiting(wall)
        self._closed = True
        self._flush()
        if self._origin is not None:
            self._note({"event": "end", "media": round(self.end, 3), "frames": self.frames}, wall)

    def _begin(self, frame: CodedFrame, wall: float) -> bool:
        if not self.is_video:
            # Always stereo: browsers send mono packets during silence, and decoders accept both (RFC 7845 5.1.1).
            track = matroska.Track("A_OPUS", matroska.opus_head(2), channels=2)
        elif not frame.keyframe:
            return False
        else:
            try:
                width, height, private = codec_config(self._codec, frame.data)
            except MalformedPacket:
                return False
            track = matroska.Track(_MATROSKA_CODECS[self._codec], private, width, height)
        self._origin = self._clock.captured(frame.timestamp)
        self._first = self._newest = frame.timestamp
        self._disk.append(f"{self.name}.mkv", matroska.header([track]), vital=True)
        metadata = self._metadata
        self._note(
            {
                "event": "begin",
                "track": metadata.track,
                "participant": metadata.participant,
                "source": metadata.source,
                "codec": self._codec,
                "rate": self._rate,
                "started_at": round(self._origin, 6),
                "clock": "reports" if self._clock.reported else "arrivals",
                "rtp": frame.timestamp,
                "width": track.width,
                "height": track.height,
                "rotation": frame.rotation,
            },
            wall,
        )
        return True

    def _time(self, timestamp: int) -> float:
        assert self._origin is not None
        raw = (timestamp - self._first) / self._rate
        off = self._clock.captured(timestamp) - self._origin - raw - self._correction
        if abs(off) > _MAX_SLEWED_OFFSET:
            self._correction += off
        else:
            step = MAX_SLEW * min(max(raw - self._raw, 0.0), 1.0)
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
    """Converts `NAME.mkv` to `NAME.webm` or `NAME.mp4` and deletes it. Returns None if the file has no media.

    Run it in a short-lived process, like `finalize`. Raises OSError.
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
