"""sfu.rtmp.amf: round trips, and hostile input that raises only MalformedPacket."""

import random
from contextlib import suppress
from typing import Any

import pytest

from sfu.errors import MalformedPacket
from sfu.rtmp.amf import EcmaArray, decode, encode

VALUES: list[list[Any]] = [
    [1.5, True, False, None, "", "å" * 40_000],
    ["connect", 1.0, {"app": "live", "deep": {"a": [1.0, "b", None]}}],
    [EcmaArray({"width": 1280.0, "stereo": True})],
]


@pytest.mark.parametrize("values", VALUES)
def test_round_trip(values: list[Any]) -> None:
    assert decode(encode(*values)) == values


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0",
        b"\x02\x00\x05abc",
        b"\x02\x00\x01\xff",
        b"\x03\0\x01a",
        b"\x63",
        b"\x0a\xff\xff\xff\xff" + b"\x05" * 2000,
        b"\x0a\0\0\0\1" * 50,
        b"\x03" + b"\0\1a\x03" * 100,
    ],
)
def test_malformed(data: bytes) -> None:
    with pytest.raises(MalformedPacket):
        decode(data)


def test_any_bytes_decode_or_are_malformed() -> None:
    rng = random.Random(3)
    whole = encode(*VALUES[1])
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with suppress(MalformedPacket):
            decode(bytes(data[: rng.randrange(len(data) + 1)]))
