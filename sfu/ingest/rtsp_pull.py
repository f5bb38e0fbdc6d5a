"""Pulls the stream of one camera over RTSP: connects, runs a demuxer process, and reconnects with back-off."""

import asyncio
import logging
import os
import random
import socket
import ssl
import time
from typing import Final, Protocol

import msgspec

from sfu.errors import MalformedPacket, RemoteError
from sfu.forwarding.layers import Size
from sfu.ingest.demuxing import (
    AudioConfig,
    AudioPacket,
    FromDemuxer,
    Open,
    Opened,
    VideoConfig,
    VideoPacket,
    decode_from_demuxer,
    encode,
)
from sfu.ingest.rtsp_relay import Relay, connect, tls_context
from sfu.ingest.rtsp_url import RtspUrl
from sfu.ingest.settings import Settings
from sfu.ingest.stream import IngestStream
from sfu.ingest.stream_keys import StreamKey
from sfu.ingest.transcoding import LENGTH, LIMIT, Failed, Ready
from sfu.ingest.video import VideoFormat
from sfu.resources.worker_process import running_worker
from sfu.rtmp.flv import Tag, TagKind

log = logging.getLogger(__name__)

MODULE: Final = "sfu.ingest.rtsp_worker"
START_TIMEOUT: Final = 60.0
"""Seconds that a process has to load its libraries on a busy machine."""
EXIT_TIMEOUT: Final = 5.0
"""Seconds that a process has to state a reason after the camera ended the connection."""
FIRST_DELAY: Final = 1.0
MAX_DELAY: Final = 30.0
"""Seconds before the next attempt: doubles with each failure, up to the maximum."""
HEALTHY_LIFETIME: Final = 10.0
"""Seconds of media after which the delays begin again."""


class PullOwner(Protocol):
    """The part of Ingests that a pull needs."""

    def open(self, key: StreamKey) -> IngestStream:
        """Raises RemoteError."""

    def pull_failed(self, key: StreamKey, reason: str) -> None: ...

    def count_received(self, size: int) -> None: ...


