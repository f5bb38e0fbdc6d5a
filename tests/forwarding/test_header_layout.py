"""Header extensions under a subscriber's own ids: forms, subsets, mids, codec fields, repair streams and plain resends."""

import struct
from collections.abc import Mapping

import pytest

from sfu.forwarding.down_track import DATAGRAMS_KEPT, DownTrack
from sfu.forwarding.header_layout import MIXED, ONE_BYTE_ONLY, TWO_BYTE_ONLY, header_layout
from sfu.forwarding.offsets import Offsets
from sfu.forwarding.packet import ONE_BYTE
from sfu.forwarding.peer import EnginePeer
from sfu.rtp import rtcp
from sfu.sdp import capabilities as caps
from tests.support.wire import Bench, Rtp, Wire, rtp, vp8

MID, TWCC, LEVEL, TIME = caps.URI_MID, caps.URI_TRANSPORT_CC, caps.URI_AUDIO_LEVEL, caps.URI_ABS_SEND_TIME
DESCRIPTOR, ORIENTATION, DELAY = caps.URI_DEPENDENCY_DESCRIPTOR, caps.URI_VIDEO_ORIENTATION, caps.URI_PLAYOUT_DELAY
INBOUND = {MID: 4, TWCC: 3, DESCRIPTOR: 8, ORIENTATION: 13, DELAY: 5, TIME: 2}
CHROMIUM = {MID: 4, TWCC: 3, TIME: 2, ORIENTATION: 13, DELAY: 5, DESCRIPTOR: 11}
SHORT_DESCRIPTOR = b"\xc0\x00\x09"
LONG_DESCRIPTOR = b"\xc0\x00\x09\x80" + bytes(range(1, 30))


class Viewing:
    """A publisher of VP8 and one subscriber with extensions of its own."""

    def __init__(
        self,
        extensions: Mapping[str, int] | None,
        *,
        mid: str = "0",
        allow_mixed: bool = True,
        nack_without_rtx: bool = False,
        rtx: bool = True,
    ) -> None:
        self.bench, self.wire = Bench(), Wire()
        self.viewer: EnginePeer = self.bench.peer(self.wire)
        self.track = self.bench.engine.add_track(
            self.bench.publisher, mid="1", kind="video", codec="VP8", parameters="", clock_rate=90_000,
            payload_types={96: "VP8"}, rtx={97: 96}, extensions=INBOUND, rids=(), ssrcs=((11, None),),
        )  # fmt: skip
        self.down_track: DownTrack = self.bench.engine.add_down_track(
            self.track, self.viewer, mid=mid, ssrc=70, rtx_ssrc=80 if rtx else 0, payload_type=120,
            red_payload_type=None, rtx_payload_type=121 if rtx else None, first_sequence=500, cname="a",
            extensions=extensions, allow_mixed=allow_mixed, nack_without_rtx=nack_without_rtx,
        )  # fmt: skip
        self.bench.engine.set_target(self.down_track, self.track.encodings[""], self.bench.now)
        self.sequence = 0

    def send(self, *blocks: dict[int, bytes], size: int = 100) -> list[Rtp]:
        """Packets with these extensions, in one batch."""
        packets = []
        for block in blocks:
            self.sequence += 1
            payload = vp8(key=self.sequence == 1, picture=self.sequence, tl0=self.sequence & 255, size=size)
            packets.append(_packet(payload, self.sequence, block))
        self.bench.send(*packets)
        return self.wire.media()


