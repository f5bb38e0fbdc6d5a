"""A participant of our own server: joins over the real signalling socket, publishes, subscribes.

sfu/signaling/PROTOCOL.md says how.
"""

import itertools
import secrets
import time

import jwt

from sfu.transport.dtls import Identity
from tests.bench import descriptions
from tests.bench.media import Encoding
from tests.bench.peer import LoadPeer
from tests.bench.reactor import Reactor
from tests.bench.websocket import Message, WebSocket

KEY, SECRET = "bench", "a secret of thirty-two bytes or more"


def token(room: str, identity: str) -> str:
    now = int(time.time())
    claims = {
        "iss": KEY, "sub": identity, "nbf": now - 5, "exp": now + 3600,
        "video": {"room": room, "roomJoin": True, "canPublish": True, "canSubscribe": True, "canPublishData": True},
    }  # fmt: skip
    return jwt.encode(claims, SECRET, algorithm="HS256")


class Participant:
    """Joins at once. `publisher` and `subscriber` are its connections, as far as it has them."""

    def __init__(
        self, reactor: Reactor, identity: Identity, port: int, room: str, name: str, *,
        subscribe: bool = True, sampled: bool = False,
    ) -> None:  # fmt: skip
        self._reactor = reactor
        self._identity = identity
        self._ids = itertools.count(1)
        self._replies: dict[int, Message] = {}
        self._sampled = sampled
        self.subscribes = subscribe
        self.publisher: LoadPeer | None = None
        self.subscriber: LoadPeer | None = None
        self.audio: Encoding | None = None
        self.video: list[Encoding] = []
        self.receiving = 0
        """Tracks in the newest offer."""
        self.ended = ""
        self._socket = WebSocket(reactor, port, "/ws", "sfu", self._received)
        self._request(
            {"type": "join", "token": token(room, name), "name": name, "auto_subscribe": subscribe, "client": "load"}
        )

    def _request(self, message: Message) -> Message:
        number = next(self._ids)
        self._socket.send({**message, "id": number})
        self._reactor.run_until(
            lambda: number in self._replies or self._socket.closed, 10, f"reply to {message['type']}"
        )
        reply = self._replies.pop(number, {"type": "error", "message": self.ended or "closed"})
        if reply["type"] == "error":
            raise RuntimeError(f"{message['type']}: {reply.get('message')}")
        return reply

    def _received(self, message: Message) -> None:
        kind = message["type"]
        if kind == "offer":
            self._offered(message)
        elif kind == "ping":
            self._socket.send({"type": "pong", "at": message["at"]})
        elif kind == "leave":
            self.ended = message.get("reason", "left")
        elif "id" in message:
            self._replies[message["id"]] = message

    def _offered(self, message: Message) -> None:
        if self.subscriber is None or (message.get("fresh") and self.subscriber.connected):
            self.subscriber = LoadPeer(self._reactor, self._identity, sampled=self._sampled)
        self.receiving = len(message["tracks"])
        self._socket.send(
            {
                "type": "answer",
                "id": message["id"],
                "sdp": descriptions.answer(message["sdp"], self.subscriber.local),
            }
        )
        self.subscriber.start(message["sdp"], offered=True)

    def receives(self, tracks: int) -> bool:
        """Whether that many tracks are offered and the connection for them is up."""
        return self.receiving == tracks and self.subscriber is not None and self.subscriber.connected

    def publish(self, rids: tuple[str, ...] = (), *, video: bool = True) -> None:
        """Audio and video, as `rids` if there are any; both wait for frames. Without `video` only sound is declared."""
        peer = self.publisher = LoadPeer(self._reactor, self._identity)
        ssrc = secrets.randbits(30) << 1
        self.audio = Encoding("audio", ssrc, "0", peer.counters)
        self.video = [
            Encoding("video", ssrc + 2 + 2 * index, "1", peer.counters, rid) for index, rid in enumerate(rids or ("",))
        ]
        peer.encodings = {encoding.ssrc: encoding for encoding in [self.audio, *self.video]}
        sdp = descriptions.offer(peer.local, ssrc, ssrc + 2, rids)
        heights = [360 >> len(rids) - 1 - index for index in range(len(rids))]
        layers = [{"rid": rid, "width": h * 16 // 9, "height": h} for rid, h in zip(rids, heights, strict=True)]
        reply = self._request(
            {
                "type": "publish",
                "sdp": sdp,
                "tracks": [
                    {"mid": "0", "source": "microphone"},
                    {"mid": "1", "source": "camera", "width": 640, "height": 360, "layers": layers},
                ][: 2 if video else 1],
            }
        )
        peer.start(reply["sdp"], offered=False)

    def leave(self) -> None:
        self._socket.send({"type": "leave"})
        self._socket.close()
        for peer in (self.publisher, self.subscriber):
            if peer is not None:
                peer.close()