class RtspPull:
    """Call `start` once; `close` ends it. All methods run on the event loop."""

    def __init__(self, key: StreamKey, url: RtspUrl, settings: Settings, owner: PullOwner) -> None:
        self.key = key
        self.url = url
        self._settings = settings
        self._owner = owner
        self._task: asyncio.Task[None] | None = None
        self._stream: IngestStream | None = None
        self._relay: Relay | None = None
        self._ended: asyncio.Event = asyncio.Event()
        self._end_reason = ""
        self._live_since: float | None = None
        self._newest = -1
        self.pid = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def close(self) -> asyncio.Task[None] | None:
        """Returns the task that ends the process, which may be awaited."""
        if self._task is not None:
            self._task.cancel()
        return self._task

    def disconnect(self, reason: str) -> None:
        """Called by the stream when it ends."""
        self._end_reason = reason
        self._ended.set()

    async def _run(self) -> None:
        delay = FIRST_DELAY
        while True:
            self._live_since = None
            try:
                reason = await self._pull()
            except (RemoteError, MalformedPacket) as error:
                reason = error.message if isinstance(error, RemoteError) else f"The camera sent invalid data: {error}."
            except TimeoutError:
                reason = "The camera does not answer."
            except socket.gaierror:
                reason = "The name of the camera cannot be resolved."
            except ssl.SSLCertVerificationError as error:
                reason = f"The camera's certificate is not valid: {error.verify_message}"
            except ssl.SSLError:
                reason = "The TLS handshake with the camera failed."
            except OSError as error:
                reason = f"The camera cannot be reached: {os.strerror(error.errno) if error.errno else 'no answer'}."
            except Exception:
                log.exception("RTSP pull failed", extra={"ingest": self.key.id})
                reason = "The server failed to pull the stream."
            log.warning("RTSP pull ended", extra={"ingest": self.key.id, "camera": self.url.label, "reason": reason})
            self._owner.pull_failed(self.key, reason)
            if self._live_since is not None and time.monotonic() - self._live_since >= HEALTHY_LIFETIME:
                delay = FIRST_DELAY
            await asyncio.sleep(delay * random.uniform(0.8, 1.0))
            delay = min(MAX_DELAY, 2 * delay)

    async def _pull(self) -> str:
        """One connection, to its end. Returns the reason."""
        ca, tls = self._settings.rtsp_ca, self.url.scheme == "rtsps"
        context = await asyncio.to_thread(tls_context, ca) if tls else None  # reads files
        camera = await connect(self.url, private=self._settings.private, tls=context)
        self._relay = relay = Relay(camera, self._settings.max_bit_rate, self._received)
        try:
            return await self._run_process(relay, await relay.open())
        finally:
            relay.close()
            stream, self._stream = self._stream, None
            if stream is not None:
                stream.detach(self.disconnect)

    async def _run_process(self, relay: Relay, port: int) -> str:
        settings = self._settings
        async with running_worker(MODULE, str(settings.worker_memory), str(settings.worker_nice)) as worker:
            self.pid = worker.pid
            try:
                worker.writer.write(encode(Open(url=self.url.through(port))))
                return await self._watch(relay, worker.reader)
            finally:
                self.pid = 0

    async def _watch(self, relay: Relay, reader: asyncio.StreamReader) -> str:
        """Runs until the camera, the process or the stream ends."""
        self._ended.clear()
        relaying = asyncio.create_task(relay.run())
        listening = asyncio.create_task(self._listen(reader))
        ending = asyncio.create_task(self._ended.wait())
        tasks = (relaying, listening, ending)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                return self._end_reason
            if relaying.done() and not relaying.cancelled():
                error = relaying.exception()
                if isinstance(error, RemoteError):
                    raise error
                await asyncio.wait((listening,), timeout=EXIT_TIMEOUT)
            return listening.result() if listening.done() else "The camera ended the connection."
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, reader: asyncio.StreamReader) -> str:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(START_TIMEOUT) as deadline:
                while True:
                    (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                    if size > LIMIT:
                        return "The demuxer sent an invalid message."
                    message = decode_from_demuxer(await reader.readexactly(size))
                    deadline.reschedule(loop.time() + self._settings.idle_timeout)
                    if isinstance(message, Failed):
                        return message.message
                    self._handle(message)
        except TimeoutError:
            return f"The camera sent nothing for {self._settings.idle_timeout:g} seconds."
        except asyncio.IncompleteReadError:
            return "The demuxer exited without an error message."
        except msgspec.MsgspecError:
            return "The demuxer sent an invalid message."

    def _handle(self, message: FromDemuxer) -> None:
        """Raises RemoteError and MalformedPacket."""
        if isinstance(message, Opened):
            self._play(message)
        stream = self._stream
        if stream is None or isinstance(message, Opened | Ready | Failed):
            return
        if isinstance(message, VideoConfig):
            tag = Tag(TagKind.HEADER, message.codec, message.config)
            stream.use_format(VideoFormat(tag, Size(message.width, message.height)))
        elif isinstance(message, AudioConfig):
            stream.receive_audio(Tag(TagKind.HEADER, message.codec, message.config), 0)
        elif isinstance(message, VideoPacket):
            # RTSP states presentation times only. The newest one so far serves as the decoding time.
            back = (self._newest - message.time) % (1 << 32) if self._newest >= 0 else 0
            if back >= 5000:
                back = 0
            self._newest = (message.time + back) % (1 << 32)
            codec = stream.codec
            stream.receive_video(Tag(TagKind.FRAME, codec, message.data, message.keyframe, -back), self._newest)
        elif isinstance(message, AudioPacket):
            stream.receive_audio(Tag(TagKind.FRAME, stream.audio_codec, message.data, True), message.time)

    def _play(self, message: Opened) -> None:
        if self._stream is not None:
            return
        assert self._relay is not None
        self._relay.playing = True
        self._newest = -1
        self._stream = self._owner.open(self.key)
        self._stream.attach(self.disconnect)
        self._live_since = time.monotonic()
        log.info(
            "camera connected",
            extra={"ingest": self.key.id, "camera": self.url.label, "ignored": ", ".join(message.ignored)},
        )

    def _received(self, size: int) -> None:
        self._owner.count_received(size)
        if self._stream is not None:
            self._stream.received_bytes += size
