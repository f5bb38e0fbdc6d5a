"""Janus from the distribution's packages, doing the same work: its videoroom plugin over its WebSocket API.

Three settings, because it has no single best one: as packaged (a thread per connection), one event loop, and one event loop
with a libsrtp that is built on OpenSSL in place of the distribution's (built on NSS), lent from pylibsrtp by janus_srtp.c
where a C compiler is at hand.
"""

import itertools
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pylibsrtp._binding

from sfu.transport.dtls import Identity
from tests.bench import descriptions
from tests.bench.media import Encoding
from tests.bench.peer import LoadPeer
from tests.bench.reactor import Reactor
from tests.bench.servers import Process, free_port
from tests.bench.websocket import Message, WebSocket

PACKAGED, ONE_LOOP, OPENSSL = "Janus, as packaged", "Janus, one event loop", "Janus, one loop, OpenSSL"
SETTINGS = (PACKAGED, ONE_LOOP, OPENSSL)
KEEP_ALIVE = 20.0

_CORE = """
general: {{
    configs_folder = "{folder}"
    plugins_folder = "/usr/lib/{triplet}/janus/plugins"
    transports_folder = "/usr/lib/{triplet}/janus/transports"
    events_folder = "{folder}/none"
    loggers_folder = "{folder}/none"
    debug_level = 3
    {event_loops}
}}
media: {{ rtp_port_range = "20000-39999" }}
nat: {{
    ice_lite = true
    ice_consent_freshness = false
}}
plugins: {{ disable = "{plugins}" }}
transports: {{ disable = "{transports}" }}
"""
_WEBSOCKETS = (
    'general: {{ json = "plain" ws = true ws_port = {port} ws_ip = "127.0.0.1" wss = false ws_logging = 1 }}\n'
)


def installed() -> str | None:
    """Its version, or None."""
    program = shutil.which("janus")
    if program is None:
        return None
    found = subprocess.run([program, "--version"], capture_output=True, text=True)
    words = (found.stdout + found.stderr).partition("(")[2]
    return words.partition(")")[0] or "unknown"


