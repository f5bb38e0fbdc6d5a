"""sfu.outputs.matroska: sizes and limits. `test_track_writer` shows that players can read the files."""

import io

import pytest

from sfu.outputs.matroska import Track, _size, block, cluster, fits, header, opus_head, whole


def test_the_document_type_depends_on_the_codecs() -> None:
    assert b"\x42\x82\x84webm" in header([Track("V_VP8", width=640, height=360), Track("A_OPUS", opus_head())])
    assert b"\x42\x82\x88matroska" in header([Track("V_MPEG4/ISO/AVC", b"\x01", 640, 360)])


@pytest.mark.parametrize(("size", "encoded"), [(0, "84"), (122, "fe"), (123, "407f"), (20_000, "204e24")])
def test_sizes(size: int, encoded: str) -> None:
    """Four bytes of the block header count too; 127 needs two bytes, because all ones means unknown size."""
    data = block(1, 0, bytes(size), keyframe=True)
    assert data.hex().startswith("a3" + encoded + "81000080")
    assert len(data) == 1 + len(encoded) // 2 + 4 + size


def test_range_of_block_times() -> None:
    assert fits(32_767)
    assert not fits(32_768)
    with pytest.raises(ValueError, match="EBML"):
        _size(1 << 60)


def test_end_of_the_last_complete_cluster() -> None:
    head = header([Track("V_VP8", width=640, height=360)])
    one = cluster(0, block(1, 0, bytes(500), keyframe=True))
    data = head + one * 3
    assert whole(io.BytesIO(data)) == len(data)
    assert whole(io.BytesIO(data[:-1])) == len(head + one * 2)
    assert whole(io.BytesIO(data[: -len(one) + 5])) == len(head + one * 2)
    for cut in (0, 3, 40, len(head), len(head) + 7):
        assert whole(io.BytesIO(data[:cut])) == 0
    assert whole(io.BytesIO(bytes(100))) == 0
