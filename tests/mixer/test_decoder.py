"""sfu.mixer.decoder: one picture per access unit; oversized and unknown input is rejected."""

import resource

import numpy as np
import pytest
from av.error import FFmpegError

from sfu.mixer import decoder as module
from sfu.mixer.decoder import Decoder
from tests.support import packetize

CODECS = ("VP8", "VP9", "H264", "AV1")


def units(codec: str, width: int = 320, height: int = 180, count: int = 3) -> list[bytes]:
    return list(packetize.encode(codec, [np.full((height * 3 // 2, width), 90 + n, np.uint8) for n in range(count)]))


@pytest.mark.parametrize("codec", CODECS)
def test_each_access_unit_is_output_at_once(codec: str) -> None:
    decoder = Decoder(codec)
    for unit in units(codec):
        frame = decoder.decode(unit)
        assert frame is not None
        assert (frame.width, frame.height, frame.format.name) == (320, 180, "yuv420p")


@pytest.mark.parametrize("codec", CODECS)
def test_oversized_pictures_are_rejected(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PIXELS", 320 * 180 - 1)
    decoder = Decoder(codec)
    with pytest.raises(FFmpegError):
        decoder.decode(units(codec)[0])
    assert decoder.failed == 1


@pytest.mark.parametrize("codec", CODECS)
def test_it_recovers_with_a_keyframe_after_invalid_data(codec: str) -> None:
    decoder = Decoder(codec)
    rubbish = np.random.default_rng(7).integers(0, 256, 400, dtype=np.uint8).tobytes()
    for _ in range(5):
        try:
            decoder.decode(rubbish)
        except FFmpegError:
            continue
    assert any(decoder.decode(unit) is not None for unit in units(codec))


def test_unknown_codecs_are_rejected() -> None:
    with pytest.raises(ValueError, match="theora"):
        Decoder("theora")


def test_a_keyframe_that_declares_16k_allocates_no_memory() -> None:
    unit = bytearray(units("VP8", count=1)[0])
    unit[6:10] = b"\xff\x3f\xff\x3f"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FFmpegError):
        Decoder("VP8").decode(bytes(unit))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "kilobytes"
