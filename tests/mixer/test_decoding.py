"""sfu.mixer.decoding: decoded pictures have the right size and tick. Uses virtual time."""

from collections.abc import Iterator

import numpy as np
import pytest

from sfu.mixer.decoding import HIDDEN_AFTER, QUEUE_LIMIT, STALE_AFTER, DecoderPool, VideoSource
from sfu.mixer.picture import Picture
from sfu.mixer.scene import Fit
from sfu.rtp.frames import CodedFrame
from tests.support import packetize


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def decoders(time: Time) -> Iterator[DecoderPool]:
    found = DecoderPool(2, now=time)
    yield found
    found.close()


def coded(count: int, *, rotation: int = 0, width: int = 320, height: int = 180) -> list[CodedFrame]:
    """VP8 frames with luma 60, 70, 80 …"""
    pictures = []
    for index in range(count):
        picture = np.full((height * 3 // 2, width), 128, np.uint8)
        picture[:height] = 60 + 10 * index
        pictures.append(picture)
    units = packetize.encode("VP8", pictures, bit_rate=2_000_000)
    return [CodedFrame(unit, 3000 * index, not index, 100.0, rotation) for index, unit in enumerate(units)]


def luma(picture: Picture | None) -> int:
    return -1 if picture is None else round(float(picture.y.mean()) / 10) * 10


def feed(decoders: DecoderPool, source: VideoSource, frame: CodedFrame, time: Time) -> Picture | None:
    """The picture of a frame one tick later."""
    source.receive(frame._replace(arrival=time.now))
    decoders.wait_idle()
    time.now += 1 / 30
    return source.picture_at(time.now)


def test_pictures_come_at_their_tick_in_the_tiles_size(decoders: DecoderPool, time: Time) -> None:
    source = decoders.open("VP8")
    source.show(160, 90, Fit.CROP)
    assert source.picture_at(time.now) is None
    for index, frame in enumerate(coded(4)):
        picture = feed(decoders, source, frame, time)
        assert picture is not None
        assert (picture.width, picture.height, luma(picture)) == (160, 90, 60 + 10 * index)
    assert source.picture_at(time.now + 0.03) is picture, "the last one stays"
    assert (source.decoded, source.failed, source.size) == (4, 0, (320, 180))


def test_rotated_pictures_stand_upright(decoders: DecoderPool, time: Time) -> None:
    source = decoders.open("VP8")
    source.show(90, 160, Fit.CROP)
    source.picture_at(time.now)
    picture = feed(decoders, source, coded(1, rotation=90)[0], time)
    assert picture is not None
    assert (picture.width, picture.height, source.size) == (90, 160, (180, 320))


def test_a_new_tile_size_gets_the_last_picture(decoders: DecoderPool, time: Time) -> None:
    source = decoders.open("VP8", screen=True)
    source.show(160, 90, Fit.CROP)
    source.picture_at(time.now)
    feed(decoders, source, coded(1)[0], time)
    source.show(320, 180, Fit.FIT)
    source.show(320, 180, Fit.FIT)
    decoders.wait_idle()
    picture = source.picture_at(time.now)
    assert picture is not None
    assert (picture.width, picture.height, luma(picture)) == (320, 180, 60)


def test_hidden_sources_are_decoded_and_not_scaled(decoders: DecoderPool, time: Time) -> None:
    source = decoders.open("VP8")
    source.show(160, 90, Fit.CROP)
    source.picture_at(time.now)
    frames = coded(4)
    feed(decoders, source, frames[0], time)
    time.now += HIDDEN_AFTER + 0.1
    for frame in frames[1:]:
        source.receive(frame._replace(arrival=time.now))
    decoders.wait_idle()
    assert source.decoded == 4
    assert luma(source.picture_at(time.now)) == 60
    decoders.wait_idle()
    assert luma(source.picture_at(time.now)) == 90, "the newest one, once it is requested again"


def test_a_camera_that_is_silent_or_paused_is_off(decoders: DecoderPool, time: Time) -> None:
    camera, screen = decoders.open("VP8"), decoders.open("VP8", screen=True)
    frames = coded(2)
    for source in (camera, screen):
        source.show(160, 90, Fit.CROP)
        source.picture_at(time.now)
        feed(decoders, source, frames[0], time)
    for _ in range(40):
        time.now += STALE_AFTER / 20
        seen = camera.picture_at(time.now), screen.picture_at(time.now)
        decoders.wait_idle()
    assert [luma(picture) for picture in seen] == [-1, 60]
    assert luma(feed(decoders, camera, frames[1], time)) == 70
    camera.paused = True
    assert camera.picture_at(time.now) is None
    camera.paused = False
    assert camera.picture_at(time.now) is None, "the picture from before the pause is not shown again"


def test_invalid_data_freezes_the_picture_and_requests_a_keyframe(decoders: DecoderPool, time: Time) -> None:
    source = decoders.open("VP8")
    source.show(160, 90, Fit.CROP)
    source.picture_at(time.now)
    frames = coded(3)
    feed(decoders, source, frames[0], time)
    picture = feed(decoders, source, frames[1]._replace(data=b"\x01"), time)
    assert luma(picture) == 60
    assert source.failed == 1
    assert source.needs_keyframe
    assert luma(feed(decoders, source, frames[2], time)) == 60, "not without its keyframe"
    assert luma(feed(decoders, source, frames[0]._replace(timestamp=9000), time)) == 60
    assert not source.needs_keyframe
    assert source.decoded == 2


def test_a_decoder_that_falls_behind_drops_frames(time: Time) -> None:
    decoders = DecoderPool(1, now=time)
    source = decoders.open("VP8")
    (frame,) = coded(1)
    received = 0
    while not source.needs_keyframe:
        source.receive(frame._replace(arrival=time.now))  # all arrive at once and wait for the tick
        received += 1
    decoders.wait_idle()
    # On a busy machine the thread may have taken a frame before the queue was full.
    assert QUEUE_LIMIT <= source.decoded == received - 1 < 2 * QUEUE_LIMIT
    decoders.close()


def test_sources_are_spread_over_the_threads_and_closed(decoders: DecoderPool, time: Time) -> None:
    sources = [decoders.open("VP8") for _ in range(5)]
    assert sorted(decoders._sources) == [2, 3]
    for source in sources:
        source.close()
        source.close()
    assert decoders._sources == [0, 0]
    sources[0].receive(coded(1)[0])
    decoders.wait_idle()
    assert sources[0].decoded == 0


def test_on_frame_receives_frames_and_an_exception_in_it_loses_one_picture(
    decoders: DecoderPool, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    source = decoders.open("VP8")
    source.show(160, 90, Fit.CROP)
    source.picture_at(time.now)
    heard: list[tuple[int, float]] = []
    source.on_frame = lambda frame, media: heard.append((frame.width, media))
    frames = coded(3)
    feed(decoders, source, frames[0], time)
    source.on_frame = lambda frame, media: 1 // 0  # type: ignore[assignment]  # raises
    feed(decoders, source, frames[1], time)
    source.on_frame = None
    assert luma(feed(decoders, source, frames[2], time)) == 80
    assert heard == [(320, 0.0)]
    assert "frame decode failed" in caplog.text


@pytest.mark.parametrize("count", [0, 5])
def test_invalid_thread_counts_are_rejected(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 4"):
        DecoderPool(count)
