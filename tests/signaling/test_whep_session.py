"""sfu.signaling.whep_session: a hidden viewer follows the publications of its resource.

The media connection is a fake; `test_whep` watches over real connections.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from msgspec import json

from sfu.auth.tokens import Claims
from sfu.errors import AtCapacity, BadRequest, Conflict, NotFound, RateLimited, RemoteError
from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.layers import Size
from sfu.forwarding.loop_budget import LoopBudget
from sfu.ids import TrackId
from sfu.rooms.media_stats import DownlinkStats, VideoStats
from sfu.rooms.participant import Participant
from sfu.rooms.ports import MediaSource, SubscriptionSettings
from sfu.rooms.publication import Publication
from sfu.rooms.quality import Link
from sfu.rooms.track_description import TrackDescription
from sfu.sdp.description import parse
from sfu.sdp.receive_offer import ReceiveOffer, accept_receive_offer
from sfu.signaling.http_session import Requester
from sfu.signaling.http_sessions import HttpSessions
from sfu.signaling.ports import SubscriptionListener
from sfu.signaling.whep_resource import NotLive, WhepResource
from sfu.signaling.whep_session import EVENTS, WhepSession
from sfu.signaling.whep_viewers import WhepViewers
from sfu.transport.published_track import PublishedTrack
from tests.rooms.fakes import FakeSink, profile
from tests.signaling.fakes import GOOD_LINK, FakeEdge, World, claims, offer_sdp
from tests.support.wire import Bench

CAMERA = WhepResource("standup", "ada")
ANSWER = "v=0\r\na=ice-ufrag:serv\r\na=ice-pwd:server-password-of-22-chars\r\n"
Kind = Literal["audio", "video"]


@dataclass(eq=False)
class FakeSubscriber:
    """An AnsweringSubscriber that records its calls."""

    listener: SubscriptionListener
    refusal: RemoteError | None = None
    established: bool = True
    closed: bool = False
    counter_offered: bool = False
    restarts: int = 0
    kinds: frozenset[Kind] = frozenset()
    tracks: dict[TrackId, SubscriptionSettings] = field(default_factory=dict)

    def answer(self, offer: ReceiveOffer, sources: Mapping[Kind, MediaSource | None]) -> str:
        if self.refusal is not None:
            raise self.refusal
        self.kinds = frozenset(sources)
        return ANSWER

    def offer(self, sources: Mapping[Kind, MediaSource]) -> str:
        self.kinds, self.counter_offered = frozenset(sources), True
        return ANSWER

    def accept_answer(self, sdp: str) -> None:
        if self.refusal is not None:
            raise self.refusal

    def restart_ice(self) -> str:
        self.restarts += 1
        return ANSWER.replace("serv", f"ser{self.restarts}")

    def mid(self, kind: Kind) -> str:
        return {"audio": "0", "video": "1"}[kind] if kind in self.kinds else ""

    def subscribe(self, track: TrackId, source: MediaSource, settings: SubscriptionSettings) -> None:
        self.tracks[track] = settings

    def update(self, track: TrackId, settings: SubscriptionSettings) -> None:
        self.tracks[track] = settings

    def unsubscribe(self, track: TrackId) -> None:
        del self.tracks[track]

    def report(self) -> Link:
        return GOOD_LINK

    def path(self) -> DownlinkStats | None:
        return None

    def video_stats(self) -> tuple[VideoStats, ...]:
        return ()

    def close(self) -> None:
        self.closed = True


class Edge(FakeEdge):
    """Opens FakeSubscribers."""

    answering: list[FakeSubscriber]

    def open_answering_subscriber(
        self, name: str, listener: SubscriptionListener, decision_log: DecisionLog, budget: LoopBudget
    ) -> FakeSubscriber:
        self.answering = [*getattr(self, "answering", []), FakeSubscriber(listener, self.refusal)]
        return self.answering[-1]


class Stand:
    """A room with a publisher `ada`, and viewers of it."""

    def __init__(self) -> None:
        self.world = World()
        self.edge = Edge()
        self.world.context.endpoint = self.edge
        self.sessions = HttpSessions(self.world.context)
        self.viewers = WhepViewers(2)
        self.bench = Bench()
        entry = self.world.rooms.join("standup", profile("ada", admin=True), FakeSink())
        assert isinstance(entry, Participant)
        self.ada = entry
        self.room = self.world.rooms.find("standup")

    def publish(self, *rids: str) -> Publication:
        track = PublishedTrack(self.bench.engine, self.bench.video(rids), "ada")
        track.declared = {rid: Size(320 << index, 180 << index) for index, rid in enumerate(rids)}
        return self.room.publications.publish(self.ada, track, TrackDescription(source="camera"))

    def session(self, resource: WhepResource = CAMERA, **options: Any) -> WhepSession:
        token: Claims = claims("eve", **options)
        requester = Requester.of(token, "token", "192.0.2.1")
        return WhepSession(self.world.context, self.sessions, requester, self.viewers, resource)

    def watch(self, **options: Any) -> tuple[WhepSession, FakeSubscriber]:
        session = self.session(**options)
        session.open(offer())
        return session, self.edge.answering[-1]


def offer(codec: str = "VP8") -> ReceiveOffer:
    sdp = offer_sdp("audio", "video").replace("sendonly", "recvonly").replace("VP8/90000", f"{codec}/90000")
    return accept_receive_offer(parse(sdp))


def events(session: WhepSession) -> dict[str, Any]:
    """The events that wait for the client, after one of each type was sent."""
    assert session.events is not None
    session.send_state()
    return {name: json.decode(data) for name, data in session.events._waiting.items()}


async def test_a_viewer_is_hidden_and_subscribes() -> None:
    stand = Stand()
    camera = stand.publish("q", "f")
    session, subscriber = stand.watch()
    assert [one.identity for one in stand.room.members.visible()] == ["ada"]
    assert list(subscriber.tracks) == [camera.id]
    assert (session.awaits_answer, session.connected, session.links()) == (False, True, (GOOD_LINK,))
    assert session.media_stats() is not None
    session.leave()
    assert (subscriber.closed, subscriber.tracks, len(stand.room.members)) == (True, {}, 1)
    assert (session.connected, session.links(), session.media_stats()) == (False, (), None)
    assert stand.viewers.count(session.resource) == 0


@pytest.mark.parametrize("resource", [WhepResource("other"), WhepResource("standup"), WhepResource("standup", "eve")])
async def test_a_resource_that_is_not_live_leaves_nothing(resource: WhepResource) -> None:
    stand = Stand()
    stand.publish()
    with pytest.raises(NotLive):
        stand.session(resource).open(offer())
    assert (len(stand.room.members), len(stand.sessions), len(stand.world.rooms)) == (1, 0, 1)


@pytest.mark.parametrize(("change", "code"), [({"locked": True}, "room_locked"), ({"lobby": True}, "lobby")])
async def test_lock_and_lobby_keep_viewers_out(change: dict[str, Any], code: str) -> None:
    stand = Stand()
    stand.publish()
    stand.room.moderation.update(stand.ada, **change)
    with pytest.raises(Conflict) as error:
        stand.watch()
    assert error.value.code == code
    for grant in ("room_admin", "hidden", "recorder"):
        session, _ = stand.watch(**{grant: True})
        session.leave()


async def test_a_refused_offer_takes_the_join_back() -> None:
    stand = Stand()
    stand.publish()
    stand.edge.refusal = AtCapacity("Full.")
    with pytest.raises(AtCapacity):
        stand.watch()
    assert stand.edge.answering[-1].closed
    assert (len(stand.room.members), len(stand.sessions)) == (1, 0)
    assert stand.viewers.count(WhepResource("standup", "ada")) == 0


async def test_viewers_of_a_token_are_bounded() -> None:
    stand = Stand()
    stand.publish()
    first, _ = stand.watch()
    stand.watch()
    with pytest.raises(RateLimited):
        stand.watch()
    first.leave()
    stand.watch()


async def test_a_new_publication_takes_the_place_of_the_old_one() -> None:
    stand = Stand()
    before = stand.publish("q", "f")
    session, subscriber = stand.watch()
    session.select_layer("", SubscriptionSettings(width=320, height=180))
    stand.room.publications.unpublish(before)
    after = stand.publish("q", "f")
    await asyncio.sleep(0)
    assert subscriber.tracks == {after.id: SubscriptionSettings(width=320, height=180)}


async def test_a_counter_offer_must_be_answered_first() -> None:
    stand = Stand()
    stand.publish()
    session = stand.session()
    session.open(offer("VP9"))
    subscriber = stand.edge.answering[-1]
    assert (session.awaits_answer, subscriber.counter_offered) == (True, True)
    with pytest.raises(Conflict) as error:
        session.restart_ice("new1", "y" * 24)
    assert error.value.code == "no_answer"
    subscriber.refusal = BadRequest("It does not fit.")
    with pytest.raises(BadRequest):
        session.accept_answer("v=0")
    assert session.awaits_answer
    subscriber.refusal = None
    session.accept_answer("v=0")
    assert not session.awaits_answer
    with pytest.raises(Conflict):
        session.accept_answer("v=0")


async def test_ice_restarts_once_per_credentials() -> None:
    stand = Stand()
    stand.publish()
    session, subscriber = stand.watch()
    etag = session.etag
    assert session.restart_ice("abcd", "x" * 24) == ""  # those of the offer
    fragment = session.restart_ice("new1", "y" * 24)
    assert "a=ice-ufrag:ser1" in fragment
    assert session.restart_ice("new1", "y" * 24) == fragment
    assert (subscriber.restarts, session.etag != etag) == (1, True)


async def test_layers_are_selected_by_rid_or_mid() -> None:
    stand = Stand()
    camera = stand.publish("q", "f")
    session, subscriber = stand.watch()
    settings = session.layer("q")
    assert settings == SubscriptionSettings(width=320, height=180)
    session.select_layer("1", settings)
    assert subscriber.tracks[camera.id] == settings
    with pytest.raises(BadRequest):
        session.layer("h")
    with pytest.raises(BadRequest):
        session.select_layer("0", settings)


async def test_events_state_activity_layers_and_viewers() -> None:
    stand = Stand()
    camera = stand.publish("q", "f")
    session, _ = stand.watch()
    session.open_events(EVENTS)
    layers = [{"id": "q", "width": 320, "height": 180}, {"id": "f", "width": 640, "height": 360}]
    assert events(session) == {
        "active": {},
        "layers": {"1": {"active": [], "inactive": layers}},  # none has sent a packet
        "viewercount": {"viewercount": 1},
    }
    stand.room.moderation.mute(stand.ada, camera.id, True)
    await asyncio.sleep(0)
    assert "inactive" in events(session)
    other, _ = stand.watch()
    assert (events(session))["viewercount"] == {"viewercount": 2}
    other.leave()
    assert (events(session))["viewercount"] == {"viewercount": 1}


async def test_a_second_event_stream_replaces_the_first() -> None:
    stand = Stand()
    stand.publish()
    session, _ = stand.watch()
    first, key = session.open_events(EVENTS), session.events_key
    assert session.open_events(("active",)) is not first
    assert session.events_key != key
    assert [chunk async for chunk in first.chunks()] == [b": open\n\n"]
    session.close_events()
    assert (session.events, session.events_key) == (None, "")


async def test_a_lost_connection_ends_the_session() -> None:
    stand = Stand()
    stand.publish()
    session, subscriber = stand.watch()
    subscriber.listener.subscriber_lost()
    assert (session.ended, len(stand.sessions), len(stand.room.members)) == (True, 0, 1)
    for call in (
        lambda: session.restart_ice("new1", "y" * 24),
        lambda: session.accept_answer("v=0"),
        lambda: session.select_layer("", SubscriptionSettings()),
    ):
        with pytest.raises(NotFound):
            call()
