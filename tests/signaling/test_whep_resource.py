"""Resources of WHEP: which publications they name, and which kinds an offer wants."""

import pytest

from sfu.errors import NotFound
from sfu.rooms.track_description import TrackDescription, TrackSource
from sfu.sdp.description import SessionDescription, parse
from sfu.signaling.whep_resource import MIX, PARTICIPANT, NotLive, WhepResource, wanted
from tests.rooms.fakes import House
from tests.support.media_source import FakeSource


@pytest.mark.parametrize(
    ("resource", "sources"),
    [
        (WhepResource("den"), MIX),
        (WhepResource("den", "ada"), PARTICIPANT),
        (WhepResource("den", "ada", "camera"), {"video": "camera"}),
        (WhepResource("den", "ada", "screen_share_audio"), {"audio": "screen_share_audio"}),
    ],
)
def test_sources_of_a_resource(resource: WhepResource, sources: dict[str, str]) -> None:
    assert resource.sources == sources


@pytest.mark.parametrize("source", ["webcam", "Camera", "unknown source"])
def test_other_sources_are_not_found(source: str) -> None:
    with pytest.raises(NotFound, match="camera"):
        assert WhepResource("den", "ada", source).sources


def publish(house: House, identity: str, *sources: TrackSource, hidden: bool = False) -> str:
    owner = house.seat(identity, hidden=hidden, publish=True)
    for source in sources:
        kind = FakeSource("audio") if source in ("microphone", "screen_share_audio") else FakeSource("video")
        house.room.publications.publish(owner, kind, TrackDescription(source=source))
    return owner.id


def found(house: House, resource: WhepResource, mix: str = "") -> dict[str, str]:
    return {kind: each.description.source for kind, each in resource.find(house.room, mix).items()}


def test_a_participant_is_its_camera_and_microphone() -> None:
    house = House()
    publish(house, "ada", "screen_share", "microphone", "camera")
    assert found(house, WhepResource("den", "ada")) == {"audio": "microphone", "video": "camera"}
    assert found(house, WhepResource("den", "ada", "screen_share")) == {"video": "screen_share"}
    assert found(house, WhepResource("den", "ada", "screen_share_audio")) == {}
    assert found(house, WhepResource("den", "eve")) == {}


def test_the_mix_is_what_its_participant_publishes() -> None:
    house = House()
    mix = publish(house, "egress", "screen_share", "screen_share_audio")
    publish(house, "ada", "screen_share")
    assert found(house, WhepResource("den"), mix) == {"audio": "screen_share_audio", "video": "screen_share"}
    assert found(house, WhepResource("den")) == {}
    assert found(house, WhepResource("den"), "PA_gone") == {}


def test_hidden_participants_cannot_be_watched() -> None:
    house = House()
    publish(house, "ada")
    publish(house, "spy", "camera", hidden=True)
    assert found(house, WhepResource("den", "spy")) == {}


@pytest.mark.parametrize("resource", [WhepResource("den"), WhepResource("den", "ada")])
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
