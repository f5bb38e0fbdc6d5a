"""Joined sessions: media, lobby, moderation, and what survives a dropped socket."""

from typing import Any

import pytest

from sfu.errors import AtCapacity
from sfu.rooms import Permissions
from sfu.rooms import Settings as RoomSettings
from sfu.signaling.settings import Settings
from sfu.transport.reports import LinkReport
from tests.sdp.samples import offer_case
from tests.signaling.fakes import Client, World, claims, offer_sdp
from tests.support.media_source import FakeSource


@pytest.fixture
async def world() -> World:
    return World()


def types(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


CAMERA: list[dict[str, Any]] = [
    {"mid": "0", "source": "microphone"},
    {"mid": "1", "source": "camera", "width": 1280, "height": 720},
]


def publish(client: Client, id_: int = 2, **changes: object) -> dict[str, str]:
    fields = {"sdp": offer_sdp("audio", "video"), "tracks": CAMERA} | changes
    [answer] = [message for message in client.say("publish", id=id_, **fields) if message["type"] == "answer"]
    tracks: dict[str, str] = answer.get("tracks", {})
    return tracks


async def test_publications_reach_the_others(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    bob.take()
    tracks = publish(ada)
    assert set(tracks) == {"0", "1"}
    messages = bob.take()
    assert types(messages) == [
        "track_published", "offer", "subscription", "track_published", "offer", "subscription",
    ]  # fmt: skip
    assert messages[0]["track"] == {"id": tracks["0"], "kind": "audio", "source": "microphone", "codec": "opus"}
    assert messages[1]["fresh"] is True
    assert set(messages[4]["tracks"].values()) == set(tracks.values())
    assert bob.say("answer", id=2, sdp="v=0") == []
    # A late joiner sees them in its snapshot and is offered them.
    [joined, *rest] = world.join("eve").take()
    assert [len(one.get("tracks", [])) for one in joined["participants"]] == [2, 0]
    assert types(rest) == ["offer", "subscription", "offer", "subscription"]


@pytest.mark.parametrize(
    ("id_", "sdp"),
    [(1, "v=0"), (9, "v=0"), (2, "nonsense")],
    ids=["an older offer", "no such offer", "does not fit"],
)
async def test_bad_answers(world: World, id_: int, sdp: str) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    publish(ada)
    [error] = bob.say("answer", id=id_, sdp=sdp)
    assert (error.get("id", -1), error["code"]) == (-1, "bad_answer")


async def test_a_second_offer_says_that_the_connection_is_known(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    publish(ada)
    bob.say("answer", id=2, sdp="v=0")
    [ok, offer] = sorted(bob.say("restart", id=5), key=lambda message: message["type"])
    assert "fresh" not in offer or ok["type"] == "offer"
    # The connection fails at the server's end: the next offer is of a new one.
    subscriber = world.endpoint.subscriber(bob.id)
    subscriber.listener.subscriber_lost()
    messages = bob.say("restart", id=6)
    assert types(messages) == ["offer", "subscription", "offer", "subscription", "ok"]
    assert all(message["fresh"] for message in messages if message["type"] == "offer")
    assert [message["id"] for message in messages if message["type"] == "offer"] == [4, 5]


REFUSED_OFFERS = [
    ({"sdp": "nonsense", "tracks": []}, {}, "bad_request"),
    ({"tracks": [{"mid": "0", "source": "camera"}]}, {}, "bad_request"),
    ({"tracks": [{"mid": "7", "source": "camera"}]}, {}, "bad_request"),
    ({"tracks": [{"mid": "0"}, {"mid": "0"}]}, {}, "bad_request"),
    ({"tracks": [{"mid": "0"}] * 30}, {}, "at_capacity"),
    ({}, {"can_publish": False}, "not_authorized"),
    ({}, {"can_publish_sources": ("microphone",)}, "not_authorized"),
    ({}, {"hidden": True}, "not_authorized"),
]


@pytest.mark.parametrize(("changes", "grants", "code"), REFUSED_OFFERS)
async def test_refused_offers_change_nothing(
    world: World, changes: dict[str, Any], grants: dict[str, Any], code: str
) -> None:
    world.tokens["carl"] = claims("carl", **grants)
    carl, bob = world.join("carl"), world.join("bob")
    bob.take()
    fields = {"sdp": offer_sdp("audio", "video"), "tracks": CAMERA} | changes
    [error] = carl.say("publish", id=2, **fields)
    assert (error["id"], error["code"]) == (2, code)
    assert bob.take() == []


REFUSED_LATER = [
    *REFUSED_OFFERS[:5],
    ({"tracks": [{"mid": "0"}, {"mid": "1"}, {"mid": "1"}]}, {}, "bad_request"),
    ({"sdp": "v=0\r\n", "tracks": [{"mid": "0"}]}, {}, "bad_request"),
    ({"sdp": offer_sdp("audio", "video").replace("a=rtcp-mux", "a=x")}, {}, "bad_request"),
    ({"sdp": offer_sdp("audio", "video").replace("a=ice-ufrag", "a=x")}, {}, "bad_request"),
    ({"sdp": offer_sdp("audio", "video") + "a=simulcast:send q\r\n"}, {}, "bad_request"),
    ({"tracks": [*CAMERA, {"mid": "2", "source": "screen_share"}]}, {}, "bad_request"),
]


@pytest.mark.parametrize("fingerprint", ["AA", "BB"])
@pytest.mark.parametrize(("changes", "_grants", "code"), REFUSED_LATER)
async def test_a_refused_change_leaves_what_is_published(
    world: World, changes: dict[str, Any], _grants: dict[str, Any], code: str, fingerprint: str
) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    first = publish(ada)
    bob.take()
    offer = changes.get("sdp", offer_sdp("audio", "video")).replace(":AA" * 31, f":{fingerprint}" * 31)
    [error] = ada.say("publish", id=3, **({"tracks": CAMERA} | changes | {"sdp": offer}))
    assert (error["id"], error["code"]) == (3, code)
    assert bob.take() == []
    assert [one.closed for one in world.endpoint.publishers] == [False]
    assert publish(ada, 4) == first


async def test_a_forbidden_source_leaves_what_is_published(world: World) -> None:
    world.tokens["carl"] = claims("carl", can_publish_sources=("microphone", "camera"))
    carl, bob = world.join("carl"), world.join("bob")
    first = publish(carl)
    bob.take()
    for fingerprint in ("AA", "BB"):
        offer = offer_sdp("audio", "video", "video", fingerprint=fingerprint)
        screen = {"mid": "2", "source": "screen_share"}
        assert [error["code"] for error in carl.say("publish", id=3, sdp=offer, tracks=[*CAMERA, screen])] == [
            "not_authorized"
        ]
    assert bob.take() == []
    assert publish(carl, 5) == first


@pytest.mark.parametrize("fingerprint", ["AA", "BB"])
async def test_an_offer_refused_by_the_media_edge_keeps_publications(world: World, fingerprint: str) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    first = publish(ada)
    bob.take()
    refusal = AtCapacity("Too many streams.", code="connection_exhausted")
    world.endpoint.publishers[0].refusal = world.endpoint.refusal = refusal
    offer = offer_sdp("audio", "video", fingerprint=fingerprint)
    assert [error["code"] for error in ada.say("publish", id=3, sdp=offer, tracks=CAMERA)] == ["connection_exhausted"]
    world.endpoint.publishers[0].refusal = world.endpoint.refusal = None
    assert bob.take() == []
    assert [one.closed for one in world.endpoint.publishers] == [False, True][: len(world.endpoint.publishers)]
    assert publish(ada, 4) == first
    assert publish(ada, 5, sdp=offer_sdp("audio", "video", fingerprint="CC"))


async def test_a_full_room_leaves_what_is_published() -> None:
    world = World(rooms=RoomSettings(max_tracks=16, max_room_tracks=3))
    ada, bob = world.join("ada"), world.join("bob")
    first = publish(ada)
    assert publish(bob, sdp=offer_sdp("audio"), tracks=CAMERA[:1])
    bob.take()
    offer = offer_sdp("audio", "video", "video")
    refused = ada.say("publish", id=3, sdp=offer, tracks=[*CAMERA, {"mid": "2", "source": "screen_share"}])
    assert [error["code"] for error in refused] == ["at_capacity"]
    assert bob.take() == []
    assert publish(ada, 4) == first


async def test_a_draining_server_keeps_what_is_published(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    first = publish(ada)
    world.context.draining = True
    assert [error["code"] for error in bob.say("publish", id=2, sdp=offer_sdp("audio"), tracks=[])] == ["draining"]
    assert [one.name for one in world.endpoint.publishers] == [ada.id]
    assert publish(ada, 3) == first


async def test_offers_of_16_cameras_and_many_candidates_fit_the_rate(world: World) -> None:
    """Cameras added one by one, each with all candidates of 34 networks trickled."""
    ada = world.join("ada")
    whole = offer_case("chromium-16-cameras")
    head, *sections = whole.split("\r\nm=")
    for number in range(1, 17):
        offer = "\r\nm=".join([head, *sections[: number + 1]])
        tracks = [{"mid": str(mid), "source": "camera"} for mid in range(1, number + 1)]
        [answer] = ada.say("publish", id=number + 1, sdp=offer + "\r\n" * (number < 17), tracks=tracks)
        assert answer["type"] == "answer", answer
        assert len(answer["tracks"]) == number
    for number in range(140):
        candidate = f"candidate:{number} 1 udp 2113937151 192.0.2.4 5000 typ host generation 0 ufrag abcd"
        assert ada.say("candidate", connection="publish", candidate=candidate, mid="0") == []
    assert types(ada.say("chat", id=99, text="still here"))[-1] == "ok"


async def test_a_later_offer_keeps_changes_and_ends_tracks(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    first = publish(ada)
    bob.take()
    again = publish(ada, 3, tracks=[CAMERA[0], CAMERA[1] | {"width": 640, "height": 360}])
    assert again == first
    assert [message["track"]["width"] for message in bob.take("track_published")] == [640]
    assert publish(ada, 4, sdp=offer_sdp("audio", "video", inactive=("1",)), tracks=[CAMERA[0]]) == {"0": first["0"]}
    [gone] = bob.take()
    assert (gone["type"], gone["track"]) == ("track_unpublished", first["1"])
    assert publish(ada, 5)["1"] != first["1"]
    assert types(ada.say("unpublish", id=6, track=first["0"])) == ["ok"]
    assert types(ada.say("unpublish", id=7, track=first["0"])) == ["error"]


async def test_another_certificate_is_another_connection(world: World) -> None:
    ada = world.join("ada")
    first = publish(ada)
    second = publish(ada, 3, sdp=offer_sdp("audio", "video", fingerprint="BB"))
    assert not set(first.values()) & set(second.values())
    assert [one.closed for one in world.endpoint.publishers] == [True, False]


async def test_a_lost_publishing_connection(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    tracks = publish(ada)
    ada.take()
    bob.take()
    world.endpoint.publishers[0].listener.publisher_lost()
    for client in (ada, bob):
        assert [message["track"] for message in client.take("track_unpublished")] == list(tracks.values())
    assert publish(ada, 3)


async def test_mute(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    track = publish(bob)["0"]
    source = world.endpoint.publishers[0].sources["0"]
    assert isinstance(source, FakeSource)
    ada.take()
    assert types(bob.say("mute", id=3, track=track, muted=True)) == ["ok"]
    assert source.muted
    [muted] = ada.take()
    assert (muted["type"], muted["muted"], "by" in muted) == ("track_muted", True, False)
    # An admin mutes others, but does not open their microphones.
    assert ada.say("mute", id=2, track=track, muted=False)[0]["code"] == "not_authorized"
    bob.say("mute", id=4, track=track, muted=False)
    assert not source.muted
    assert "ok" in types(ada.say("mute", id=3, track=track, muted=True))
    assert bob.take("track_muted")[0]["by"] == ada.id
    assert source.muted
    # Others do neither.
    eve = world.join("eve")
    assert eve.say("mute", id=2, track=track, muted=True)[0]["code"] == "not_authorized"
    assert eve.say("mute", id=3, track="TR_none", muted=True)[0]["code"] == "not_authorized"


async def test_subscription_settings(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob", auto_subscribe=False)
    tracks = publish(ada)
    camera = tracks["1"]
    subscriber = world.endpoint.subscriber(bob.id)
    assert subscriber.tracks == {}
    assert bob.say("subscribe", id=2, tracks=[{"track": camera, "width": 320}])[-1]["type"] == "ok"
    bob.say("subscribe", id=3, tracks=[{"track": camera, "priority": 9}, {"track": "TR_gone"}])
    settings = subscriber.tracks[camera]  # type: ignore[index]  # subscribed before
    assert (settings.width, settings.height, settings.priority, settings.paused) == (320, 0, 9, False)
    assert bob.say("subscribe", id=4, tracks=[{"track": "TR_gone"}])[0]["code"] == "not_found"
    assert types(bob.say("subscribe", id=5, tracks=[])) == ["ok"]
    assert types(bob.say("unsubscribe", id=6, tracks=[camera, "TR_gone"])) == ["ok"]
    assert subscriber.tracks == {}
    assert ada.say("subscribe", id=7, tracks=[{"track": camera}])[0]["code"] == "not_found"


async def test_without_the_permission_nothing_is_received(world: World) -> None:
    world.tokens["bob"] = claims("bob", can_subscribe=False, can_publish_data=False)
    ada, bob = world.join("ada"), world.join("bob")
    tracks = publish(ada)
    assert len(world.endpoint.subscribers) == 1
    for fields in (
        {"type_": "subscribe", "tracks": [{"track": tracks["1"]}]},
        {"type_": "restart"},
        {"type_": "chat", "text": "x"},
        {"type_": "data", "payload": "x"},
    ):
        assert bob.say(id=2, **fields)[-1]["code"] == "not_authorized"


async def test_hidden_participants_are_not_seen(world: World) -> None:
    world.tokens["rec"] = claims("rec", hidden=True, recorder=True)
    ada = world.join("ada")
    ada.take()
    recorder = world.join("rec")
    tracks = publish(ada)
    assert set(world.endpoint.subscriber(recorder.id).tracks) == set(tracks.values())
    assert ada.take() == []
    assert world.join("bob").take()[0]["participants"][0]["identity"] == "ada"
    assert ada.say("chat", id=8, text="psst", to=recorder.id)[0]["code"] == "not_found"
    recorder.say("leave")
    assert "participant_left" not in types(ada.take())


async def test_the_same_identity_again(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    old = ada.id
    bob.take()
    again = world.join("ada")
    assert [message["reason"] for message in ada.take("leave")] == ["duplicate_identity"]
    assert ada.socket.close_code == 1000
    assert types(bob.take()) == ["participant_left", "participant_joined"]
    assert again.id != old


async def test_lobby(world: World) -> None:
    ada = world.join("ada")
    assert "ok" in types(ada.say("room", id=2, lobby=True))
    bob = world.join("bob")
    assert bob.take() == [{"type": "waiting", "id": 1, "room": "standup"}]
    assert bob.say("chat", id=2, text="let me in")[0]["code"] == "conflict"
    [lobby] = ada.take()
    [waiting] = lobby["waiting"]
    assert (lobby["type"], waiting["identity"]) == ("lobby", "bob")
    assert types(ada.say("admit", id=3, participant=waiting["participant"])) == ["lobby", "participant_joined", "ok"]
    [joined] = bob.take()
    assert (joined["type"], joined["id"], joined["participant"]["id"]) == ("joined", 1, waiting["participant"])
    carl = world.join("carl")
    waiting_id = ada.take()[-1]["waiting"][0]["participant"]
    assert bob.say("deny", id=3, participant=waiting_id)[0]["code"] == "not_authorized"
    ada.say("deny", id=4, participant=waiting_id)
    assert carl.socket.messages[-1]["reason"] == "denied"
    assert ada.say("admit", id=5, participant=waiting_id)[0]["code"] == "not_found"
    dave = world.join("dave")
    dave.drop()
    assert ada.take()[-1]["waiting"] == []
    eve = world.join("eve")
    ada.say("room", id=6, lobby=False)
    assert types(eve.take()) == ["waiting", "joined"]


async def test_lock(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    ada.say("room", id=2, locked=True, metadata="private")
    assert bob.take("room_updated")[0]["room"]["metadata"] == "private"
    assert world.join("carl").take()[0]["code"] == "room_locked"
    assert world.join("bob").take()[0]["type"] == "joined"
    assert bob.say("room", id=3, locked=False) == []


async def test_kick_revokes(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    victim = bob.id
    assert bob.say("kick", id=2, participant=ada.id)[0]["code"] == "not_authorized"
    assert types(ada.say("kick", id=2, participant=victim, reason="spam")) == ["participant_left", "ok"]
    leave = bob.socket.messages[-1]
    assert (leave["type"], leave["reason"], leave.get("action", "disconnect")) == ("leave", "kicked", "disconnect")
    assert world.revoked == ["bob"]
    assert ada.say("kick", id=3, participant=victim)[0]["code"] == "not_found"


async def test_private_chat(world: World) -> None:
    ada, bob, eve = world.join("ada"), world.join("bob"), world.join("eve")
    for client in (bob, eve):
        client.take()
    ada.say("chat", id=2, text="hi", to=bob.id)
    assert types(bob.take()) == ["chat_message"]
    assert eve.take() == []
    assert world.join("carl").take()[0].get("chat", []) == []


async def test_data_to_some(world: World) -> None:
    ada, bob, eve = world.join("ada"), world.join("bob"), world.join("eve")
    for client in (ada, bob, eve):
        client.take()
    assert types(ada.say("data", id=2, topic="t", payload="p", to=[bob.id, "PA_gone"])) == ["ok"]
    assert [message["entry"]["payload"] for message in bob.take()] == ["p"]
    assert eve.take() == []
    assert ada.say("data", id=3, payload="p", to=["PA_gone"])[0]["code"] == "not_found"
    assert ada.say("data", id=4, payload="p", to=[bob.id], keep=True)[0]["code"] == "bad_request"


async def test_metadata(world: World) -> None:
    ada, bob = world.join("ada", attributes={"hand": "up"}), world.join("bob")
    bob.take()
    assert types(ada.say("metadata", id=2, name="A", attributes={"hand": "", "mood": "fine"})) == ["ok"]
    [updated] = bob.take()
    assert updated["participant"]["name"] == "A"
    assert updated["participant"]["attributes"] == {"mood": "fine"}
    for n in range(3, 8):
        replies = ada.say("metadata", id=n, attributes={f"{n}.{key}": "x" for key in range(25)})
    assert replies[0]["code"] == "bad_request"


async def test_permissions_changed_by_an_operator(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    tracks = publish(ada)
    bob.take()
    ada.take()
    world.rooms.set_permissions("standup", "ada", Permissions(publish=True, sources=("microphone",), subscribe=False))
    messages = ada.take()
    assert types(messages) == ["track_unpublished", "permissions", "participant_updated"]
    assert messages[0]["track"] == tracks["1"]
    assert messages[1]["permissions"]["sources"] == ["microphone"]
    assert types(bob.take()) == ["track_unpublished", "participant_updated"]


async def test_data_channels(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    publish(ada)
    publish(bob)
    one, two = world.endpoint.publishers
    one.listener.data_received('{"topic":"cursor","payload":{"x":  12}}', reliable=False)
    assert two.sent == [f'{{"from":"{ada.id}","topic":"cursor","payload":{{"x":  12}}}}']
    assert one.sent == []
    for junk in (b"\x00", "", "[]", '{"topic":1,"payload":2}', '{"topic":"x"}', "[" * 60_000, "x" * 70_000):
        one.listener.data_received(junk, reliable=True)
    assert len(two.sent) == 1
    assert world.context.counters.data_dropped == 7
    for _ in range(300):
        one.listener.data_received('{"payload":1}', reliable=True)
    assert len(two.sent) < 210


async def test_data_that_is_not_relayed_is_an_error_once_a_second(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    publish(ada)
    publish(bob)
    one, two = world.endpoint.publishers
    rows: list[tuple[str | bytes, str]] = [
        (f'{{"payload":"{"x" * 66_000}"}}', "data_too_large"),
        (f'{{"payload":"{"é" * 33_000}"}}', "data_too_large"),
        (b"binary", "bad_request"),
        ("[]", "bad_request"),
    ]
    for payload, code in rows:
        world.now += 2
        ada.take()
        for _ in range(3):
            one.listener.data_received(payload, reliable=True)
        errors = [message for message in ada.take() if message["type"] == "error"]
        assert [(error["code"], error.get("id")) for error in errors] == [(code, None)]
    world.now += 2
    one.listener.data_refused(262_060)
    (error,) = ada.take()
    assert error["code"] == "data_too_large"
    assert "262,060" in error["message"]
    assert two.sent == []


async def test_long_data_channel_messages_count_by_their_packets(world: World) -> None:
    """Each goes to all participants of the room: 200 a second of the greatest length would be 10,000 packets to each."""
    ada, bob = world.join("ada"), world.join("bob")
    publish(ada)
    publish(bob)
    one, two = world.endpoint.publishers
    longest = f'{{"payload":"{"x" * 60_000}"}}'
    ada.take()
    for _ in range(10):
        one.listener.data_received(longest, reliable=True)
    assert len(two.sent) == 6
    (error,) = [message for message in ada.take() if message["type"] == "error"]
    assert error["code"] == "rate_limited"
    for second in range(1, 11):
        world.now += 1
        for _ in range(10):
            one.listener.data_received(longest, reliable=True)
        assert len(two.sent) == 6 * (second + 1)
    world.now += 1
    before = len(two.sent)
    for _ in range(150):
        one.listener.data_received('{"payload":"short"}', reliable=True)
    assert len(two.sent) == before + 150


async def test_quality(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    for client in (ada, bob):
        client.take()
    world.endpoint.subscriber(bob.id).link = LinkReport(rtt=0.2, loss=0.1, silent_for=0, connected=True)
    world.rooms.observe_quality()
    [quality] = bob.take()
    assert quality["participants"] == {ada.id: "excellent", bob.id: "poor"}
    assert (quality["rtt_ms"], quality["loss"]) == (200.0, 0.1)
    ada.take()
    world.rooms.observe_quality()
    assert ada.take() == []


async def test_speakers(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    publish(ada)
    bob.take()
    source = world.endpoint.publishers[0].sources["0"]
    assert isinstance(source, FakeSource)
    source.level = 10
    for tick in range(10):
        world.rooms.observe_levels(tick / 10)
    speakers = bob.take("speakers")[-1]
    assert speakers["dominant"] == ada.id
    assert "n" not in speakers
    # A newcomer gets the speakers.
    assert world.join("eve").take("speakers")[0]["dominant"] == ada.id


# -- resume ---------------------------------------------------------------------------------------------------------


def resume(world: World, key: str, last: int, **fields: object) -> tuple[Client, list[dict[str, Any]]]:
    client = world.client()
    return client, client.say("join", id=20, resume=key, last=last, **fields)


async def test_resume_replays_what_was_missed(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    [joined, *_] = bob.take()
    publish(ada)
    seen = max(message.get("n", 0) for message in bob.take())
    bob.drop()
    ada.say("chat", id=5, text="anybody?")
    ada.say("data", id=6, payload="x")
    assert "participant_left" not in types(ada.take())
    again, messages = resume(world, joined["resume_key"], seen)
    assert types(messages) == ["joined", "chat_message", "data_message", "offer"]
    assert messages[0]["resumed"] is True
    assert messages[0]["n"] == seen
    assert messages[0]["participant"]["id"] == joined["participant"]["id"]
    assert again.id == joined["participant"]["id"]
    assert not world.endpoint.subscriber(again.id).closed
    assert types(again.say("answer", id=messages[-1]["id"], sdp="v=0")) == []


async def test_resume_after_too_much(world: World) -> None:
    world.context.settings = Settings(coalesce=0, replay_events=3)
    ada, bob = world.join("ada"), world.join("bob")
    publish(ada)
    [joined, *_] = bob.take()
    bob.drop()
    for n in range(5):
        ada.say("chat", id=n, text="x")
    _, messages = resume(world, joined["resume_key"], joined["n"])
    assert types(messages) == ["joined", "offer", "subscription", "subscription"]
    assert messages[0]["resumed"] is True
    assert messages[0]["n"] > joined["n"]
    assert len(messages[0]["chat"]) == 5


async def test_a_resume_takes_a_living_socket_over(world: World) -> None:
    bob = world.join("bob")
    [joined] = bob.take()
    again, messages = resume(world, joined["resume_key"], joined["n"])
    assert bob.socket.close_code == 4001
    assert messages[0]["resumed"] is True
    bob.connection.closed()
    bob.connection.receive('{"type": "leave"}')
    assert types(again.say("chat", id=3, text="me")) == ["chat_message", "ok"]


async def test_the_window_closes(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    [joined] = bob.take()
    bob.drop()
    world.pass_time(29)
    assert "participant_left" not in types(ada.take())
    world.pass_time(2)
    assert ada.take("participant_left")[0]["reason"] == "timeout"
    assert world.context.counters.timeouts == 1
    _, messages = resume(world, joined["resume_key"], 3, token="bob")
    assert messages[0]["type"] == "joined"
    assert "resumed" not in messages[0]


async def test_two_missed_pings_cut_the_socket_only(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    for client in (ada, bob):
        client.take()
    pings = 0
    for _ in range(66):
        world.pass_time(1)
        for ping in bob.take("ping"):
            pings += 1
            bob.say("pong", at=ping["at"])
    assert pings == 2
    assert bob.socket.close_code == 0
    assert types(ada.take()) == ["ping", "ping", "leave"]
    assert ada.socket.close_code == 4000
    assert len(world.sessions) == 2


async def test_a_session_may_end_with_its_token(world: World) -> None:
    world.context.settings = Settings(end_with_token=True)
    ada = world.join("ada")
    world.pass_time(10, wall=3e9)
    assert ada.socket.messages[-1]["reason"] == "token_expired"
    assert not world.sessions


async def test_a_client_that_does_not_read(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    bob.socket.waiting_bytes = 2_000_000
    ada.say("chat", id=2, text="x")
    assert bob.socket.close_code == 4002
    assert bob.socket.messages[-1]["reason"] == "slow_consumer"
    assert "participant_left" not in types(ada.take())
    assert world.context.counters.slow_consumers == 1


async def test_caps(world: World) -> None:
    world = World(rooms=RoomSettings(max_participants=2, max_rooms=1))
    world.tokens["elsewhere"] = claims("x", room="other")
    world.join("ada")
    world.join("bob")
    assert world.join("eve").take()[0]["code"] == "room_full"
    assert world.join("bob").take()[0]["type"] == "joined"
    assert world.join("elsewhere").take()[0]["code"] == "at_capacity"


async def test_rooms_that_no_token_may_create(world: World) -> None:
    world = World(rooms=RoomSettings(create_on_join=False))
    world.tokens["maker"] = claims("maker", room_create=True)
    assert world.join("bob").take()[0]["code"] == "not_found"
    assert world.join("maker").take()[0]["type"] == "joined"
    assert world.join("bob").take()[0]["type"] == "joined"
