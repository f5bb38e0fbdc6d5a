"""sfu.rtmp.client with a scripted server: timestamps past 4.6 hours and hostile responses."""

import random
from contextlib import suppress
from struct import pack, unpack

import pytest

from sfu.errors import MalformedPacket
from sfu.rtmp import amf
from sfu.rtmp.client import PublishingSession, State
from sfu.rtmp.connection import AUDIO, VIDEO
from sfu.rtmp.flv import audio_body, video_body

GREETING = b"\x03" + bytes(1536) + bytes(1536)


def message(kind: int, body: bytes, *, channel: int = 3, chunk: int = 128) -> bytes:
    out = bytes([channel]) + bytes(3) + pack("!I", len(body))[1:] + bytes([kind]) + bytes(4) + body[:chunk]
    for at in range(chunk, len(body), chunk):
        out += bytes([0xC0 | channel]) + body[at : at + chunk]
    return out


def command(*values: amf.Value) -> bytes:
    return message(20, amf.encode(*values))


def session() -> PublishingSession:
    return PublishingSession("live", "secret", "rtmp://example.org/live", bytes(1528))


def publishing() -> PublishingSession:
    found = session()
    found.receive_data(GREETING)
    found.receive_data(command("_result", 1, None, {"code": "NetConnection.Connect.Success"}))
    found.receive_data(command("_error", 2, None, {"level": "error"}))
    found.receive_data(command("_result", 4, None, 7))
    found.receive_data(command("onStatus", 0, None, {"level": "status", "code": "NetStream.Publish.Start"}))
    assert found.state is State.PUBLISHING
    found.data_to_send()
    return found


def test_publishing_byte_by_byte() -> None:
    found = session()
    assert len(found.data_to_send()) == 1537
    stream = (
        GREETING
        + message(1, pack("!I", 500), channel=2)
        + message(5, pack("!I", 2_500_000), channel=2)
        + message(6, pack("!IB", 2_500_000, 2), channel=2)
        + message(4, b"\0\x06" + pack("!I", 99), channel=2)
        + message(20, amf.encode("_result", 1, {"x": "y" * 700}, None), chunk=500)
        + command("_result", 4, None, 1)
        + command("onStatus", 0, None, {"level": "status", "code": "NetStream.Publish.Start"})
    )
    sent = b""
    for at in range(len(stream)):
        found.receive_data(stream[at : at + 1])
        sent += found.data_to_send()
    assert found.state is State.PUBLISHING
    order = [b"connect", b"releaseStream", b"FCPublish", b"createStream", b"publish"]
    places = [sent.index(name) for name in order]
    assert places == sorted(places)
    assert pack("!HI", 7, 99) in sent  # the ping is answered
    assert b"secret" in sent


@pytest.mark.parametrize(
    "answer",
    [
        command("_error", 1, None, {"level": "error", "code": "NetConnection.Connect.Rejected"}),
        command("_result", 1, None, None)
        + command("_result", 4, None, 1)
        + command("onStatus", 0, None, {"level": "error", "code": "NetStream.Publish.BadName"}),
        command("close"),
    ],
)
def test_refusals(answer: bytes) -> None:
    found = session()
    found.receive_data(GREETING + answer)
    assert found.state is State.REFUSED
    assert found.refusal in ("NetConnection.Connect.Rejected", "NetStream.Publish.BadName", "refused")


def test_media_is_split_into_chunks_with_extended_timestamps() -> None:
    found = publishing()
    body = video_body(bytes(10_000), keyframe=True)
    found.send_media(VIDEO, 40, body)
    data = found.data_to_send()
    assert data[:12] == b"\x06\0\0\x28" + pack("!I", len(body))[1:] + b"\x09" + pack("<I", 7)
    assert len(data) == 12 + len(body) + 2
    assert data[12 + 4096] == 0xC6
    hours = 5 * 3_600_000
    found.send_media(VIDEO, hours, body)
    data = found.data_to_send()
    assert data[1:4] == b"\xff\xff\xff"
    assert unpack("!I", data[12:16]) == (hours,)
    assert data[16 + 4096 : 16 + 4096 + 5] == b"\xc6" + pack("!I", hours)
    found.send_media(AUDIO, 1, audio_body(b"x"))
    assert found.data_to_send()[12:] == b"\xaf\x01x"
    found.send_metadata({"width": 1280.0})
    found.send_end()
    assert b"deleteStream" in found.data_to_send()


@pytest.mark.parametrize(
    "data",
    [
        b"\x09" + bytes(3072),
        GREETING + b"\x03" + bytes(3) + b"\xff\xff\xff" + b"\x14" + bytes(4),
        GREETING + message(1, bytes(4), channel=2),
        GREETING + b"".join(message(9, b"", channel=number) for number in range(2, 63)) + bytes([0, 10]) + bytes(11)
        + bytes([0, 11]) + bytes(11) + bytes([0, 12]) + bytes(11) + bytes([0, 13]) + bytes(11),
        GREETING + command("_result", 1, None, None) + command("_result", 4, None, "x"),
    ],
)  # fmt: skip
def test_malformed(data: bytes) -> None:
    with pytest.raises(MalformedPacket):
        session().receive_data(data)


def test_any_bytes_are_accepted_or_malformed() -> None:
    rng = random.Random(5)
    whole = GREETING + command("_result", 1, None, {"a": "b"}) + command("_result", 4, None, 1)
    for _ in range(500):
        data = bytearray(whole)
        for _ in range(4):
            data[rng.randrange(3073, len(data))] = rng.randrange(256)
        with suppress(MalformedPacket):
            session().receive_data(bytes(data))


def test_received_bytes_are_acknowledged() -> None:
    found = publishing()
    found.receive_data(message(5, pack("!I", 8000), channel=2))
    assert found.data_to_send() == b""
    found.receive_data(b"".join(message(8, bytes(100), channel=5) for _ in range(30)))
    assert found.data_to_send()[:8] == b"\x02\0\0\0\0\0\x04\x03"
