"""The offsets between the numbers of a stream and those that one subscriber gets, so that its RTP stream is continuous.

They change only when a down track switches streams, so that the packet path only adds constants. Sequence numbers continue
by one, timestamps by the time that passed, and the codec fields of `CodecPatch` by one picture or frame.
"""

from typing import NamedTuple

from sfu.forwarding.packet import CodecPatch
from sfu.forwarding.peer_clock import NTP_UNITS
from sfu.rtp.rtcp import SenderReport


class Offsets(NamedTuple):
    """Differences between the subscriber's numbers and the stream's."""

    sequence: int = 0
    timestamp: int = 0
    picture: int = 0
    tl0picidx: int = 0
    frame: int = 0
    rewrites: bool = False
    "Whether codec fields (picture, TL0PICIDX, frame number) change."


def continuing(
    offsets: Offsets, last: CodecPatch | None, new: CodecPatch | None, *, sequence: int, timestamp: int
) -> Offsets:
    """Offsets of sequence and timestamp as given, and of the codec fields so that `new` follows `last`.

    `offsets`: those of `last`, which keep their values for fields that either packet lacks.
    """
    _, _, picture, tl0picidx, frame, _ = offsets
    if last is not None and new is not None:
        if last.picture_id_at and new.picture_id_at:
            picture = (last.picture_id + picture + 1 - new.picture_id) & 0x7FFF
        if last.tl0picidx_at and new.tl0picidx_at:
            tl0picidx = (last.tl0picidx + tl0picidx + 1 - new.tl0picidx) & 0xFF
        if last.frame_number_at and new.frame_number_at:
            frame = (last.frame_number + frame + 1 - new.frame_number) & 0xFFFF
    return Offsets(sequence, timestamp, picture, tl0picidx, frame, bool(picture or tl0picidx or frame))


def timestamp_on(old: SenderReport | None, new: SenderReport | None, timestamp: int, clock_rate: int) -> int | None:
    """The RTP time in one stream at the moment of `timestamp` in another; None unless both have a sender report.

    `old`, `new`: the newest sender reports of the two streams, which have one NTP clock.
    """
    if old is None or new is None:
        return None
    between = (new.ntp - old.ntp) * clock_rate // NTP_UNITS
    since = ((timestamp - new.rtp_timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000
    return (old.rtp_timestamp + between + since) & 0xFFFFFFFF


def patched_bytes(codec_patch: CodecPatch, offsets: Offsets) -> list[tuple[int, int]]:
    """(position, byte) pairs to write into an outbound packet."""
    out: list[tuple[int, int]] = []
    if codec_patch.picture_id_at and offsets.picture:
        picture = (codec_patch.picture_id + offsets.picture) & 0x7FFF
        if codec_patch.picture_id_bits == 15:
            out += ((codec_patch.picture_id_at, 0x80 | picture >> 8), (codec_patch.picture_id_at + 1, picture & 0xFF))
        else:
            out.append((codec_patch.picture_id_at, picture & 0x7F))
    if codec_patch.tl0picidx_at and offsets.tl0picidx:
        out.append((codec_patch.tl0picidx_at, (codec_patch.tl0picidx + offsets.tl0picidx) & 0xFF))
    if codec_patch.frame_number_at and offsets.frame:
        frame = (codec_patch.frame_number + offsets.frame) & 0xFFFF
        out += ((codec_patch.frame_number_at, frame >> 8), (codec_patch.frame_number_at + 1, frame & 0xFF))
    return out
