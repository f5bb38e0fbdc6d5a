"""sfu.rtmp.server with our own client at the other end, and with hostile clients."""

from struct import pack

import pytest

from sfu.errors import MalformedPacket
from sfu.rtmp import amf
from sfu.rtmp.client import PublishingSession
from sfu.rtmp.client import State as ClientState
from sfu.rtmp.connection import AUDIO, VIDEO
from sfu.rtmp.flv import audio_body, video_body
from sfu.rtmp.server import Event, Media, Metadata, PublishRequested, ServerSession, State, Unpublished
from tests.rtmp.test_client import message

GREETING = b"\x03" + bytes(3072)


def command(*values: amf.Value) -> bytes:
    return message(20, amf.encode(*values))


CONNECT = command("connect", 1, {"app": "live"})
PUBLISH = command("publish", 5, None, "key", "live")


def events(session: ServerSession, data: bytes) -> list[Event]:
    session.receive_data(data)
    found: list[Event] = []
    while session.pending:
        found += session.next_events()
    return found


def publishing(limit: int = 100_000) -> ServerSession:
    session = ServerSession(bytes(1528), limit)
    (request,) = events(session, GREETING + CONNECT + PUBLISH)
    assert request == PublishRequested("live", "key")
    session.accept()
    session.data_to_send()
    return session


def exchange(client: PublishingSession, server: ServerSession, size: int = 100_000) -> list[Event]:
    """Carries bytes both ways until nothing is left, in pieces of `size`."""
    found: list[Event] = []
    while (data := client.data_to_send()) or server.pending:
        for at in range(0, len(data), size):
            found += events(server, data[at : at + size])
        client.receive_data(server.data_to_send())
    return found


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_whole_stream(size: int) -> None:
    client = PublishingSession("live", "secret", "rtmp://example.org/live", bytes(1528))
    server = ServerSession(bytes(1528), 100_000)
    assert exchange(client, server, size) == [PublishRequested("live", "secret")]
    server.accept()
    client.receive_data(server.data_to_send())
    assert client.state is ClientState.PUBLISHING
    picture = video_body(bytes(30_000), keyframe=True)
    hours = 5 * 3_600_000
    client.send_metadata({"width": 1280.0})
    client.send_media(VIDEO, 40, picture)
    client.send_media(AUDIO, hours, audio_body(b"x"))
    client.send_media(VIDEO, hours, picture)
    client.send_end()
    assert exchange(client, server, size) == [
        Metadata({"width": 1280.0}), Media(VIDEO, 40, picture), Media(AUDIO, hours, b"\xaf\1x"),
        Media(VIDEO, hours, picture), Unpublished(),
    ]  # fmt: skip


def test_the_key_is_not_shown() -> None:
    assert "secret" not in repr(PublishRequested("live", "secret"))


def test_a_refusal_has_its_reason() -> None:
    client = PublishingSession("live", "secret", "rtmp://example.org/live", bytes(1528))
    server = ServerSession(bytes(1528), 100_000)
    exchange(client, server)
    server.refuse("Wrong stream key.")
    data = server.data_to_send()
    client.receive_data(data)
    assert client.state is ClientState.REFUSED
    assert client.refusal == "NetStream.Publish.BadName"
    assert b"Wrong stream key." in data
    assert server.state is State.CLOSED


def test_commands_in_amf3_form() -> None:
    session = ServerSession(bytes(1528), 1000)
    body = amf.encode("publish", 5, None, "key", "live")
    assert events(session, GREETING + CONNECT + message(17, b"\0" + body)) == [PublishRequested("live", "key")]


def test_timestamps_of_all_chunk_types() -> None:
    session = publishing()
    full = b"\x06" + b"\0\0\x64" + b"\0\0\1\x09" + pack("<I", 1) + b"a"
    delta = b"\x46" + b"\0\0\x21" + b"\0\0\1\x09" + b"b"
    shorter = b"\x86" + b"\0\0\x10" + b"c"
    again = b"\xc6" + b"d"
    found = events(session, full + delta + shorter + again)
    assert found == [Media(9, 100, b"a"), Media(9, 133, b"b"), Media(9, 149, b"c"), Media(9, 165, b"d")]


