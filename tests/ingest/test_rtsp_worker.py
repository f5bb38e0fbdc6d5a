"""sfu.ingest.rtsp_worker: the packets of a container, in the messages for the server.

A file takes the place of the camera; `test_rtsp_pull` runs the process against RTSP cameras.
"""

import socket
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from sfu.ingest import rtsp_worker
from sfu.ingest.demuxing import (
    AudioConfig,
    AudioPacket,
    FromDemuxer,
    Open,
    Opened,
    VideoConfig,
    VideoPacket,
    decode_from_demuxer,
    encode,
)
from sfu.ingest.rtsp_worker import ENDED, Demuxer, H264Packets
from sfu.ingest.transcoding import LENGTH, LIMIT, Failed, Ready
from sfu.rtp.codecs.avcc import parse_avcc, split_units

PICTURES = list(np.random.default_rng(1).integers(16, 235, (4, 96, 96), np.uint8))
SPS, PPS, IDR, SLICE = b"\x67\x42\xc0\x1f\x01", b"\x68\xce\x01\x02", b"\x65\x88\x01", b"\x41\x9a\x01"


def annex_b(*units: bytes) -> bytes:
    return b"".join(b"\0\0\0\1" + unit for unit in units)


def test_parameter_sets_are_stated_once() -> None:
    packets = H264Packets(b"")
    config, data, keyframe = packets.convert(annex_b(SPS, PPS, IDR))
    assert parse_avcc(config) == (4, (SPS,), (PPS,))
    assert (split_units(data), keyframe) == ([SPS, PPS, IDR], True)
    assert packets.convert(annex_b(SLICE)) == (b"", len(SLICE).to_bytes(4, "big") + SLICE, False)
    assert packets.convert(annex_b(SPS, PPS, IDR))[0] == b""
    changed, _, _ = packets.convert(annex_b(SPS + b"\x07", IDR))
    assert parse_avcc(changed) == (4, (SPS + b"\x07",), (PPS,))


def test_parameter_sets_of_the_session_description_are_used() -> None:
    packets = H264Packets(annex_b(SPS, PPS))
    config, _, _ = packets.convert(annex_b(SLICE))
    assert parse_avcc(config) == (4, (SPS,), (PPS,))


def test_without_parameter_sets_there_is_no_configuration() -> None:
    packets = H264Packets(annex_b(SPS))
    assert packets.convert(annex_b(b"\x68\xce", IDR)) == (
        b"",
        b"\0\0\0\2\x68\xce\0\0\0\3" + IDR,
        True,
    )  # a PPS cut short
    assert packets.convert(b"\0\0\1\0\0\1")[1:] == (b"", False)


def test_parameter_sets_are_bounded() -> None:
    config, _, _ = H264Packets(b"").convert(annex_b(*(SPS + bytes([number]) for number in range(1, 100)), PPS, IDR))
    assert len(parse_avcc(config).sps) == 16


def record(path: Path, *codecs: str) -> str:
    """A file with a stream of each codec."""
    with av.open(str(path), "w") as container:
        for stream in [_stream(container, codec) for codec in codecs]:
            if isinstance(stream, av.AudioStream):
                sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
                sound.sample_rate, sound.pts, sound.time_base = 8000, 0, Fraction(1, 8000)
                container.mux([*stream.encode(sound), *stream.encode(None)])
                continue
            for number, picture in enumerate(PICTURES):
                image = av.VideoFrame.from_ndarray(picture, format="yuv420p").reformat(format=stream.pix_fmt)
                image.pts = number
                container.mux(stream.encode(image))
            container.mux(stream.encode(None))
    return str(path)


