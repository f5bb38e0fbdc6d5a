"""Fakes of a session's ports: the socket and the media connections."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jsonschema import Draft202012Validator

from sfu.auth.grants import VideoGrants
from sfu.auth.tokens import Claims
from sfu.errors import BadRequest, NotAuthorized, RemoteError
from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.loop_budget import LoopBudget
from sfu.ids import TrackId
from sfu.rooms import Rooms
from sfu.rooms import Settings as RoomSettings
from sfu.rooms.media_stats import DownlinkStats, QualityLimitation, VideoStats
from sfu.rooms.ports import MediaSource, SubscriptionSettings
from sfu.sdp.answer import AcceptedOffer
from sfu.signaling.connection import Connection
from sfu.signaling.context import AccessControl, Context
from sfu.signaling.json_dialect import JsonDialect
from sfu.signaling.messages import TrackSpec
from sfu.signaling.outbox import Flusher
from sfu.signaling.ports import AnsweringSubscriber, PublisherListener, SubscriberListener, SubscriptionListener
from sfu.signaling.schema import PATH
from sfu.signaling.sessions import Sessions
from sfu.signaling.settings import Settings
from sfu.transport.reports import LinkReport, Negotiated
from tests.support.media_source import FakeSource

SCHEMA = json.loads(PATH.read_text())


class Validator:
    """Validates messages of one direction by the schema of their type. `anyOf` would try the schema of every type."""

    def __init__(self, union: str) -> None:
        self._any = self._validator(f"#/$defs/{union}")
        self._by_type = {
            name: self._validator(branch["$ref"])
            for branch in SCHEMA["$defs"][union]["anyOf"]
            for name in SCHEMA["$defs"][branch["$ref"].rpartition("/")[2]]["properties"]["type"]["enum"]
        }

    @staticmethod
    def _validator(reference: str) -> Draft202012Validator:
        return Draft202012Validator({**SCHEMA, "anyOf": [{"$ref": reference}]})

    def validate(self, message: Any) -> None:
        self._by_type.get(message.get("type"), self._any).validate(message)

    def is_valid(self, message: Any) -> bool:
        valid: bool = self._by_type.get(message.get("type"), self._any).is_valid(message)
        return valid


SERVER = Validator("ServerMessage")
CLIENT = Validator("ClientMessage")

GOOD_LINK = LinkReport(rtt=0.02, loss=0.0, silent_for=0.0, connected=True)


def offer_sdp(*kinds: str, fingerprint: str = "AA", inactive: tuple[str, ...] = ()) -> str:
    """An offer in miniature: mids are 0, 1, …"""
    digest = ":".join([fingerprint] * 32)
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", f"a=group:BUNDLE {' '.join(str(mid) for mid in range(len(kinds)))}"]
    lines += ["a=ice-ufrag:abcd", f"a=ice-pwd:{'x' * 24}", f"a=fingerprint:sha-256 {digest}", "a=setup:actpass"]
    for mid, kind in enumerate(kinds):
        direction = "inactive" if str(mid) in inactive else "sendonly"
        codec = "VP8/90000" if kind == "video" else "opus/48000/2"
        lines += [f"m={kind} 9 UDP/TLS/RTP/SAVPF 96", f"a=mid:{mid}", f"a={direction}", "a=rtcp-mux"]
        lines.append(f"a=rtpmap:96 {codec}")
    return "\r\n".join(lines) + "\r\n"


@dataclass(eq=False)
class FakePublisher:
    name: str
    listener: PublisherListener
    decision_log: DecisionLog
    limits: dict[str, QualityLimitation] = field(default_factory=dict)
    sources: dict[str, MediaSource] = field(default_factory=dict)
    sent: list[bytes | str] = field(default_factory=list)
    refusal: RemoteError | None = None
    "Error that refuses the next offers."
    link: LinkReport = GOOD_LINK
    remote_host: str = ""
    closed: bool = False

    def negotiate(self, offer: AcceptedOffer, tracks: list[TrackSpec]) -> Negotiated:
        if self.refusal is not None:
            raise self.refusal
        self.sources = {
            track.mid: self.sources.get(track.mid) or FakeSource(track.kind, track.codec.name) for track in offer.tracks
        }
        return Negotiated("v=0\r\n", dict(self.sources))

    def send_data(self, payload: bytes | str, *, reliable: bool) -> None:
        self.sent.append(payload)

    def quality_limitation_changed(self, mid: str, limitation: QualityLimitation) -> None:
        self.limits[mid] = limitation

    def report(self) -> LinkReport:
        return self.link

    def close(self) -> None:
        self.closed = True


@dataclass(eq=False)
class FakeSubscriber:
    established = sending_video = False
    name: str
    listener: SubscriberListener
    decision_log: DecisionLog
    its_path: DownlinkStats | None = None
    its_pictures: tuple[VideoStats, ...] = ()
    tracks: dict[TrackId, SubscriptionSettings] = field(default_factory=dict)
    offers: int = 0
    link: LinkReport = GOOD_LINK
    remote_host: str = ""
    closed: bool = False

    def subscribe(self, track: TrackId, source: MediaSource, settings: SubscriptionSettings) -> None:
        self.tracks[track] = settings
        self.restart()
        self.listener.subscription_changed(track, paused=False, reason="", layer="q", width=320, height=180)

    def update(self, track: TrackId, settings: SubscriptionSettings) -> None:
        self.tracks[track] = settings

    def unsubscribe(self, track: TrackId) -> None:
        del self.tracks[track]

    def restart(self) -> None:
        self.offers += 1
        self.listener.offer_made(self.offers, "v=0\r\n", {str(n): track for n, track in enumerate(self.tracks)})

    def accept_answer(self, offer_id: int, sdp: str) -> None:
        if offer_id != self.offers or not sdp.startswith("v=0"):
            raise BadRequest("The answer does not fit.")

    def report(self) -> LinkReport:
        return self.link

    def path(self) -> DownlinkStats | None:
        return self.its_path

    def video_stats(self) -> tuple[VideoStats, ...]:
        return self.its_pictures

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeEdge:
    publishers: list[FakePublisher] = field(default_factory=list)
    subscribers: list[FakeSubscriber] = field(default_factory=list)
    refusal: RemoteError | None = None
    "Error with which new publishers refuse offers."

    def open_publisher(
        self, name: str, listener: PublisherListener, decision_log: DecisionLog, budget: LoopBudget
    ) -> FakePublisher:
        self.publishers.append(FakePublisher(name, listener, decision_log, refusal=self.refusal))
        return self.publishers[-1]

    def open_subscriber(
        self, name: str, listener: SubscriberListener, decision_log: DecisionLog, budget: LoopBudget
    ) -> FakeSubscriber:
        self.subscribers.append(FakeSubscriber(name, listener, decision_log))
        return self.subscribers[-1]

    def open_answering_subscriber(
        self, name: str, listener: SubscriptionListener, decision_log: DecisionLog, budget: LoopBudget
    ) -> AnsweringSubscriber:
        raise NotImplementedError("WHEP is tested with real connections")

    def subscriber(self, name: str) -> FakeSubscriber:
        return next(one for one in reversed(self.subscribers) if one.name == name)


@dataclass(eq=False)
class FakeSocket:
    """Parses the messages that it gets and validates them by the schema."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    frames: int = 0
    waiting_bytes: int = 0
    "Bytes that wait for a client that does not read."
    close_code: int = 0

    def write(self, payload: bytes) -> int:
        if self.close_code:
            return 0
        self.frames += 1
        frame = json.loads(payload)
        for message in frame if isinstance(frame, list) else [frame]:
            SERVER.validate(message)
            self.messages.append(message)
        return self.waiting_bytes

    def close(self, code: int) -> None:
        self.close_code = self.close_code or code


