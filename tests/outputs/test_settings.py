"""Settings of outputs: renditions and HLS."""

import pytest

from sfu.config import load
from sfu.errors import ConfigurationError
from sfu.outputs.settings import Rendition, Settings


def test_the_ladder() -> None:
    assert [one.name for one in Settings().ladder] == ["1080p", "720p", "480p"]
    assert Rendition.parse("1280x720@1500") == Rendition("720p", 1280, 720, 1_500_000)


@pytest.mark.parametrize("words", ["", "720p", "1280x720", "1281x720@1500", "1280x721@9", "9000x720@5", "0x0@0"])
def test_invalid_renditions(words: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a rendition"):
        Settings(renditions=(words,))


@pytest.mark.parametrize("renditions", [(), ("1280x720@1500", "960x720@900")])
def test_none_and_two_of_one_name(renditions: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="at least one"):
        Settings(renditions=renditions)


def test_from_the_environment() -> None:
    settings = load(environment={"SFU_OUTPUTS__RENDITIONS": "640x360@400", "SFU_OUTPUTS__HLS__PUBLIC": "town-hall, *"})
    assert settings.outputs.ladder == (Rendition("360p", 640, 360, 400_000),)
    assert settings.outputs.hls.public == ("town-hall", "*")
