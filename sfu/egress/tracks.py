"""Publications on disk as they came: coded frames into a file each, nothing decoded, so that a room can be composed again.

A file's time is the wall clock since its first frame: RTP timestamps, worn towards the wall at most 0.5 %, so gaps stay
and a sender's drift does not add up. While it runs a track is `NAME.mkv` in clusters of a second, each written whole;
`finalise_track` makes WebM of it (VP8, VP9, AV1, Opus) or fast-start MP4 (H.264), also after a crash. Beside it,
`NAME.jsonl` says when it began, and holds the sender's reports: `ntp` (64 bits) was `media` seconds into the file, so the
lips of one sender's tracks come together although its pictures arrive later than its sound.
RFC 9559 (Matroska), RFC 3550 6.4.1, RFC 7845.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av

from sfu.egress import matroska
from sfu.egress.disk import Disk
from sfu.egress.picture_shape import length_prefixed, picture_shape
from sfu.errors import MalformedPacket
from sfu.rtp.frames import CodedFrame

SLEW: Final = 0.005
"""Seconds per second by which a file's time may run faster or slower than the sender's clock."""
_JUMP: Final = 1.0
"""Seconds off the wall clock that mean another clock, not drift."""
_CLUSTER: Final = 1000
"""Milliseconds."""
_REPORTS_EVERY: Final = 5.0
_NAMES: Final = {"VP8": "V_VP8", "VP9": "V_VP9", "AV1": "V_AV1", "H264": "V_MPEG4/ISO/AVC", "OPUS": "A_OPUS"}


@dataclass(frozen=True, slots=True)
class About:
    """Of a track, for its side file: who published what."""

    track: str
    participant: str
    source: str = ""
    "camera, microphone, screen …"


class TrackRecorder:
    """One publication → one file. One thread calls it; the disk has its own.

    Pictures begin with the first keyframe. `end` is the file's length so far in seconds.
    """

    def __init__(self, disk: Disk, name: str, codec: str, about: About) -> None:
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
        """`wall`: Unix time at which the frame was captured, or else arrived: its jitter does not matter."""
        if self._closed:
            return
        if self._origin is None and not self._begin(frame, wall):
            self.refused += 1
            return
        at = max(self._last + 1, round(self._time(frame.timestamp, wall) * 1000))
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
        """A sender report: 64 bits of NTP, 32 of RTP; `wall`: when it arrived."""
        if self._origin is None or self._closed or wall - self._reported < _REPORTS_EVERY:
            return
        self._reported = wall
        unwrapped = self._newest + ((rtp_timestamp - self._newest + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
        media = (unwrapped - self._first) / self._rate + self._correction
        self._note({"event": "report", "ntp": ntp, "rtp": rtp_timestamp, "media": round(media, 4)}, wall)

    def close(self, wall: float) -> None:
        """Idempotent. The disk stays open: it is its owner's."""
        if self._closed:
            return
        self._closed = True
        self._flush()
        if self._origin is not None:
            self._note({"event": "end", "media": round(self.end, 3), "frames": self.frames}, wall)

    def _begin(self, frame: CodedFrame, wall: float) -> bool:
        if not self.is_video:
            channels = 2 if frame.data[:1] and frame.data[0] & 4 else 1
            shape = matroska.Track("A_OPUS", matroska.opus_head(channels), channels=channels)
        elif not frame.keyframe:
            return False
        else:
            try:
                width, height, private = picture_shape(self._codec, frame.data)
            except MalformedPacket:
                return False
            shape = matroska.Track(_NAMES[self._codec], private, width, height)
        self._origin, self._first, self._newest = wall, frame.timestamp, frame.timestamp
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
                "started_at": wall,
                "rtp": frame.timestamp,
                "width": shape.width,
                "height": shape.height,
                "rotation": frame.rotation,
            },
            wall,
        )
        return True

    def _time(self, timestamp: int, wall: float) -> float:
        assert self._origin is not None
        raw = (timestamp - self._first) / self._rate
        off = wall - self._origin - raw - self._correction
        if abs(off) > _JUMP:
            self._correction += off
        else:
            step = SLEW * min(max(raw - self._raw, 0.0), 1.0)
            self._correction += min(step, max(-step, off))
        self._raw = max(self._raw, raw) if abs(off) <= _JUMP else raw
        return raw + self._correction

    def _flush(self) -> None:
        if self._blocks:
            data = matroska.cluster(self._cluster_at, b"".join(self._blocks))
            self._disk.append(f"{self.name}.mkv", data, independent=self._cluster_keyframe)
            self._blocks.clear()

    def _note(self, line: dict[str, object], wall: float) -> None:
        data = json.dumps({**line, "time": round(wall, 6)}, ensure_ascii=False).encode() + b"\n"
        self._disk.append(f"{self.name}.jsonl", data, vital=True)


def finalise_track(path: Path) -> Path | None:
    """`NAME.mkv` → `NAME.webm` or `NAME.mp4`, then the former goes; None if nothing was in it.

    For a short-lived process, as `finalise` is. Raises OSError.
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
