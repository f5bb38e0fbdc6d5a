"""Compound RTCP: examples from the RFCs, malformed packets and random bytes."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import MalformedPacket
from sfu.rtp import rtcp
from sfu.rtp.rtcp import (
    Bye,
    FullIntraRequest,
    Nack,
    PictureLossIndication,
    ReceiverReport,
    Remb,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    TransportFeedback,
)

WORD = st.integers(0, 0xFFFFFFFF)
BLOCK = st.builds(
    ReportBlock,
    ssrc=WORD,
    fraction_lost=st.integers(0, 255),
    packets_lost=st.integers(-0x800000, 0x7FFFFF),
    highest_sequence=WORD,
    jitter=WORD,
    lsr=WORD,
    dlsr=WORD,
)
BLOCKS = st.lists(BLOCK, max_size=31).map(tuple)
SENDER_REPORT = st.builds(
    SenderReport,
    ssrc=WORD,
    ntp=st.integers(0, 2**64 - 1),
    rtp_timestamp=WORD,
    packets=WORD,
    octets=WORD,
    reports=BLOCKS,
)
RECEIVER_REPORT = st.builds(ReceiverReport, ssrc=WORD, reports=BLOCKS)

VALID = {
    "sender report": rtcp.encode_sender_report(
        SenderReport(1, 2 << 32, 3, 4, 5, (ReportBlock(6, 128, -2, 70000, 8, 9, 10),))
    ),
    "receiver report": rtcp.encode_receiver_report(ReceiverReport(1, (ReportBlock(6, 128, 2, 70000, 8, 9, 10),) * 3)),
    "source description": rtcp.encode_source_description(1, "someone"),
    "nack": rtcp.encode_nack(1, 2, [10, 11, 26, 65535]),
    "pli": rtcp.encode_pli(1, 2),
    "fir": rtcp.encode_full_intra_request(1, 2, 3),
    "remb": rtcp.encode_remb(1, 2_500_000, [7, 8]),
    "bye": rtcp.encode_bye([1, 2]),
    "twcc": pack("!BBHIIHHHBBHBx", 0x8F, 205, 5, 1, 2, 0, 1, 0, 0, 0, 0x2001, 4),
}


def test_every_kind_in_one_compound_packet() -> None:
    assert rtcp.parse(b"".join(VALID.values())) == [
        SenderReport(1, 2 << 32, 3, 4, 5, (ReportBlock(6, 128, -2, 70000, 8, 9, 10),)),
        ReceiverReport(1, (ReportBlock(6, 128, 2, 70000, 8, 9, 10),) * 3),
        Nack(1, 2, (10, 11, 26, 65535)),
        PictureLossIndication(1, 2),
        FullIntraRequest(1, 0, ((2, 3),)),
        Remb(1, 2_500_000, (7, 8)),
        Bye((1, 2)),
        TransportFeedback(1, 2, VALID["twcc"][12:]),
    ]


@pytest.mark.parametrize(
    ("fci", "lost"),
    [
        ((0, 0), (0,)),
        ((65535, 1), (65535, 0)),
        ((65535, 0x8001), (65535, 0, 15)),
        ((65530, 0xFFFF), (65530, 65531, 65532, 65533, 65534, 65535, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)),
    ],
)
def test_nack_bitmask_wraps(fci: tuple[int, int], lost: tuple[int, ...]) -> None:
    assert rtcp.parse(pack("!BBHIIHH", 0x81, 205, 3, 1, 2, *fci)) == [Nack(1, 2, lost)]


def test_nack_entries_are_bounded_over_the_whole_compound_packet() -> None:
    one = pack("!BBHII", 0x81, 205, 42, 1, 2) + pack("!HH", 0, 0xFFFF) * 40
    parsed = rtcp.parse(one * 3)
    lengths = [len(packet.lost) for packet in parsed if isinstance(packet, Nack)]
    assert lengths == [680, 344, 0]
    assert sum(lengths) == rtcp.NACK_LIMIT


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (pack("!BBHI", 0x80, 204, 1, 1), "an application packet"),
        (pack("!BBHII", 0x83, 205, 2, 1, 2), "a transport feedback format of no use"),
        (pack("!BBHIII", 0x8F, 206, 3, 1, 2, 0x12345678), "an application layer feedback that is not REMB"),
    ],
)
def test_unused_packet_types_are_skipped(data: bytes, what: str) -> None:
    assert rtcp.parse(data + VALID["pli"]) == [PictureLossIndication(1, 2)], what


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "nothing"),
        (b"\x80\xc9\x00", "half a header"),
        (b"\x40\xc9\x00\x01\x00\x00\x00\x01", "version 1"),
        (b"\x80\xc9\x00\x02\x00\x00\x00\x01", "a length beyond the datagram"),
        (b"\x81\xc9\x00\x01\x00\x00\x00\x01", "a report block that is not there"),
        (b"\x80\xc8\x00\x01\x00\x00\x00\x01", "a sender report without sender"),
        (b"\x82\xcb\x00\x01\x00\x00\x00\x01", "a BYE with too few SSRCs"),
        (b"\xa0\xc9\x00\x01\x00\x00\x00\x00", "padding of length 0"),
        (b"\xa0\xc9\x00\x01\x00\x00\x00\x09", "padding longer than its packet"),
        (b"\xa0\xc9\x00\x00", "padding in an empty packet"),
        (pack("!BBHII", 0x81, 205, 2, 1, 2), "a NACK of nothing"),
        (pack("!BBHIII", 0x84, 206, 3, 1, 2, 3), "half a FIR entry"),
        (pack("!BBHI", 0x81, 206, 1, 1), "a PLI without media"),
        (pack("!BBHIII", 0x8F, 206, 3, 1, 0, 0x52454D42), "a REMB without rate"),
        (pack("!BBHIIII", 0x8F, 206, 4, 1, 0, 0x52454D42, 200 << 24), "a REMB that claims 200 SSRCs"),
        (pack("!BBHIIII", 0x8F, 206, 4, 1, 0, 0x52454D42, 0x00FFFFFF), "a REMB of 81 bits"),
        (pack("!BBHIII", 0x8F, 205, 3, 1, 2, 0), "half a transport-wide feedback"),
    ],
)
def test_malformed(data: bytes, what: str) -> None:
    with pytest.raises(MalformedPacket):
        rtcp.parse(VALID["pli"] * bool(data) + data)


def test_padding_is_not_content() -> None:
    padded = pack("!BBHIIII", 0xA1, 206, 4, 1, 2, 0, 8)
    assert rtcp.parse(padded) == [PictureLossIndication(1, 2)]


@given(st.lists(SENDER_REPORT | RECEIVER_REPORT, min_size=1, max_size=4))
def test_reports_round_trip(reports: list[SenderReport | ReceiverReport]) -> None:
    encoded = [
        rtcp.encode_sender_report(report) if isinstance(report, SenderReport) else rtcp.encode_receiver_report(report)
        for report in reports
    ]
    assert rtcp.parse(b"".join(encoded)) == reports
    assert rtcp.parse(memoryview(b"".join(encoded))) == reports


@given(st.integers(0, 0xFFFF), st.sets(st.integers(0, 400), min_size=1, max_size=200))
def test_nacks_round_trip(first: int, offsets: set[int]) -> None:
    numbers = tuple((first + offset) & 0xFFFF for offset in sorted(offsets))
    encoded = rtcp.encode_nack(1, 2, numbers)
    assert rtcp.parse(encoded) == [Nack(1, 2, numbers)]
    (shuffled,) = rtcp.parse(rtcp.encode_nack(1, 2, reversed(numbers)))
    assert isinstance(shuffled, Nack)
    assert set(shuffled.lost) == set(numbers)


@given(st.integers(0, 2**64 - 1), st.lists(WORD, max_size=255))
def test_remb_round_trip(bitrate: int, ssrcs: list[int]) -> None:
    (parsed,) = rtcp.parse(rtcp.encode_remb(1, bitrate, ssrcs))
    assert isinstance(parsed, Remb)
    assert parsed.ssrcs == tuple(ssrcs)
    assert 0 <= bitrate - parsed.bitrate <= bitrate >> 17


@given(WORD, st.text(max_size=60))
def test_source_descriptions_are_padded_to_whole_words(ssrc: int, cname: str) -> None:
    encoded = rtcp.encode_source_description(ssrc, cname)
    assert len(encoded) % 4 == 0
    assert encoded[-1] == 0
    assert rtcp.parse(encoded) == []


@pytest.mark.parametrize(
    "encode",
    [
        lambda: rtcp.encode_nack(1, 2, []),
        lambda: rtcp.encode_receiver_report(ReceiverReport(1, (ReportBlock(1, 0, 0, 0, 0, 0, 0),) * 32)),
        lambda: rtcp.encode_bye(list(range(32))),
        lambda: rtcp.encode_source_description(1, "x" * 256),
    ],
)
def test_encoders_reject_invalid_arguments(encode: object) -> None:
    assert callable(encode)
    with pytest.raises(ValueError, match=r"limited to|at most|at least"):
        encode()


def parse_or_malformed(data: bytes) -> list[RtcpPacket]:
    try:
        return rtcp.parse(data)
    except MalformedPacket:
        return []


@given(st.binary(max_size=1500))
def test_random_bytes(data: bytes) -> None:
    parse_or_malformed(data)


@given(st.sampled_from([200, 201, 202, 203, 205, 206]), st.integers(0, 31), st.booleans(), st.binary(max_size=300))
def test_random_bodies(kind: int, count: int, padding: bool, body: bytes) -> None:
    body = body[: len(body) // 4 * 4]
    parse_or_malformed(pack("!BBH", 0x80 | padding << 5 | count, kind, len(body) // 4) + body)


@given(st.sampled_from(sorted(VALID)), st.data())
def test_mutations(name: str, data: st.DataObject) -> None:
    packet = bytearray(VALID[name])
    for _ in range(data.draw(st.integers(1, 4))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    parse_or_malformed(bytes(packet[: data.draw(st.integers(0, len(packet)))]))
