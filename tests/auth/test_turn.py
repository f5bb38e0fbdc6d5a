"""TURN credentials against a value from `printf '1700000600:x' | openssl dgst -sha1 -hmac key -binary | base64`."""

import base64
import subprocess

import pytest

from sfu.auth.turn import Settings, credentials
from sfu.errors import ConfigurationError


def test_user_name_contains_expiry() -> None:
    made = credentials("key", "x", 1_700_000_000.9, 600.0)
    assert made.username == "1700000600:x"
    answer = subprocess.run(
        ["openssl", "dgst", "-sha1", "-hmac", "key", "-r"], input=b"1700000600:x", capture_output=True, check=True
    )
    assert base64.b64decode(made.password).hex() == answer.stdout.split()[0].decode()


@pytest.mark.parametrize(
    ("urls", "secret", "complaint"),
    [
        (("turn:a.example",), "", "turn.urls requires turn.secret"),
        (("https://a.example",), "s", "'https://a.example' must start with"),
    ],
)
def test_invalid_settings(urls: tuple[str, ...], secret: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        Settings(urls=urls, secret=secret)


def test_stun_needs_no_secret() -> None:
    assert Settings(urls=("stun:a.example",)).urls == ("stun:a.example",)
