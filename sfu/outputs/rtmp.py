"""RTMP(S) push: the programme's own packets to any number of destinations, each with a queue and a thread of its own.

A destination starts at a keyframe. One that is slow loses what does not fit its queue, up to the next keyframe; one that
is dead is tried again after 1, 2, 4 … 60 seconds, with jitter; the others never notice. Stream keys never reach a log, an
error or a status. Adobe's RTMP 1.0 under `sfu.outputs.rtmp_session`.
"""

import ipaddress
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

from sfu.errors import BadRequest, MalformedPacket
from sfu.outputs import amf
from sfu.outputs.encoder import AUDIO_RATE, VIDEO_RATE, EncodedPacket
from sfu.outputs.rtmp_session import AUDIO, VIDEO, PublishingSession, State, audio_body, video_body

log = logging.getLogger(__name__)

Status = Literal["connecting", "live", "waiting", "closed"]

QUEUE_LIMIT: Final = 4_000_000
"""Bytes: eight seconds of the highest rendition."""
TIMEOUT: Final = 8.0
"""Seconds for connecting, for each answer, and for the socket to take anything at all."""
_FIRST_DELAY: Final = 1.0
_LONGEST_DELAY: Final = 60.0
_STEADY: Final = 30.0
"""Seconds of life after which a failure counts as a first one again."""
_PIECE: Final = 65_536
"""Bytes, each of which pieces may take `TIMEOUT`: slow is not dead."""
_URL_LIMIT: Final = 1024
_EMBEDDING: Final = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::/96")))
"""NAT64 (RFC 6052 2.1), and the older way to write an IPv4 address as one of IPv6 (RFC 4291 2.5.5.1)."""
_PORTS: Final = {"rtmp": 1935, "rtmps": 443}


@dataclass(frozen=True, slots=True)
class RtmpTarget:
    """A checked RTMP URL."""

    scheme: str
    host: str
    port: int
    application: str
    key: str = field(repr=False)

    @property
    def address(self) -> str:
        """Without the key: may be shown and logged."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}/{self.application}"


def parse_rtmp_url(url: str) -> RtmpTarget:
    """`rtmp(s)://host[:port]/application/key`. Raises BadRequest, whose words do not repeat the URL."""
    if len(url) > _URL_LIMIT or not url.isascii() or not url.isprintable() or " " in url:
        raise BadRequest("an RTMP destination is a URL in plain letters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadRequest("the RTMP destination is not a URL") from None
    if parts.scheme not in _PORTS:
        raise BadRequest("an RTMP destination begins with rtmp:// or rtmps://")
    if not parts.hostname or parts.username is not None or parts.fragment:
        raise BadRequest("an RTMP destination names a host, no user and no fragment")
    application, _, key = parts.path.lstrip("/").rpartition("/")
    if not application or not key:
        raise BadRequest("an RTMP destination ends with an application and a stream key")
    if parts.query:
        key = f"{key}?{parts.query}"
    return RtmpTarget(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], application, key)


def is_public(address: str) -> bool:
    """Whether it is one host's of the open internet; of an IPv6 address that stands for one of IPv4, whether that is."""
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        if found.is_site_local or found.teredo:
            return False
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and any(found in prefix for prefix in _EMBEDDING):
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast and not found.is_reserved


@dataclass(frozen=True, slots=True)
class Stream:
    """What the packets are: the encoders' extradata and numbers for the metadata."""

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
    "Of the last attempt; empty if there was none."
    attempts: int
    sent_bytes: int
    dropped: int
    "Packets that it was too slow for, or that came while it was away."
    live_for: float
    "Seconds since this connection began to publish; 0 if it does not."


