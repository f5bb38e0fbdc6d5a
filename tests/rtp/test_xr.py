"""XR blocks: RRTR and DLRR, encoded and parsed."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import MalformedPacket
from sfu.rtp import rtcp, xr
from sfu.rtp.xr import DlrrBlock, ExtendedReport

WORDS = st.integers(0, 0xFFFFFFFF)
REPORTS = st.builds(
    ExtendedReport,
    WORDS,
    st.none() | st.integers(0, 0xFFFFFFFFFFFFFFFF),
    st.lists(st.builds(DlrrBlock, WORDS, WORDS, WORDS), max_size=xr.DLRR_BLOCK_LIMIT).map(tuple),
)


@given(REPORTS)
def test_reports_round_trip(report: ExtendedReport) -> None:
    assert rtcp.parse(xr.encode(report)) == [report]


def test_encoding_matches_the_rfc() -> None:
    clock = xr.encode(ExtendedReport(1, 0x0123456789ABCDEF))
    assert clock == pack("!BBHI", 0x80, 207, 4, 1) + pack("!BBHQ", 4, 0, 2, 0x0123456789ABCDEF)
    echo = xr.encode(ExtendedReport(1, None, (DlrrBlock(2, 0x456789AB, 65536),)))
    assert echo == pack("!BBHI", 0x80, 207, 5, 1) + pack("!BBHIII", 5, 0, 3, 2, 0x456789AB, 65536)


def test_other_blocks_are_skipped() -> None:
    loss = pack("!BBHI", 1, 0, 1, 7)
    assert xr.parse(pack("!I", 9) + loss + loss, 0, 20) == ExtendedReport(9)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "nothing"),
        (pack("!IBBH", 1, 4, 0, 2), "a block without its words"),
        (pack("!IBBHI", 1, 4, 0, 1, 0), "half a clock"),
        (pack("!IBBHII", 1, 5, 0, 2, 0, 0), "two thirds of an echo"),
        (pack("!IH", 1, 0), "half a block header"),
    ],
)
def test_malformed_reports_are_rejected(data: bytes, what: str) -> None:
    with pytest.raises(MalformedPacket):
        xr.parse(data, 0, len(data))


def test_dlrr_blocks_are_bounded() -> None:
    report = ExtendedReport(1, None, (DlrrBlock(1, 2, 3),) * 200)
    (found,) = rtcp.parse(xr.encode(report))
    assert isinstance(found, ExtendedReport)
    assert len(found.dlrr_blocks) == xr.DLRR_BLOCK_LIMIT
