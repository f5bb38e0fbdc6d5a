"""RTMP(S) push: sends the encoded mix to any number of destinations, each with its own queue and thread.

A destination starts at a keyframe. A slow destination loses packets that do not fit its queue, up to the next keyframe.
A failed one is retried after 1, 2, 4 … 60 seconds, with jitter. Destinations do not affect each other. Stream keys
never appear in a log, an error or a status. Adobe's RTMP 1.0 is implemented in `sfu.rtmp`.
"""

import logging
import os
import random
import socket
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

from sfu.auth.public_addresses import is_public
from sfu.errors import BadRequest, MalformedPacket
from sfu.outputs.encoder import AUDIO_RATE, VIDEO_RATE, EncodedPacket
from sfu.rtmp import amf
from sfu.rtmp.client import PublishingSession, State
from sfu.rtmp.connection import AUDIO, VIDEO
from sfu.rtmp.flv import audio_body, video_body

log = logging.getLogger(__name__)

Status = Literal["connecting", "live", "waiting", "closed"]

QUEUE_LIMIT: Final = 4_000_000
"""Bytes per destination: eight seconds of the largest rendition."""
TIMEOUT: Final = 8.0
"""Seconds to connect, to wait for each response, and for the socket to accept any data."""
_MIN_RETRY_DELAY: Final = 1.0
_MAX_RETRY_DELAY: Final = 60.0
_STABLE_AFTER: Final = 30.0
"""Seconds of connection after which the retry delay starts again at its minimum."""
_SEND_SIZE: Final = 65_536
"""Bytes per `sendall`: each of them may take `TIMEOUT`, so a slow connection does not count as dead."""
_URL_LIMIT: Final = 1024
_PORTS: Final = {"rtmp": 1935, "rtmps": 443}


