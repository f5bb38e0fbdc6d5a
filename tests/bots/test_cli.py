import argparse

import aiohttp
import jwt
import pytest

from sfu.bots.cli import add_arguments, config_of, tokens_of
from sfu.errors import ConfigurationError


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_defaults() -> None:
    config = config_of(parsed())
    assert (config.count, config.publish, config.size, config.subscribe, config.layers) == (
        1,
        "camera",
        (1280, 720),
        True,
        3,
    )


def test_arguments() -> None:
    config = config_of(
        parsed("--publish", "file", "a.mp4", "--subscribe", "none", "--size", "640x360", "--no-simulcast")
    )
    assert config.path is not None
    assert (config.publish, config.path.name, config.size) == ("file", "a.mp4", (640, 360))
    assert (config.subscribe, config.layers) == (False, 1)


@pytest.mark.parametrize(
    "words",
    [
        "--publish screen", "--publish file", "--publish camera x", "--count 0", "--fps 500", "--ramp 0",
        "--size 63x20", "--size 641x361", "--token x --count 2",
    ],
)  # fmt: skip
def test_invalid_combinations(words: str) -> None:
    with pytest.raises(ConfigurationError):
        config_of(parsed(*words.split()))


@pytest.mark.parametrize("size", ["big", "640", "x", "-1x5"])
def test_invalid_sizes(size: str) -> None:
    with pytest.raises(SystemExit):
        parsed(f"--size={size}")


async def test_tokens_are_signed_with_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFU_BOT_KEY", "key")
    monkeypatch.setenv("SFU_BOT_SECRET", "a secret of the tests that is long enough")
    async with aiohttp.ClientSession() as http:
        token = await tokens_of(parsed("--room", "r", "--publish", "none"), http)("bot-1", "Ada")
        given = await tokens_of(parsed("--token", "mine"), http)("bot-1", "Ada")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims["name"], claims["video"]["room"]) == ("bot-1", "Ada", "r")
    assert claims["video"]["canPublish"] is False
    assert given == "mine"


async def test_a_key_without_a_secret_is_rejected() -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(ConfigurationError):
            tokens_of(parsed("--key", "key"), http)
