"""Messages of a transcoder process: framing, and bounds of an untrusted sender."""

import msgspec
import pytest

from sfu.ingest.transcoding import (
    Audio,
    ConfigureVideo,
    Failed,
    FromTranscoder,
    LayerSpec,
    Picture,
    Ready,
    Sound,
    decode_from_transcoder,
    decode_to_transcoder,
    encode,
)
from tests.ingest.framing import body


def test_both_directions_round_trip() -> None:
    layers = [LayerSpec(rid="f", width=0, height=0, bit_rate=4_000_000)]
    for request in (ConfigureVideo(codec="H264", config=b"avcc", layers=layers), Audio(time=1.5, data=b"x")):
        assert decode_to_transcoder(body(encode(request))) == request
    answers: tuple[FromTranscoder, ...] = (Ready(), Picture(rid="f", pts=90, keyframe=True, data=b"x", config=b"y"))
    for answer in answers:
        assert decode_from_transcoder(body(encode(answer))) == answer


@pytest.mark.parametrize(
    "message",
    [
        Sound(pts=-1, level=0, data=b""),
        Sound(pts=0, level=128, data=b""),
        Sound(pts=0, level=0, data=bytes(8193)),
        Picture(rid="f" * 17, pts=0, keyframe=False, data=b""),
        Failed(message="x" * 1025),
        Audio(time=0.0, data=b""),
    ],
    ids=lambda message: type(message).__name__,
)
def test_the_server_refuses_messages_out_of_bounds(message: FromTranscoder) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_from_transcoder(body(encode(message)))