def build_srtp(folder: str) -> str | None:
    """The path of the lent libsrtp's loader, or None without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    path = f"{folder}/janus_srtp.so"
    source = Path(__file__).with_name("janus_srtp.c")
    done = subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", path, str(source), "-ldl"], capture_output=True)
    return path if done.returncode == 0 else None


class Janus:
    """One Janus process with one of the SETTINGS. Raises RuntimeError when it cannot be run so."""

    def __init__(self, reactor: Reactor, identity: Identity, name: str) -> None:
        self._reactor, self._identity = reactor, identity
        self._folder = tempfile.TemporaryDirectory(prefix="bench-janus-")
        folder = self._folder.name
        library = next(Path("/usr/lib").glob("*/janus/plugins"), None)
        if library is None:
            raise RuntimeError("Janus's plugins are not where Debian has them")
        environment: dict[str, str] = {}
        if name == OPENSSL:
            lent = build_srtp(folder)
            if lent is None:
                raise RuntimeError("no C compiler for the lent libsrtp")
            environment = {"LD_PRELOAD": lent, "JANUS_SRTP": str(pylibsrtp._binding.__file__)}
        self.port = free_port()
        (Path(folder) / "janus.jcfg").write_text(
            _CORE.format(
                folder=folder,
                triplet=library.parts[3],
                event_loops="" if name == PACKAGED else "event_loops = 1",
                plugins=_others(library, "libjanus_videoroom.so"),
                transports=_others(library.parent / "transports", "libjanus_websockets.so"),
            )
        )
        (Path(folder) / "janus.transport.websockets.jcfg").write_text(_WEBSOCKETS.format(port=self.port))
        (Path(folder) / "janus.plugin.videoroom.jcfg").write_text("general: { }\n")
        self.process = Process(["janus", "-F", folder, "-o", "-L", f"{folder}/log"], environment)
        try:
            self.process.wait_for(self.port)
        except RuntimeError:
            self.stop()
            raise
        self._rooms: dict[str, int] = {}

    def member(self, room: str, name: str, *, publish: bool, subscribe: bool, sampled: bool = False) -> "JanusMember":
        number = self._rooms.get(room)
        if number is None:
            number = self._rooms[room] = len(self._rooms) + 1
            admin = JanusMember(self._reactor, self._identity, self.port, number, subscribes=False, sampled=False)
            admin.create()
            admin.leave()
        who = JanusMember(self._reactor, self._identity, self.port, number, subscribes=subscribe, sampled=sampled)
        if publish:
            who.publish()
            peer = who.publisher
            self._reactor.run_until(lambda: peer is not None and peer.connected and who.up > 0, 10, "publisher's DTLS")
        return who

    def settle(self, rooms: dict[str, list["JanusMember"]]) -> None:
        """Who subscribes takes all feeds of its room in one connection."""
        for members in rooms.values():
            for member in members:
                feeds = [other.feed for other in members if other is not member and other.publisher is not None]
                if feeds and member.subscribes and member.subscriber is None:
                    member.subscribe(feeds)

    def stop(self) -> None:
        self.process.stop()
        self._folder.cleanup()


def _others(folder: Path, kept: str) -> str:
    return ",".join(path.name for path in folder.glob("*.so") if path.name != kept)


class JanusMember:
    """One session of the WebSocket API, with a handle per connection."""

    def __init__(
        self, reactor: Reactor, identity: Identity, port: int, room: int, *, subscribes: bool, sampled: bool
    ) -> None:
        self._reactor, self._identity = reactor, identity
        self._room = room
        self._sampled = sampled
        self.subscribes = subscribes
        self._numbers = itertools.count(1)
        self._replies: dict[str, Message] = {}
        self.feed = 0
        self.up = 0
        """Connections that Janus reported as established."""
        self.publisher: LoadPeer | None = None
        self.subscriber: LoadPeer | None = None
        self.audio: Encoding | None = None
        self.video: list[Encoding] = []
        self._socket = WebSocket(reactor, port, "/", "janus-protocol", self._received)
        self._session = int(self._request({"janus": "create"})["data"]["id"])
        self._keep_alive()

    def _keep_alive(self) -> None:
        """Janus forgets sessions that are silent for a minute."""
        if not self._socket.closed:
            self._socket.send({"janus": "keepalive", "session_id": self._session, "transaction": "alive"})
            self._reactor.call_at(time.monotonic() + KEEP_ALIVE, self._keep_alive)

    def _received(self, message: Message) -> None:
        if message["janus"] == "webrtcup":
            self.up += 1
        elif message["janus"] != "ack" and "transaction" in message:
            self._replies[message["transaction"]] = message

    def _request(self, message: Message) -> Message:
        name = str(next(self._numbers))
        self._socket.send({**message, "transaction": name})
        what = message.get("body", message)
        self._reactor.run_until(lambda: name in self._replies or self._socket.closed, 15, f"Janus's reply to {what}")
        reply = self._replies.pop(name, {"janus": "error", "error": "closed"})
        data = reply.get("plugindata", {}).get("data", {})
        if reply["janus"] == "error" or "error" in data:
            raise RuntimeError(f"Janus: {reply.get('error') or data.get('error')}")
        return reply

    def _attach(self) -> int:
        request = {"janus": "attach", "plugin": "janus.plugin.videoroom", "session_id": self._session}
        return int(self._request(request)["data"]["id"])

    def _message(self, handle: int, body: Message, sdp: tuple[str, str] | None = None) -> Message:
        message: Message = {"janus": "message", "session_id": self._session, "handle_id": handle, "body": body}
        if sdp is not None:
            message["jsep"] = {"type": sdp[0], "sdp": sdp[1]}
        return self._request(message)

    def create(self) -> None:
        """The room, with everything on that has a price: feedback, levels; no cap on bit rates."""
        self._message(
            self._attach(),
            {
                "request": "create",
                "room": self._room,
                "publishers": 1000,
                "audiocodec": "opus",
                "videocodec": "vp8",
                "bitrate": 0,
                "audiolevel_ext": True,
                "audiolevel_event": False,
                "transport_wide_cc_ext": True,
                "notify_joining": False,
            },
        )

    def publish(self, rids: tuple[str, ...] = ()) -> None:
        peer = self.publisher = LoadPeer(self._reactor, self._identity)
        ssrc = secrets.randbits(30) << 1
        self.audio = Encoding("audio", ssrc, "0", peer.counters)
        self.video = [
            Encoding("video", ssrc + 2 + 2 * index, "1", peer.counters, rid) for index, rid in enumerate(rids or ("",))
        ]
        peer.encodings = {encoding.ssrc: encoding for encoding in [self.audio, *self.video]}
        reply = self._message(
            self._attach(),
            {"request": "joinandconfigure", "ptype": "publisher", "room": self._room, "display": "load"},
            ("offer", descriptions.offer(peer.local, ssrc, ssrc + 2, rids)),
        )
        self.feed = int(reply["plugindata"]["data"]["id"])
        peer.start(reply["jsep"]["sdp"], offered=False)

    def subscribe(self, feeds: list[int]) -> None:
        handle = self._attach()
        streams = [{"feed": feed} for feed in feeds]
        reply = self._message(
            handle, {"request": "join", "ptype": "subscriber", "room": self._room, "streams": streams}
        )
        sdp = reply["jsep"]["sdp"]
        peer = self.subscriber = LoadPeer(self._reactor, self._identity, sampled=self._sampled)
        self._message(handle, {"request": "start"}, ("answer", descriptions.answer(sdp, peer.local)))
        peer.start(sdp, offered=True)
        self._reactor.run_until(lambda: peer.connected, 10, "Janus's DTLS to a subscriber")

    def leave(self) -> None:
        if not self._socket.closed:
            self._socket.send({"janus": "destroy", "session_id": self._session, "transaction": "bye"})
        self._socket.close()
        for peer in (self.publisher, self.subscriber):
            if peer is not None:
                peer.close()