@pytest.mark.parametrize("repeated", [True, False])
def test_extended_timestamps_in_continued_chunks(repeated: bool) -> None:
    session = publishing()
    stamp = pack("!I", 0x01000000)
    body = bytes(range(200))
    data = b"\x06\xff\xff\xff" + pack("!I", 200)[1:] + b"\x09" + pack("<I", 1) + stamp + body[:128]
    data += b"\xc6" + (stamp if repeated else b"") + body[128:]
    assert events(session, data) == [Media(9, 0x01000000, body)]


def test_chunk_streams_with_large_ids() -> None:
    session = publishing()
    tail = bytes(3) + b"\0\0\1\x09" + pack("<I", 1) + b"x"
    assert events(session, b"\x00\x20" + tail + b"\x01\x20\x01" + tail) == [Media(9, 0, b"x")] * 2


def test_an_aborted_message_is_discarded() -> None:
    session = publishing()
    begun = b"\x06" + bytes(3) + pack("!I", 200)[1:] + b"\x09" + pack("<I", 1) + bytes(128)
    found = events(session, begun + message(2, pack("!I", 6), channel=2) + message(9, b"new", channel=6))
    assert found == [Media(9, 0, b"new")]
    assert session.buffered == 0


def test_work_per_call_is_bounded() -> None:
    session = publishing()
    while session.pending:
        session.next_events()
    session.receive_data(message(8, b"", channel=4) + b"\xc4" * 999)
    assert len(session.next_events(64)) == 64
    assert session.pending


def test_playing_is_refused() -> None:
    session = ServerSession(bytes(1528), 1000)
    assert events(session, GREETING + CONNECT + command("play", 3, None, "key")) == []
    assert b"NetStream.Play.Failed" in session.data_to_send()
    assert session.state is State.CLOSED


@pytest.mark.parametrize(
    "data",
    [
        b"\x06" + bytes(3072),
        GREETING + PUBLISH,
        GREETING + CONNECT + command("publish", 5, None),
        GREETING + CONNECT + command("publish", 5, None, "k" * 600),
        GREETING + CONNECT + message(9, b"picture"),
        GREETING + CONNECT + message(22, b""),
        GREETING + message(1, pack("!I", 1), channel=2),
        GREETING + message(1, b"", channel=2),
        GREETING + CONNECT + command("FCPublish", 2, None) * 300,
        GREETING + bytes(200_000),
        GREETING + message(20, bytes(20_000)),
        GREETING + b"\x03" + bytes(3) + b"\x01\x00\x00\x14" + bytes(4),
    ],
)
def test_malformed(data: bytes) -> None:
    session = ServerSession(bytes(1528), 1000)
    with pytest.raises(MalformedPacket):
        events(session, data)


def test_a_second_stream_is_malformed() -> None:
    with pytest.raises(MalformedPacket):
        events(publishing(), PUBLISH)


def test_incomplete_messages_are_bounded() -> None:
    session = publishing(100_000)
    begun = pack("!I", 90_000)[1:] + b"\x09" + pack("<I", 1)

    def begin_many() -> None:
        for channel in range(3, 60):
            events(session, bytes([channel]) + bytes(3) + begun + bytes(128))
            events(session, (bytes([0xC0 | channel]) + bytes(128)) * 200)

    with pytest.raises(MalformedPacket):
        begin_many()
    assert session.buffered < 200_000


def test_data_messages_after_the_first_ones_are_not_parsed() -> None:
    session = publishing()
    data = message(18, amf.encode("@setDataFrame", "onMetaData", amf.EcmaArray({"a": 1.0})), channel=4)
    assert len(events(session, data * 40)) == 16
