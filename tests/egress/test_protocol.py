"""Messages between server and worker: encoding, framing and validation."""

import msgspec
import pytest

from sfu.egress import protocol
from sfu.egress.protocol import Frames, decode_to_server, decode_to_worker, encode
from sfu.errors import MalformedPacket

RENDITION = protocol.Rendition(name="360p", width=640, height=360, bit_rate=600_000)
TRACK = protocol.Track(id="TR_1", ssrc=7, kind="video", codec="VP8", source="camera", muted=True)

TO_WORKER: list[protocol.ToWorker] = [
    protocol.Start(room="r", renditions=[RENDITION]),
    protocol.Members(members=[protocol.Member(id="PA_1", identity="ada", name="Ada", tracks=[TRACK])]),
    protocol.Speakers(dominant="PA_1", levels={"PA_1": 0.5}),
    protocol.Layout(layout="pip", focus="PA_1", scene="{}"),
    protocol.Outputs(live=True, destinations=[protocol.Destination(id="DE_1", url="rtmp://example.org/a/b")]),
    protocol.Stop(),
]
TO_SERVER: list[protocol.ToServer] = [
    protocol.Started(at=1.5),
    protocol.Init(rendition="360p", data=b"moov"),
    protocol.Part(rendition="360p", msn=1, index=2, independent=True, duration=0.2, pts=18_000, data=b"moof"),
    protocol.VisibleTracks(tracks={"TR_1": protocol.TileSize(width=640, height=360)}),
    protocol.Event(at=1.0, kind="join", text="Ada", chapter=True, fields={"stage": "ada"}),
    protocol.Status(ticks=3, destinations=[protocol.DestinationState(id="DE_1", state="live")]),
    protocol.Failed(message="No."),
]


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_round_trip_with_any_chunk_size(step: int) -> None:
    for messages, decode in ((TO_WORKER, decode_to_worker), (TO_SERVER, decode_to_server)):
        stream = b"".join(encode(message) for message in messages)
        frames, found = Frames(), []
        for at in range(0, len(stream), step):
            found += [decode(body) for body in frames.receive(stream[at : at + step])]
        assert found == messages


def test_a_message_that_is_too_long_is_refused_before_buffering() -> None:
    with pytest.raises(MalformedPacket):
        list(Frames().receive((protocol.LIMIT + 1).to_bytes(4, "big")))


@pytest.mark.parametrize(
    "message",
    [
        {"type": "start"},
        {"type": "part", "rendition": "360p", "msn": -1, "index": 0, "independent": True, "duration": 0, "pts": 0, "data": b""},
        {"type": "visible_tracks", "tracks": {"TR_1": {"width": 99_999, "height": 1}}},
        {"type": "event", "at": 0, "kind": "x" * 300},
        {"type": "from_the_future"},
        [],
    ],
)  # fmt: skip
def test_invalid_messages_of_a_worker(message: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_to_server(msgspec.msgpack.encode(message))
