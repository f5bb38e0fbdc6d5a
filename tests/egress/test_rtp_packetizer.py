"""Packetizing the mix: a receiver reassembles the encoder's output."""

import numpy as np

from sfu.egress.rtp_packetizer import RtpPacketizer, RtpStream, payloads
from sfu.outputs.encoder import VideoEncoder, annex_b, parameter_sets
from sfu.rtp import rtcp
from sfu.rtp.codecs.packetizers import MAX_PAYLOAD_BYTES
from sfu.rtp.frames import FrameAssembler
from sfu.rtp.packet import parse_header


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (180 * 3 // 2, 320), np.uint8)


def test_pictures_survive_packetization() -> None:
    encoder = VideoEncoder(320, 180, 4_000_000)
    packets = [packet for number in range(3) for packet in encoder.encode(noise(number), 3000 * number)]
    sent: list[bytes] = []
    stream = RtpStream(4711, 102, 90_000, sent.extend)
    sets = parameter_sets(encoder.extradata)
    for packet in packets:
        stream.push(list(payloads(packet, sets)), packet.pts)
    assert max(len(packet) for packet in sent) <= MAX_PAYLOAD_BYTES + 12
    assembler = FrameAssembler("H264")
    frames = [frame for packet in sent for frame in assembler.receive(packet, 1.0)]
    assert [frame.data for frame in frames] == [annex_b(packet, encoder.extradata) for packet in packets]
    assert [frame.keyframe for frame in frames] == [True, False, False]
    assert [frame.timestamp - frames[0].timestamp for frame in frames] == [0, 3000, 6000]


def test_reports_tie_both_streams_to_one_clock() -> None:
    encoder = VideoEncoder(320, 180, 400_000)
    sent: list[bytes] = []
    output = RtpPacketizer(11, 12, (102, 111), encoder.extradata, 1000.0, sent.extend)
    output.video(encoder.encode(noise(0), 0))
    reports = [each for packet in sent if 191 < packet[1] < 224 for each in rtcp.parse(packet)]
    media = [parse_header(packet) for packet in sent if not 191 < packet[1] < 224]
    video, audio = reports
    assert isinstance(video, rtcp.SenderReport)
    assert isinstance(audio, rtcp.SenderReport)
    assert (video.ssrc, audio.ssrc) == (11, 12)
    assert video.ntp == audio.ntp
    assert {header.ssrc for header in media} == {11}
    assert video.packets == len(media)
