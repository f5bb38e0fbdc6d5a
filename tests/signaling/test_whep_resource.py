"""Resources of WHEP: which publications they name, and which kinds an offer wants."""

import pytest

from sfu.errors import NotFound
from sfu.rooms.track_description import TrackDescription, TrackSource
from sfu.sdp.description import SessionDescription, parse
from sfu.signaling.whep_resource import MIX, PARTICIPANT, NotLive, WhepResource, wanted
from tests.rooms.fakes import RoomsFixture
from tests.support.media_source import FakeSource


@pytest.mark.parametrize(
    ("resource", "sources"),
    [
        (WhepResource("standup"), MIX),
        (WhepResource("standup", "ada"), PARTICIPANT),
        (WhepResource("standup", "ada", "camera"), {"video": "camera"}),
        (WhepResource("standup", "ada", "screen_share_audio"), {"audio": "screen_share_audio"}),
    ],
)
def test_sources_of_a_resource(resource: WhepResource, sources: dict[str, str]) -> None:
    assert resource.sources == sources


@pytest.mark.parametrize("source", ["webcam", "Camera", "unknown source"])
def test_other_sources_are_not_found(source: str) -> None:
    with pytest.raises(NotFound, match="camera"):
        assert WhepResource("standup", "ada", source).sources


def publish(fixture: RoomsFixture, identity: str, *sources: TrackSource, hidden: bool = False) -> str:
    owner = fixture.join(identity, hidden=hidden, publish=True)
    for source in sources:
        kind = FakeSource("audio") if source in ("microphone", "screen_share_audio") else FakeSource("video")
        fixture.room.publications.publish(owner, kind, TrackDescription(source=source))
    return owner.id


def found(fixture: RoomsFixture, resource: WhepResource, mix: str = "") -> dict[str, str]:
    return {kind: each.description.source for kind, each in resource.find(fixture.room, mix).items()}


def test_a_participant_is_its_camera_and_microphone() -> None:
    fixture = RoomsFixture()
    publish(fixture, "ada", "screen_share", "microphone", "camera")
    assert found(fixture, WhepResource("standup", "ada")) == {"audio": "microphone", "video": "camera"}
    assert found(fixture, WhepResource("standup", "ada", "screen_share")) == {"video": "screen_share"}
    assert found(fixture, WhepResource("standup", "ada", "screen_share_audio")) == {}
    assert found(fixture, WhepResource("standup", "eve")) == {}


def test_the_mix_is_what_its_participant_publishes() -> None:
    fixture = RoomsFixture()
    mix = publish(fixture, "egress", "screen_share", "screen_share_audio")
    publish(fixture, "ada", "screen_share")
    assert found(fixture, WhepResource("standup"), mix) == {"audio": "screen_share_audio", "video": "screen_share"}
    assert found(fixture, WhepResource("standup")) == {}
    assert found(fixture, WhepResource("standup"), "PA_gone") == {}


def test_hidden_participants_cannot_be_watched() -> None:
    fixture = RoomsFixture()
    publish(fixture, "ada")
    publish(fixture, "spy", "camera", hidden=True)
    assert found(fixture, WhepResource("standup", "spy")) == {}


@pytest.mark.parametrize("resource", [WhepResource("standup"), WhepResource("standup", "ada")])
def test_a_resource_that_is_not_live_is_to_be_tried_again(resource: WhepResource) -> None:
    error = NotLive(resource.missing)
    assert (error.code, error.retry_after, error.http_status) == ("not_live", 2.0, 409)
    assert ("egress" in error.message) is (not resource.identity)


def offer(*sections: str) -> SessionDescription:
    text = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
    return parse(text + "".join(f"{section}\r\n" for section in sections))


@pytest.mark.parametrize(
    ("kind", "port", "direction", "kinds"),
    [
        ("video", 9, "recvonly", {"video"}),
        ("audio", 9, "sendrecv", {"audio"}),
        ("video", 9, "sendonly", set()),
        ("video", 9, "inactive", set()),
        ("video", 0, "recvonly", set()),
        ("application", 9, "recvonly", set()),
    ],
)
def test_kinds_that_an_offer_wants(kind: str, port: int, direction: str, kinds: set[str]) -> None:
    formats = "UDP/DTLS/SCTP webrtc-datachannel" if kind == "application" else "UDP/TLS/RTP/SAVPF 96"
    assert wanted(offer(f"m={kind} {port} {formats}\r\na=mid:0\r\na={direction}")) == kinds
