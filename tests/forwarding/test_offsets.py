import pytest

from sfu.forwarding.offsets import Offsets, continuing, patched_bytes, timestamp_on
from sfu.forwarding.packet import CodecPatch
from sfu.rtp.rtcp import SenderReport


def patch(
    *, picture: int | None = None, bits: int = 15, tl0picidx: int | None = None, frame: int | None = None
) -> CodecPatch:
    """The fields of one packet: picture id at byte 30, TL0PICIDX at 32, frame number at 40; None: absent."""
    return CodecPatch(
        wide=False,
        picture_id_at=30 if picture is not None else 0,
        picture_id=picture or 0,
        picture_id_bits=bits if picture is not None else 0,
        tl0picidx_at=32 if tl0picidx is not None else 0,
        tl0picidx=tl0picidx or 0,
        frame_number_at=40 if frame is not None else 0,
        frame_number=frame or 0,
    )


@pytest.mark.parametrize(
    ("before", "last", "new", "expected"),
    [
        (Offsets(), None, None, (0, 0, 0)),
        (Offsets(picture=3, tl0picidx=4, frame=5), None, patch(picture=9), (3, 4, 5)),
        (Offsets(picture=3, tl0picidx=4, frame=5), patch(picture=9), None, (3, 4, 5)),
        (Offsets(), patch(picture=10), patch(picture=100), (11 - 100 & 0x7FFF, 0, 0)),
        (Offsets(picture=5), patch(picture=0x7FFF), patch(picture=0), (5, 0, 0)),
        (Offsets(), patch(tl0picidx=255), patch(tl0picidx=0), (0, 0, 0)),
        (Offsets(tl0picidx=2), patch(tl0picidx=10), patch(tl0picidx=20), (0, 13 - 20 & 0xFF, 0)),
        (Offsets(frame=1), patch(frame=0xFFFF), patch(frame=7), (0, 0, 1 - 7 & 0xFFFF)),
        (Offsets(tl0picidx=9), patch(picture=1), patch(picture=2, tl0picidx=3), (0, 9, 0)),
    ],
)
def test_codec_fields_continue_by_one_where_both_packets_have_them(
    before: Offsets, last: CodecPatch | None, new: CodecPatch | None, expected: tuple[int, int, int]
) -> None:
    offsets = continuing(before, last, new, sequence=7, timestamp=8)
    assert offsets == Offsets(7, 8, *expected, rewrites=any(expected))
    if last is None or new is None:
        return
    if last.picture_id_at and new.picture_id_at:
        assert (new.picture_id + offsets.picture) & 0x7FFF == (last.picture_id + before.picture + 1) & 0x7FFF
    if last.frame_number_at and new.frame_number_at:
        assert (new.frame_number + offsets.frame) & 0xFFFF == (last.frame_number + before.frame + 1) & 0xFFFF


@pytest.mark.parametrize(
    ("codec_patch", "offsets", "expected"),
    [
        (patch(picture=1, tl0picidx=2, frame=3), Offsets(5, 6), []),
        (patch(), Offsets(picture=1, tl0picidx=1, frame=1, rewrites=True), []),
        (patch(picture=0x0102), Offsets(picture=0x0101), [(30, 0x82), (31, 0x03)]),
        (patch(picture=0x7FFF), Offsets(picture=2), [(30, 0x80), (31, 0x01)]),
        (patch(picture=0x7E, bits=7), Offsets(picture=3), [(30, 0x01)]),
        (patch(tl0picidx=255), Offsets(tl0picidx=2), [(32, 1)]),
        (patch(frame=0x01FF), Offsets(frame=1), [(40, 0x02), (41, 0x00)]),
    ],
)
def test_only_fields_that_change_are_written(
    codec_patch: CodecPatch, offsets: Offsets, expected: list[tuple[int, int]]
) -> None:
    assert patched_bytes(codec_patch, offsets) == expected


@pytest.mark.parametrize(
    ("old_at", "new_at", "timestamp", "expected"),
    [
        ((0, 0), (0, 900_000), 900_000, 0),
        ((0, 0), (1, 900_000), 903_000, 93_000),
        ((1, 0), (0, 10), 10, 2**32 - 90_000),
        ((0, 5), (0, 2**32 - 10), 10, 25),
    ],
)
def test_timestamps_of_two_streams_meet_through_their_sender_reports(
    old_at: tuple[int, int], new_at: tuple[int, int], timestamp: int, expected: int
) -> None:
    old, new = (SenderReport(5, (1000 + seconds) << 32, stamp, 0, 0, ()) for seconds, stamp in (old_at, new_at))
    assert timestamp_on(old, new, timestamp, 90_000) == expected
    assert timestamp_on(None, new, timestamp, 90_000) is None
    assert timestamp_on(old, None, timestamp, 90_000) is None
