import av
import numpy as np
import pytest

from sfu.bots.codecs import VideoDecoder, VideoEncoder
from sfu.bots.picture import STAMP_BITS, TestPicture, read_stamp, stamp_age

AT = 1_767_225_600.123
STAMP = int(AT * 1000) % (1 << STAMP_BITS)


@pytest.mark.parametrize(
    ("width", "height"), [(64, 36), (160, 90), (320, 180), (480, 360), (640, 360), (854, 480), (1280, 720), (360, 640)]
)
@pytest.mark.parametrize("grain", [0, 8])
def test_the_stamp_is_read_back_at_any_size(width: int, height: int, grain: int) -> None:
    picture = TestPicture(width, height, "Ada", grain=grain).draw(AT)
    assert picture.shape == (height * 3 // 2, width)
    assert read_stamp(picture[:height]) == STAMP


def test_a_picture_without_a_stamp_has_none() -> None:
    assert read_stamp(np.full((180, 320), 128, np.uint8)) is None
    assert read_stamp(np.zeros((20, 20), np.uint8)) is None


@pytest.mark.parametrize(("width", "height", "bitrate"), [(160, 90, 40_000), (640, 360, 300_000)])
def test_the_stamp_survives_the_encoder(width: int, height: int, bitrate: int) -> None:
    picture = TestPicture(width, height, "Grace")
    encoder, decoder = VideoEncoder(width, height, bitrate, 15), VideoDecoder()
    for index in range(20):
        at = AT + index / 15
        frame = av.VideoFrame.from_numpy_buffer(picture.draw(at, 0.5), format="yuv420p")
        data, _ = encoder.encode(frame, int(at * 90_000), index == 0)
        luma = decoder.decode(data, int(at * 90_000))
        assert luma is not None
        assert read_stamp(luma) == int(at * 1000) % (1 << STAMP_BITS)


def test_the_picture_moves_and_the_mouth_opens() -> None:
    picture = TestPicture(320, 180)
    assert not np.array_equal(picture.draw(AT)[60:], picture.draw(AT + 2)[60:])
    assert not np.array_equal(picture.draw(AT)[60:], picture.draw(AT, 1.0)[60:])


@pytest.mark.parametrize(("stamped", "at", "age"), [(AT, AT + 0.25, 0.25), (AT + 1, AT, -1.0), (2.0**40 / 1000, 1, 1)])
def test_the_age_of_a_stamp(stamped: float, at: float, age: float) -> None:
    assert stamp_age(int(stamped * 1000) % (1 << STAMP_BITS), at) == pytest.approx(age, abs=0.002)


@pytest.mark.parametrize(("width", "height"), [(63, 36), (32, 36), (640, 361)])
def test_impossible_sizes(width: int, height: int) -> None:
    with pytest.raises(ValueError, match="test picture"):
        TestPicture(width, height)