def claims(identity: str, room: str = "standup", **grants: Any) -> Claims:
    grants = {"room_join": True} | grants
    video = VideoGrants(room=room, **grants)
    return Claims(issuer="key", identity=identity, video=video, expires_at=2e9, token_id=f"jti-{identity}")


def counting_ids() -> Callable[[str], str]:
    count = 0

    def make(prefix: str) -> str:
        nonlocal count
        count += 1
        return f"{prefix}_{count}"

    return make


class World:
    """A server without a network. Tokens are keys of `tokens`; any other `<identity>` opens the room `standup`."""

    def __init__(self, settings: Settings | None = None, rooms: RoomSettings | None = None) -> None:
        self.now = 1000.0
        self.tokens: dict[str, Claims] = {}
        self.revoked: list[str] = []
        self.endpoint = FakeEdge()
        ids = counting_ids()
        self.rooms = Rooms(rooms or RoomSettings(), ids, lambda: 1_767_225_600.0 + self.now)
        self.context = Context(
            settings=settings or Settings(coalesce=0),
            rooms=self.rooms,
            access=AccessControl(self.authenticate, lambda one: self.revoked.append(one.identity)),
            endpoint=self.endpoint,
            flusher=Flusher(0),
            now=lambda: self.now,
            ids=ids,
            secret=lambda: ids("secret"),
        )
        self.sessions = Sessions(self.context)
        self.dialect = JsonDialect()

    def authenticate(self, token: str) -> Claims:
        if not token or token == "bad":
            raise NotAuthorized("A token is required.", code="token_missing")
        return self.tokens.get(token) or claims(token, room_admin=token == "ada")

    def pass_time(self, seconds: float, wall: float = 0.0) -> None:
        self.now += seconds
        self.sessions.check(self.now, wall)

    def client(self, token: str = "") -> "Client":
        return Client(self, token)

    def join(self, identity: str, **fields: Any) -> "Client":
        """Joins; `take` returns the answers."""
        client = self.client()
        client.socket.messages = client.say("join", id=1, token=identity, **fields)
        return client


class Client:
    """One socket's client, by hand."""

    def __init__(self, world: World, token: str = "") -> None:
        self.world = world
        self.socket = FakeSocket()
        self.connection = Connection(world.sessions, self.socket, world.dialect, token)

    def say(self, type_: str, **fields: Any) -> list[dict[str, Any]]:
        """Sends a message that must be valid; what the server says at once."""
        message = {"type": type_, **fields}
        CLIENT.validate(message)
        return self.say_text(json.dumps(message))

    def say_text(self, text: str) -> list[dict[str, Any]]:
        self.take()
        self.connection.receive(text)
        return self.take()

    def take(self, type_: str = "") -> list[dict[str, Any]]:
        """Messages since the last call, after all clients' outboxes are flushed."""
        for session in self.world.sessions:
            session.outbox.flush()
        taken, self.socket.messages = self.socket.messages, []
        return [message for message in taken if not type_ or message["type"] == type_]

    def drop(self) -> None:
        """The socket breaks."""
        self.socket.close_code = 1006
        self.connection.closed()

    @property
    def id(self) -> str:
        session = self.connection.session
        assert session is not None
        assert session.participant is not None
        return session.participant.id