@dataclass(frozen=True, slots=True)
class RtmpTarget:
    """A validated RTMP URL."""

    scheme: str
    host: str
    port: int
    application: str
    key: str = field(repr=False)

    @property
    def address(self) -> str:
        """The URL without the key; may be shown and logged."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}/{self.application}"


def parse_rtmp_url(url: str) -> RtmpTarget:
    """Parses `rtmp(s)://host[:port]/application/key`. Raises BadRequest with a message that does not contain the URL."""
    if len(url) > _URL_LIMIT or not url.isascii() or not url.isprintable() or " " in url:
        raise BadRequest("the URL of an RTMP destination must be printable ASCII without spaces")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadRequest("the RTMP destination is not a valid URL") from None
    if parts.scheme not in _PORTS:
        raise BadRequest("the URL of an RTMP destination must begin with rtmp:// or rtmps://")
    if not parts.hostname or parts.username is not None or parts.fragment:
        raise BadRequest("the URL of an RTMP destination requires a host and must not have a user or a fragment")
    application, _, key = parts.path.lstrip("/").rpartition("/")
    if not application or not key:
        raise BadRequest("the URL of an RTMP destination must end with an application and a stream key")
    if parts.query:
        key = f"{key}?{parts.query}"
    return RtmpTarget(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], application, key)


@dataclass(frozen=True, slots=True)
class Stream:
    """Stream parameters: extradata of the encoders, and values for the metadata."""

    avcc: bytes
    aac: bytes
    width: int
    height: int
    video_bit_rate: int
    audio_bit_rate: int = 128_000
    fps: int = 30


@dataclass(frozen=True, slots=True)
class DestinationStatus:
    address: str
    "Without the key."
    status: Status
    error: str
    "Error of the last attempt; empty: none."
    attempts: int
    sent_bytes: int
    dropped: int
    "Packets dropped because the destination was too slow or not connected."
    live_for: float
    "Seconds since the connection started publishing; 0: not publishing."


class Destination:
    """Pushes to one destination. Any thread may call `push` and `snapshot`; neither blocks."""

    def __init__(self, target: RtmpTarget, stream: Stream, *, private: bool = False) -> None:
        """`private`: allow loopback and private addresses."""
        self.target = target
        self._stream = stream
        self._private = private
        self._condition = threading.Condition()
        self._queue: deque[tuple[int, EncodedPacket]] = deque()
        self._queued_bytes = 0
        self._closed = False
        self._skipping = True
        self._status: Status = "connecting"
        self._error = ""
        self._attempts = self._sent = self._dropped = 0
        self._live_since = 0.0
        self._thread = threading.Thread(target=self._run, name="rtmp", daemon=True)
        self._thread.start()

    def push(self, kind: int, packet: EncodedPacket) -> None:
        """`kind`: `VIDEO` or `AUDIO`."""
        with self._condition:
            fits = self._queued_bytes + len(packet.data) <= QUEUE_LIMIT
            if self._skipping and kind == VIDEO and packet.keyframe and self._status == "live":
                self._skipping = False
            if self._closed or self._skipping or not fits:
                self._dropped += 1
                self._skipping = True
                return
            self._queue.append((kind, packet))
            self._queued_bytes += len(packet.data)
            self._condition.notify()

    def snapshot(self) -> DestinationStatus:
        with self._condition:
            live_for = time.monotonic() - self._live_since if self._status == "live" else 0.0
            return DestinationStatus(
                self.target.address, self._status, self._error, self._attempts, self._sent, self._dropped, live_for
            )

    def close(self, timeout: float = 2.0) -> None:
        """Sends what is queued, within `timeout` seconds. Idempotent."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join(timeout)

    # -- sender thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._closed:
            with self._condition:
                self._status = "connecting"
                self._attempts += 1
            began = time.monotonic()
            try:
                self._connect_and_send()
                error = ""
            except (OSError, MalformedPacket, BadRequest) as problem:
                error = _error_text(problem).replace(self.target.key, "…")
            except Exception:
                log.exception("RTMP destination failed unexpectedly", extra={"address": self.target.address})
                error = "internal error"
            if self._closed:
                break
            failures = 1 if time.monotonic() - began > _STABLE_AFTER else failures + 1
            log.warning("RTMP destination lost", extra={"address": self.target.address, "error": error})
            with self._condition:
                self._status, self._error = "waiting", error
                self._drop_queue()
                delay = min(_MAX_RETRY_DELAY, _MIN_RETRY_DELAY * 2 ** min(failures - 1, 10)) * random.uniform(
                    0.75, 1.25
                )
                self._condition.wait_for(lambda: self._closed, delay)
        with self._condition:
            self._status = "closed"
            self._drop_queue()

    def _drop_queue(self) -> None:
        self._dropped += len(self._queue)
        self._queue.clear()
        self._queued_bytes = 0
        self._skipping = True

    def _connect_and_send(self) -> None:
        sock = self._connect()
        try:
            sock.settimeout(TIMEOUT)
            session = self._publish(sock)
            log.info("RTMP destination connected", extra={"address": self.target.address})
            with self._condition:
                self._status, self._error, self._live_since = "live", "", time.monotonic()
            self._send_packets(sock, session)
        finally:
            sock.close()

    def _connect(self) -> socket.socket:
        target = self.target
        addresses = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        if not self._private and not all(is_public(str(entry[4][0])) for entry in addresses):
            raise BadRequest("private address")
        problem: OSError = OSError("no address")
        for family, kind, protocol, _, address in addresses[:4]:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(TIMEOUT)
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if target.scheme == "rtmps":
                    return ssl.create_default_context().wrap_socket(sock, server_hostname=target.host)
                return sock
            except OSError as error:
                sock.close()
                problem = error
        raise problem

    def _publish(self, sock: socket.socket) -> PublishingSession:
        target, stream = self.target, self._stream
        session = PublishingSession(target.application, target.key, target.address, os.urandom(1528))
        deadline = time.monotonic() + 2 * TIMEOUT
        sock.sendall(session.data_to_send())
        while session.state is not State.PUBLISHING:
            if self._closed or time.monotonic() > deadline:
                raise TimeoutError("timed out")
            data = sock.recv(65_536)
            if not data:
                raise ConnectionResetError("closed by the server")
            session.receive_data(data)
            if session.state is State.REFUSED:
                raise BadRequest(session.refusal)
            sock.sendall(session.data_to_send())
        metadata: dict[str, amf.Value] = {
            "width": stream.width,
            "height": stream.height,
            "framerate": stream.fps,
            "videocodecid": 7,
            "videodatarate": stream.video_bit_rate / 1000,
            "audiocodecid": 10,
            "audiodatarate": stream.audio_bit_rate / 1000,
            "audiosamplerate": AUDIO_RATE,
            "stereo": True,
            "encoder": "aiosfu",
        }
        session.send_metadata(metadata)
        session.send_media(VIDEO, 0, video_body(stream.avcc, keyframe=True, header=True))
        session.send_media(AUDIO, 0, audio_body(stream.aac, header=True))
        return session

    def _send_packets(self, sock: socket.socket, session: PublishingSession) -> None:
        origin: float | None = None
        sock.settimeout(TIMEOUT)
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._queue or self._closed, 1.0)
                batch = list(self._queue)
                self._queue.clear()
                self._queued_bytes = 0
                closing = self._closed
            for kind, packet in batch:
                at = packet.pts / (VIDEO_RATE if kind == VIDEO else AUDIO_RATE)
                if origin is None:
                    origin = at
                if kind == AUDIO and at < origin:
                    continue  # belongs to pictures before the first keyframe
                body = video_body(packet.data, keyframe=packet.keyframe) if kind == VIDEO else audio_body(packet.data)
                session.send_media(kind, round((at - origin) * 1000), body)
            if closing:
                session.send_end()
            data = session.data_to_send()
            for start in range(0, len(data), _SEND_SIZE):
                chunk = data[start : start + _SEND_SIZE]
                sock.sendall(chunk)
                with self._condition:
                    self._sent += len(chunk)
            if closing:
                return
            self._listen(sock, session)

    def _listen(self, sock: socket.socket, session: PublishingSession) -> None:
        """Reads responses of the server without blocking."""
        sock.settimeout(0)
        try:
            data = sock.recv(65_536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        finally:
            sock.settimeout(TIMEOUT)
        if not data:
            raise ConnectionResetError("closed by the server")
        session.receive_data(data)
        if session.state is State.REFUSED:
            raise BadRequest(session.refusal)


class Push:
    """All destinations of a mix. Encoder threads call `push_video` and `push_audio`, which never block on the network."""

    def __init__(self, stream: Stream, *, private: bool = False) -> None:
        self._stream = stream
        self._private = private
        self._destinations: dict[str, Destination] = {}

    def open(self, name: str, url: str) -> None:
        """Starts a push. A destination with the same name is closed first. Raises BadRequest for an invalid URL."""
        target = parse_rtmp_url(url)
        self.close(name)
        self._destinations = {**self._destinations, name: Destination(target, self._stream, private=self._private)}

    def close(self, name: str) -> None:
        """Idempotent."""
        if (found := self._destinations.get(name)) is not None:
            self._destinations = {key: value for key, value in self._destinations.items() if key != name}
            found.close()

    def close_all(self) -> None:
        for name in list(self._destinations):
            self.close(name)

    def push_video(self, packet: EncodedPacket) -> None:
        for destination in self._destinations.values():
            destination.push(VIDEO, packet)

    def push_audio(self, packet: EncodedPacket) -> None:
        for destination in self._destinations.values():
            destination.push(AUDIO, packet)

    def snapshot(self) -> dict[str, DestinationStatus]:
        return {name: destination.snapshot() for name, destination in self._destinations.items()}


def _error_text(problem: Exception) -> str:
    """Error text from this package or the operating system; never contains addresses or keys."""
    if isinstance(problem, BadRequest):
        return problem.message
    if isinstance(problem, ssl.SSLCertVerificationError):
        return "certificate not trusted"
    if isinstance(problem, TimeoutError):
        return "timed out"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return str(problem)[:100] or type(problem).__name__
