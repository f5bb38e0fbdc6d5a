"""The server's end of a transcoder process: starts it, feeds it, and replaces it when it exits or hangs."""

import asyncio
import logging
import time
from typing import Final, Protocol

import msgspec

from sfu.errors import MalformedPacket
from sfu.ingest.settings import Settings
from sfu.ingest.transcoding import (
    LENGTH,
    LIMIT,
    Audio,
    ConfigureAudio,
    ConfigureVideo,
    Failed,
    Picture,
    Ready,
    RequestKeyframe,
    Sound,
    ToTranscoder,
    Video,
    decode_from_transcoder,
    encode,
)
from sfu.resources.worker_process import running_worker

log = logging.getLogger(__name__)

MODULE: Final = "sfu.ingest.transcoder_worker"
RESTART_DELAYS: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before the next start, by the number of consecutive short-lived processes. After the last one it gives up."""
MIN_HEALTHY_LIFETIME: Final = 10.0
START_TIMEOUT: Final = 60.0
"""Seconds that a process has to load its libraries on a busy machine."""
HANG_TIMEOUT: Final = 10.0
"""Seconds without output, while sound is sent to it, after which a process counts as hung."""
HANG_CHECK_INTERVAL: Final = 1.0
MAX_BACKLOG_BYTES: Final = 4_194_304
"""Maximum bytes queued for a process. Beyond it, media is dropped and counted."""


class TranscoderListener(Protocol):
    def sound_transcoded(self, sound: Sound) -> None: ...

    def picture_transcoded(self, picture: Picture) -> None:
        """Raises MalformedPacket."""

    def transcoder_lost(self, reason: str, *, final: bool) -> None:
        """`final`: no replacement follows."""


class Transcoder:
    """Call `start` once; `close` ends the process. All methods run on the event loop."""

    def __init__(self, name: str, listener: TranscoderListener, settings: Settings) -> None:
        """`name`: for logs."""
        self._name = name
        self._listener = listener
        self._settings = settings
        self._configuration: dict[type[ToTranscoder], ToTranscoder] = {}
        "Sent to each replacement first."
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._fed_since: float | None = None
        "Monotonic time since when the process owes an output; None: it owes none."
        self.pid = 0
        self.dropped = 0
        "Frames dropped because the process was too slow or not running."

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def close(self) -> asyncio.Task[None] | None:
        """Ends the process. Returns the task that does it, which may be awaited."""
        if self._task is not None:
            self._task.cancel()
        return self._task

    def configure(self, message: ConfigureAudio | ConfigureVideo) -> None:
        if self._configuration.get(type(message)) != message:
            self._configuration[type(message)] = message
            self._write(message)

    def send(self, message: Audio | Video | RequestKeyframe) -> None:
        writer = self._writer
        if writer is None or writer.transport.get_write_buffer_size() > MAX_BACKLOG_BYTES:
            self.dropped += 1
            return
        if isinstance(message, Audio) and self._fed_since is None:
            self._fed_since = time.monotonic()
        self._write(message)

    def _write(self, message: ToTranscoder) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode(message))

    async def _run(self) -> None:
        short_lived = 0
        while True:
            began = time.monotonic()
            try:
                reason = await self._run_process()
            except OSError as error:
                reason = f"The transcoder could not be started: {error.strerror}."
            short_lived = short_lived + 1 if time.monotonic() - began < MIN_HEALTHY_LIFETIME else 0
            final = short_lived >= len(RESTART_DELAYS)
            log.warning("transcoder lost", extra={"ingest": self._name, "reason": reason})
            self._listener.transcoder_lost(reason, final=final)
            if final:
                return
            await asyncio.sleep(RESTART_DELAYS[short_lived])

    async def _run_process(self) -> str:
        """Runs one process to its end. Returns the reason."""
        settings = self._settings
        async with running_worker(MODULE, str(settings.worker_memory), str(settings.worker_nice)) as worker:
            self.pid, self._writer = worker.pid, worker.writer
            self._fed_since = None
            try:
                for message in self._configuration.values():
                    self._write(message)
                return await self._listen(worker.reader)
            finally:
                self.pid, self._writer = 0, None

    async def _listen(self, reader: asyncio.StreamReader) -> str:
        reason = "The transcoder exited without an error message."
        watch: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(START_TIMEOUT) as deadline:
                while True:
                    (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                    if size > LIMIT:
                        return "The transcoder sent an invalid message."
                    message = decode_from_transcoder(await reader.readexactly(size))
                    if isinstance(message, Sound):
                        self._listener.sound_transcoded(message)
                    elif isinstance(message, Picture):
                        self._listener.picture_transcoded(message)
                    elif isinstance(message, Ready):
                        deadline.reschedule(None)
                        watch = watch or asyncio.create_task(self._watch(deadline))
                    elif isinstance(message, Failed):
                        reason = message.message
                    self._fed_since = None
        except TimeoutError:
            return "The transcoder hung."
        except (OSError, asyncio.IncompleteReadError):
            return reason
        except (msgspec.MsgspecError, MalformedPacket):
            return "The transcoder sent an invalid message."
        finally:
            if watch is not None:
                watch.cancel()

    async def _watch(self, deadline: asyncio.Timeout) -> None:
        """Makes `_listen` time out when the process owes an output for too long."""
        while self._fed_since is None or time.monotonic() - self._fed_since <= HANG_TIMEOUT:  # noqa: ASYNC110  # one check a second is cheaper than an event per frame
            await asyncio.sleep(HANG_CHECK_INTERVAL)
        deadline.reschedule(0.0)
