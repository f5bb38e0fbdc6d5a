"""Splits the video of one rendition and the sound of the mix into parts and segments of low-latency HLS.

Boundaries lie on a grid of mix time (parts of 0.2 s, segments of 1 s), not on frame counts: dropped ticks do not
shorten parts, and all renditions split at the same times. RFC 8216bis 3.3 (Partial Segments), 4.4.4.9 (`EXT-X-PART`: no
part is longer than PART-TARGET). Pure: packets in, parts out.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from sfu.outputs.fmp4 import AUDIO_TIMESCALE, VIDEO_TIMESCALE, Fragmenter, Packet, Sample

PART_DURATION = 0.2
PARTS_PER_SEGMENT = 5
PART_TICKS = round(PART_DURATION * VIDEO_TIMESCALE)
SEGMENT_TICKS = PART_TICKS * PARTS_PER_SEGMENT
MAX_PARTS_PER_SEGMENT = 7
"""Maximum parts per segment if the next keyframe is missing. A longer segment would exceed the rounded target duration."""
MAX_QUEUED_SOUND = 500
"""Maximum queued audio packets without video: more than 10 s. The oldest are dropped."""


@dataclass(frozen=True, slots=True)
class Part:
    """One fragment of a rendition; one EXT-X-PART of its playlist."""

    rendition: str
    msn: int
    "Media sequence number of its segment; each segmenter starts at 0."
    index: int
    independent: bool
    "Begins with a keyframe."
    duration: float
    pts: int
    "Mix time of its first picture, 1/90000 s."
    data: bytes


class Segmenter:
    """Segmenter of one rendition. Pass sound before video: a part includes the sound received so far, up to its end."""

    __slots__ = (
        "_fragmenter",
        "_index",
        "_msn",
        "_part_start",
        "_pictures",
        "_rendition",
        "_segment_start",
        "_sequence",
        "_sound",
        "stretched",
    )

    def __init__(self, rendition: str) -> None:
        self._rendition = rendition
        self._fragmenter = Fragmenter()
        self._pictures: list[Packet] = []
        self._sound: deque[Packet] = deque(maxlen=MAX_QUEUED_SOUND)
        self._msn, self._index, self._sequence = -1, 0, 0
        self._segment_start = self._part_start = 0
        self.stretched = 0
        "Parts with media longer than their listed duration, because no picture came for the length of a part or more."

    def wants_keyframe(self, pts: int) -> bool:
        """Whether a picture at this time would begin a segment and must be a keyframe."""
        return self._msn < 0 or pts - self._segment_start >= SEGMENT_TICKS

    def receive_audio(self, packets: Iterable[Packet]) -> None:
        """Priming packets of the encoder, before time 0, are dropped; decoders then start with a short fade."""
        self._sound.extend(packet for packet in packets if packet.dts >= 0)

    def receive_video(self, packets: Iterable[Packet]) -> list[Part]:
        """Returns the parts that these pictures complete, usually none or one. Pictures before the first keyframe are
        dropped.
        """
        parts: list[Part] = []
        for packet in packets:
            self._receive(packet, parts)
        return parts

    def flush(self) -> list[Part]:
        """Returns the last part, if any."""
        if not self._pictures:
            return []
        last = self._pictures[-1]
        return [self._complete(last.pts + last.duration)]

    def _receive(self, packet: Packet, parts: list[Part]) -> None:
        if self._msn < 0:
            if not packet.keyframe:
                return
            self._begin(packet.pts)
        begins = packet.keyframe and packet.pts - self._segment_start >= SEGMENT_TICKS - PART_TICKS // 2
        if self._pictures and (begins or packet.pts >= self._part_start + PART_TICKS):
            # The pictures at this part's end were dropped; the last one is shown until this one.
            parts.append(self._complete(packet.pts))
        if not self._pictures:
            if begins or self._index >= MAX_PARTS_PER_SEGMENT:
                self._begin(packet.pts)
            self._part_start = packet.pts - (packet.pts - self._segment_start) % PART_TICKS
        self._pictures.append(packet)
        if packet.pts + packet.duration >= self._part_start + PART_TICKS:
            parts.append(self._complete(packet.pts + packet.duration))

    def _begin(self, pts: int) -> None:
        self._msn += 1
        self._index = 0
        # A keyframe that is slightly late (a tick was dropped) does not move the grid.
        late = pts % SEGMENT_TICKS
        self._segment_start = self._part_start = pts - late if late < PART_TICKS // 2 else pts

    def _complete(self, end: int) -> Part:
        pictures, self._pictures = self._pictures, []
        first, last = pictures[0], pictures[-1]
        if last.pts + last.duration != end:
            pictures[-1] = Sample(last.data, last.pts, last.dts, last.keyframe, end - last.pts)
        sound, limit = [], end * AUDIO_TIMESCALE
        while self._sound and self._sound[0].pts * VIDEO_TIMESCALE < limit:
            sound.append(self._sound.popleft())
        ticks = end - first.pts
        if ticks > PART_TICKS:
            self.stretched += 1
        self._sequence += 1
        part = Part(
            self._rendition,
            self._msn,
            self._index,
            first.keyframe,
            min(ticks, PART_TICKS) / VIDEO_TIMESCALE,
            first.pts,
            self._fragmenter.fragment(pictures, sound, self._sequence),
        )
        self._index += 1
        return part
