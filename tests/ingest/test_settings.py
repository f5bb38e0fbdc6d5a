"""Renditions of ingest streams in the settings."""

import pytest

from sfu.errors import ConfigurationError
from sfu.ingest.settings import Layer, Settings


def test_renditions_become_layers_in_bits_per_second() -> None:
    settings = Settings(renditions=("320x180@200", " 640x360@600 "))
    assert settings.layers == (Layer(320, 180, 200_000), Layer(640, 360, 600_000))


@pytest.mark.parametrize("text", ["", "640x360", "641x360@600", "640x361@600", "640x360@0", "64000x360@600", "axb@c"])
def test_invalid_renditions_are_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a layer"):
        Settings(renditions=(text,))


def test_at_most_two_renditions() -> None:
    with pytest.raises(ConfigurationError, match="at most two"):
        Settings(renditions=("320x180@200",) * 3)