def _packet(payload: bytes, sequence: int, block: dict[int, bytes]) -> bytes:
    """In two-byte form if an extension is too long for the other one."""
    if all(len(value) <= 16 for value in block.values()):
        return rtp(payload, ssrc=11, sequence=sequence, timestamp=sequence * 3000, extensions=block)
    data = b"".join(bytes((number, len(value))) + value for number, value in block.items())
    data += bytes(-len(data) % 4)
    head = struct.pack("!BBHIIHH", 0x90, 96, sequence, sequence * 3000, 11, 0x1000, len(data) // 4)
    return head + data + payload


@pytest.mark.parametrize(
    ("extensions", "mid", "form"),
    [
        (CHROMIUM, "0", MIXED),
        (CHROMIUM, "a-mid-with-16-by", MIXED),
        ({**CHROMIUM, ORIENTATION: 17}, "7", TWO_BYTE_ONLY),
        ({uri: number + 100 for uri, number in CHROMIUM.items()}, "7", TWO_BYTE_ONLY),
        ({MID: 1}, "video0", MIXED),
        ({TWCC: 9}, "video0", MIXED),
        ({}, "video0", MIXED),
        (caps.OUT_EXTENSION_IDS, "x", MIXED),
    ],
)
def test_each_extension_has_the_id_that_the_subscriber_chose(extensions: dict[str, int], mid: str, form: int) -> None:
    viewing = Viewing(extensions, mid=mid)
    layout = viewing.down_track.layout
    assert layout is not None
    assert layout.form == form
    blocks = [{3: b"\0\1", 13: b"\2", 8: SHORT_DESCRIPTOR}, {5: b"\1\2\3", 2: b"\0\0\1"}, {}]
    packets = viewing.send(*blocks)
    expected: list[dict[str, bytes]] = [{ORIENTATION: b"\2", DESCRIPTOR: SHORT_DESCRIPTOR}, {DELAY: b"\1\2\3"}, {}]
    assert len(packets) == 3
    for number, (packet, values) in enumerate(zip(packets, expected, strict=True)):
        values = {**values, MID: mid.encode(), TWCC: number.to_bytes(2, "big")}
        send_time = packet.extensions.pop(extensions.get(TIME, -1), None)
        assert (send_time is not None) == (number == 1 and TIME in extensions)
        assert packet.extensions == {extensions[uri]: value for uri, value in values.items() if uri in extensions}
        assert packet.payload == vp8(key=number == 0, picture=number + 1, tl0=number + 1)
        assert packet.sequence == 500 + number


@pytest.mark.parametrize(
    ("allow_mixed", "forms"),
    [(True, [0xBEDE, 0x1000]), (False, [0x1000, 0x1000])],
)
def test_a_long_descriptor_needs_the_two_byte_form(allow_mixed: bool, forms: list[int]) -> None:
    viewing = Viewing(CHROMIUM, allow_mixed=allow_mixed)
    viewing.send({})
    for block, form in zip(({8: SHORT_DESCRIPTOR}, {8: LONG_DESCRIPTOR}), forms, strict=True):
        viewing.sequence += 1
        viewing.bench.send(_packet(vp8(picture=viewing.sequence), viewing.sequence, block))
        (datagram,) = viewing.wire.take()
        assert int.from_bytes(datagram[12:14], "big") == form
        assert Rtp.parse(datagram[:-16]).extensions[11] == block[8]


def test_without_a_descriptor_a_subscriber_of_one_form_gets_the_one_byte_form() -> None:
    viewing = Viewing({MID: 3}, mid="0", allow_mixed=False)
    assert viewing.down_track.layout is not None
    assert viewing.down_track.layout.form == ONE_BYTE_ONLY
    viewing.bench.send(_packet(vp8(key=True), 1, {8: LONG_DESCRIPTOR, 13: b"\1"}))
    (datagram,) = viewing.wire.take()
    assert datagram[12:16] == (ONE_BYTE | 1).to_bytes(4, "big")
    assert Rtp.parse(datagram[:-16]).extensions == {3: b"0"}


@pytest.mark.parametrize("mid", ["a-mid-with-17-byte", "ü" * 9])
def test_a_mid_that_does_not_fit_is_not_sent(mid: str) -> None:
    assert Viewing({MID: 1, TWCC: 2}, mid=mid).send({})[0].extensions.keys() == {2}


def test_the_usual_subscriber_keeps_canonical_packets() -> None:
    assert header_layout("00", None, allow_mixed=True) is None
    assert header_layout("00", None, allow_mixed=True, canonical=False) is not None
    assert header_layout("00", caps.OUT_EXTENSION_IDS, allow_mixed=True) is None
    assert header_layout("00", {MID: 1}, allow_mixed=True) is None
    assert header_layout("000", {MID: 1}, allow_mixed=True) is not None
    assert header_layout("00", {MID: 1}, allow_mixed=False) is not None
    assert header_layout("00", {MID: 2}, allow_mixed=True) is not None
    with pytest.raises(ValueError, match="id"):
        header_layout("00", {MID: 15}, allow_mixed=True)


@pytest.mark.parametrize("extensions", [CHROMIUM, {**CHROMIUM, TWCC: 200}, {}])
def test_codec_fields_are_rewritten_where_they_are_now(extensions: dict[str, int]) -> None:
    viewing = Viewing(extensions, mid="some-mid")
    viewing.send({})
    viewing.down_track.offsets = viewing.down_track.offsets._replace(picture=10, tl0picidx=20, frame=30, rewrites=True)
    (packet,) = viewing.send({13: b"\1", 8: SHORT_DESCRIPTOR})
    assert packet.payload == vp8(picture=12, tl0=22)
    if DESCRIPTOR in extensions:
        assert packet.extensions[11] == b"\xc0\x00\x27"


def test_a_packet_size_that_changes_does_not_reach_one_message() -> None:
    """Only the first packet has the extension that the subscriber does not take: the others are longer after translation."""
    viewing = Viewing({MID: 1, TWCC: 2})
    viewing.send({})
    viewing.bench.send(
        *(
            _packet(
                vp8(picture=number, size=100 - 4 * (number > 2)), number, {13: b"\1", 5: b"123"} if number > 2 else {}
            )
            for number in (2, 3, 4, 5)
        )
    )
    assert [packet.payload for packet in viewing.wire.media()] == [
        vp8(picture=number, size=100 - 4 * (number > 2)) for number in (2, 3, 4, 5)
    ]


def test_a_stream_without_transport_wide_numbers_uses_up_none() -> None:
    viewing = Viewing({MID: 1})
    viewing.send({}, {})
    assert viewing.viewer.twcc_number == 0
    viewing.bench.engine.send_padding(viewing.viewer, 500, viewing.bench.now)
    assert viewing.viewer.twcc_number == 0
    assert viewing.wire.media()


@pytest.mark.parametrize("extensions", [CHROMIUM, {**CHROMIUM, TWCC: 200}, {}])
def test_repairs_and_padding_have_the_layout_too(extensions: dict[str, int]) -> None:
    viewing = Viewing(extensions, mid="video0")
    viewing.send({}, {13: b"\1", 8: SHORT_DESCRIPTOR})
    viewing.down_track.offsets = Offsets(499, 0, 1, 1, 1, True)
    nack = rtcp.encode_nack(1, 70, [501])
    viewing.down_track.switch_history._segments[-1].offsets = viewing.down_track.offsets
    viewing.bench.engine.receive_rtcp(viewing.viewer, nack, viewing.bench.now, 3e9)
    (repair,) = viewing.wire.media()
    values = {ORIENTATION: b"\1", DESCRIPTOR: b"\xc0\0\x0a", MID: b"video0", TWCC: b"\0\2"}
    assert repair.extensions == {extensions[uri]: value for uri, value in values.items() if uri in extensions}
    assert (repair.ssrc, repair.payload_type, repair.payload) == (80, 121, b"\1\xf5" + vp8(picture=3, tl0=3))
    viewing.bench.engine.clear_target(viewing.down_track)
    viewing.bench.engine.send_padding(viewing.viewer, 400, viewing.bench.now)
    padding = viewing.wire.media()
    values = {MID: b"video0", TWCC: b"\0\3"}
    assert padding[0].extensions == {extensions[uri]: value for uri, value in values.items() if uri in extensions}
    assert (padding[0].ssrc, padding[0].payload) == (80, b"")


@pytest.mark.parametrize("extensions", [CHROMIUM, None])
def test_without_rtx_a_lost_packet_is_resent_byte_for_byte(extensions: dict[str, int] | None) -> None:
    viewing = Viewing(extensions, mid="00", nack_without_rtx=True, rtx=False)
    viewing.send({})
    viewing.bench.send(*(_packet(vp8(picture=number), number, {13: b"\1"}) for number in (2, 3, 4)))
    sent = viewing.wire.take()
    viewing.down_track.offsets = viewing.down_track.offsets._replace(picture=77, rewrites=True)  # as after a switch
    nack = rtcp.encode_nack(1, 70, [501, 503, 505])
    viewing.bench.engine.receive_rtcp(viewing.viewer, nack, viewing.bench.now, 3e9)
    assert viewing.wire.take() == [sent[0], sent[2]]
    assert viewing.viewer.counters.retransmitted == 2
    viewing.bench.engine.receive_rtcp(viewing.viewer, nack, viewing.bench.now, 3e9)
    assert viewing.wire.take() == [], "too early for another time"
    viewing.bench.engine.send_padding(viewing.viewer, 1000, viewing.bench.now)
    assert viewing.wire.take() == [], "padding needs a repair stream"


def test_old_datagrams_are_not_kept() -> None:
    viewing = Viewing(None, mid="00", nack_without_rtx=True, rtx=False)
    for _ in range(DATAGRAMS_KEPT + 1):
        viewing.send({})
    assert viewing.down_track.datagrams is not None
    assert len(viewing.down_track.datagrams) == DATAGRAMS_KEPT
    nack = rtcp.encode_nack(1, 70, [500, 501])
    viewing.bench.engine.receive_rtcp(viewing.viewer, nack, viewing.bench.now, 3e9)
    assert [packet.sequence for packet in viewing.wire.media()] == [501]