class Destination:
    """One destination. `push` and `snapshot` may be called by any thread and never wait."""

    def __init__(self, target: RtmpTarget, stream: Stream, *, private: bool = False) -> None:
        """`private`: whether addresses of this machine and its private networks may be reached."""
        self.target = target
        self._stream = stream
        self._private = private
        self._condition = threading.Condition()
        self._queue: deque[tuple[int, EncodedPacket]] = deque()
        self._held = 0
        self._closed = False
        self._skipping = True
        self._status: Status = "connecting"
        self._error = ""
        self._attempts = self._sent = self._dropped = 0
        self._live_since = 0.0
        self._thread = threading.Thread(target=self._run, name="rtmp", daemon=True)
        self._thread.start()

    def push(self, kind: int, packet: EncodedPacket) -> None:
        """`kind`: rtmp_session.VIDEO or AUDIO."""
        with self._condition:
            fits = self._held + len(packet.data) <= QUEUE_LIMIT
            if self._skipping and kind == VIDEO and packet.keyframe and self._status == "live":
                self._skipping = False
            if self._closed or self._skipping or not fits:
                self._dropped += 1
                self._skipping = True
                return
            self._queue.append((kind, packet))
            self._held += len(packet.data)
            self._condition.notify()

    def snapshot(self) -> DestinationStatus:
        with self._condition:
            live_for = time.monotonic() - self._live_since if self._status == "live" else 0.0
            return DestinationStatus(
                self.target.address, self._status, self._error, self._attempts, self._sent, self._dropped, live_for
            )

    def close(self, timeout: float = 2.0) -> None:
        """Sends what is queued if that takes no longer than `timeout`. Idempotent."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join(timeout)

    # -- its thread ---------------------------------------------------------------------------------------------------

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
                error = _words(problem).replace(self.target.key, "…")
            except Exception:
                log.exception("RTMP destination failed unexpectedly", extra={"address": self.target.address})
                error = "internal error"
            if self._closed:
                break
            failures = 1 if time.monotonic() - began > _STEADY else failures + 1
            log.warning("RTMP destination lost", extra={"address": self.target.address, "error": error})
            with self._condition:
                self._status, self._error = "waiting", error
                self._forget()
                delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** min(failures - 1, 10)) * random.uniform(0.75, 1.25)
                self._condition.wait_for(lambda: self._closed, delay)
        with self._condition:
            self._status = "closed"
            self._forget()

    def _forget(self) -> None:
        self._dropped += len(self._queue)
        self._queue.clear()
        self._held = 0
        self._skipping = True

    def _connect_and_send(self) -> None:
        sock = self._connect()
        try:
            sock.settimeout(TIMEOUT)
            session = self._publish(sock)
            log.info("RTMP destination accepts the stream", extra={"address": self.target.address})
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
                self._held = 0
                closing = self._closed
            for kind, packet in batch:
                at = packet.pts / (VIDEO_RATE if kind == VIDEO else AUDIO_RATE)
                if origin is None:
                    origin = at
                if kind == AUDIO and at < origin:
                    continue  # belongs to a picture before the first keyframe
                body = video_body(packet.data, keyframe=packet.keyframe) if kind == VIDEO else audio_body(packet.data)
                session.send_media(kind, round((at - origin) * 1000), body)
            if closing:
                session.send_end()
            data = session.data_to_send()
            for start in range(0, len(data), _PIECE):
                piece = data[start : start + _PIECE]
                sock.sendall(piece)
                with self._condition:
                    self._sent += len(piece)
            if closing:
                return
            self._listen(sock, session)

    def _listen(self, sock: socket.socket, session: PublishingSession) -> None:
        """Takes what the server says meanwhile, without waiting for it."""
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
    """All destinations of a programme. Packets come from its encoders' threads; nothing here waits for a network."""

    def __init__(self, stream: Stream, *, private: bool = False) -> None:
        self._stream = stream
        self._private = private
        self._destinations: dict[str, Destination] = {}

    def open(self, name: str, url: str) -> None:
        """Raises BadRequest if the URL is none. A destination of that name is closed first."""
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


def _words(problem: Exception) -> str:
    """Of our own or the operating system's; certificate errors included, addresses and keys not."""
    if isinstance(problem, BadRequest):
        return problem.message
    if isinstance(problem, ssl.SSLCertVerificationError):
        return "certificate not trusted"
    if isinstance(problem, TimeoutError):
        return "timed out"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return str(problem)[:100] or type(problem).__name__