def _stream(container: av.container.OutputContainer, codec: str) -> av.VideoStream | av.AudioStream:
    if codec.startswith("pcm"):
        sound = container.add_stream(codec, 8000)
        assert isinstance(sound, av.AudioStream)
        sound.layout = "mono"
        return sound
    stream = container.add_stream(codec, 10)
    assert isinstance(stream, av.VideoStream)
    stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p" if codec == "mjpeg" else "yuv420p"
    stream.thread_count = 1
    if codec == "libx264":
        stream.options = {"preset": "ultrafast", "tune": "zerolatency"}
    return stream


def demux(url: str) -> list[FromDemuxer]:
    """All messages of a demuxer for this URL."""
    ours, theirs = socket.socketpair()
    found: list[FromDemuxer] = []
    with ours, ours.makefile("rb") as stream:
        ours.sendall(encode(Open(url=url)))

        def read() -> None:
            while head := stream.read(LENGTH.size):
                found.append(decode_from_demuxer(stream.read(LENGTH.unpack(head)[0])))

        reader = threading.Thread(target=read)
        reader.start()
        try:
            Demuxer(theirs).run()
        finally:
            theirs.close()
            reader.join(20)
    return found


def of(kind: type[FromDemuxer], messages: list[FromDemuxer]) -> list[FromDemuxer]:
    return [one for one in messages if isinstance(one, kind)]


def test_h264_with_g711(tmp_path: Path) -> None:
    messages = demux(record(tmp_path / "clip.nut", "libx264", "pcm_mulaw"))
    assert messages[:3] == [Ready(), Opened(ignored=[]), AudioConfig(codec="PCMU", config=b"")]
    (config,) = of(VideoConfig, messages)
    assert isinstance(config, VideoConfig)
    assert (config.codec, len(parse_avcc(config.config).sps)) == ("H264", 1)
    videos = [one for one in messages if isinstance(one, VideoPacket)]
    assert [(one.time, one.keyframe) for one in videos] == [(0, True), (100, False), (200, False), (300, False)]
    assert messages.index(config) < messages.index(videos[0])
    assert all(split_units(one.data) for one in videos)
    assert sum(len(one.data) for one in messages if isinstance(one, AudioPacket)) == 800
    assert messages[-1] == Failed(message=ENDED)


@pytest.mark.parametrize(("encoder", "codec"), [("mjpeg", "MJPEG"), ("mpeg4", "MPEG4"), ("libvpx", "VP8")])
def test_other_codecs_state_their_size_before_the_first_picture(tmp_path: Path, encoder: str, codec: str) -> None:
    messages = demux(record(tmp_path / "clip.nut", encoder))
    assert messages[1] == Opened(ignored=[])
    config = messages[2]
    assert isinstance(config, VideoConfig)
    assert (config.codec, config.width, config.height) == (codec, 96, 64)
    videos = [one for one in messages if isinstance(one, VideoPacket)]
    assert (len(videos), videos[0].keyframe) == (len(PICTURES), True)


def test_unsupported_streams_are_named(tmp_path: Path) -> None:
    messages = demux(record(tmp_path / "clip.nut", "libx264", "pcm_s16le"))
    assert messages[1] == Opened(ignored=["pcm_s16le"])
    assert of(AudioConfig, messages) == []
    only = demux(record(tmp_path / "other.nut", "ffv1", "pcm_s16le"))
    assert only == [Ready(), Failed(message="The camera has no stream that the server supports (ffv1, pcm_s16le).")]


def test_packets_that_are_too_large_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = record(tmp_path / "clip.nut", "mjpeg")
    monkeypatch.setattr(rtsp_worker, "MAX_PACKET", 10)
    assert of(VideoPacket, demux(path)) == []


def test_other_files_are_an_error_of_libavformat(tmp_path: Path) -> None:
    (tmp_path / "clip.nut").write_bytes(b"no media" * 100)
    with pytest.raises(av.error.InvalidDataError):
        demux(str(tmp_path / "clip.nut"))


def test_a_request_that_is_too_long_is_refused() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(LENGTH.pack(LIMIT + 1))
        with pytest.raises(ValueError, match="too long"):
            Demuxer(theirs).run()
