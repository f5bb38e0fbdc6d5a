"""All stream keys and cameras of a server, and the streams that use them now. Implements the API's IngestPort."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sfu.errors import AtCapacity, RemoteError
from sfu.ingest.pull_store import PullStore, StoredPull
from sfu.ingest.reports import IngressObserver, IngressReports
from sfu.ingest.rtsp_pull import RtspPull
from sfu.ingest.rtsp_relay import tls_context
from sfu.ingest.rtsp_url import parse
from sfu.ingest.settings import Settings
from sfu.ingest.status import IngestStatus
from sfu.ingest.stream import IngestProtocol, IngestStream
from sfu.ingest.stream_keys import StreamKey, StreamKeys
from sfu.rooms.registry import Rooms
from sfu.transport.webrtc_server import WebRtcServer

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

TIMER_INTERVAL: Final = 1.0
NO_CAMERA_LEFT: Final = "This server cannot take another camera."


@dataclass(frozen=True, slots=True)
class IngestSnapshot:
    """State and counters for metrics."""

    states: Mapping[str, int] = field(default_factory=dict)
    received_bytes: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class IngestCounters:
    """Counters since the start."""

    received_bytes: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    "Refused connections by reason."


class Ingests:
    """Call `resume_pulls` once and `run` as a task. All methods run on the event loop, except `save`."""

    def __init__(
        self,
        settings: Settings,
        rooms: Rooms,
        webrtc_server: WebRtcServer,
        admit: Callable[[str], None],
        observer: IngressObserver | None = None,
    ) -> None:
        """`admit(room)` raises AtCapacity if the node accepts no more participants. Raises ConfigurationError."""
        self.settings = settings
        self.counters = IngestCounters()
        self.keys = StreamKeys(Path(settings.keys_file) if settings.keys_file else None, settings.max_keys)
        self._pull_store = PullStore(Path(settings.pulls_file) if settings.pulls_file else None)
        if settings.rtsp_ca:
            tls_context(settings.rtsp_ca)
        self._rooms = rooms
        self._webrtc_server = webrtc_server
        self._admit = admit
        self._streams: dict[str, IngestStream] = {}
        self._pulls: dict[str, RtspPull] = {}
        self._problems: dict[str, str] = {}
        self._reports = IngressReports(observer)
        self._failed: set[str] = set()
        "Ids of keys and cameras with a failure that is not reported yet."
        self._ending: set[asyncio.Task[None]] = set()

    def resume_pulls(self) -> None:
        """Call it once. Resumes the cameras of an earlier process."""
        for stored in self._pull_store.list():
            key = self.keys.restore(stored.id, stored.room, stored.identity, stored.name, stored.created_at)
            # An address that is private by now is refused when it connects.
            pull = self._pulls[key.id] = RtspPull(key, parse(stored.url, private=True), self.settings, self)
            if len(self._pulls) <= self.settings.max_streams:
                pull.start()
            else:
                self.pull_failed(key, NO_CAMERA_LEFT)

    async def run(self) -> None:
        """Ends streams whose encoder stays away, and reports changes, at most one a second for each, until cancelled."""
        while True:
            await asyncio.sleep(TIMER_INTERVAL)
            now = time.monotonic()
            for stream in list(self._streams.values()):
                stream.handle_timer(now)
            self._report_changes()

    async def close(self) -> None:
        """Ends all streams and waits for their transcoders."""
        for pull in self._pulls.values():
            self._await_end(pull.close())
        self._pulls.clear()
        for stream in list(self._streams.values()):
            stream.close()
        if self._ending:
            await asyncio.wait(self._ending)

    # -- keys -------------------------------------------------------------------------------------------------------

    def create(self, room: str, identity: str, name: str, *, temporary: bool = False) -> tuple[IngestStatus, str]:
        """Returns the new key's status and the key itself. Call `save` afterwards. Raises AtCapacity or BadRequest."""
        key, secret = self.keys.create(room, identity, name, temporary=temporary)
        status = self._status(key)
        self._reports.created(status)
        return status, secret

    def create_pull(self, room: str, identity: str, name: str, url: str) -> IngestStatus:
        """Pulls a camera into a room, until `revoke`. Call `save` afterwards. Raises AtCapacity or BadRequest."""
        target = parse(url, private=self.settings.private)
        if len(self._pulls) >= self.settings.max_streams:
            raise AtCapacity(NO_CAMERA_LEFT)
        key, _ = self.keys.create(room, identity, name, temporary=True)
        pull = self._pulls[key.id] = RtspPull(key, target, self.settings, self)
        pull.start()
        self._pull_store.add(StoredPull(key.id, room, identity, name, key.created_at, target.secret))
        status = self._status(key)
        self._reports.created(status)
        return status

    def revoke(self, room: str, identifier: str) -> None:
        """Revokes a key or removes a camera, and ends its stream. Call `save` afterwards. Raises NotFound."""
        key = self.keys.revoke(identifier, room)
        self._problems.pop(key.id, None)
        pull = self._pulls.pop(key.id, None)
        if pull is not None:
            self._pull_store.remove(key.id)
            self._await_end(pull.close())
        stream = self._streams.get(key.id)
        if stream is not None:
            stream.close()
        self._failed.discard(key.id)
        self._reports.deleted(self._status(key))

    def save(self) -> None:
        """Stores the keys and the cameras. Blocks; may run in another thread. Raises AtCapacity."""
        try:
            self.keys.save()
            self._pull_store.save()
        except OSError as error:
            log.error("ingest not stored", extra={"reason": error.strerror or str(error)})
            raise AtCapacity("The change could not be stored; see the server's log.") from None

    def list(self, room: str = "") -> "Sequence[IngestStatus]":
        """All keys, or those of a room."""
        return [self._status(key) for key in self.keys.list(room)]

    def states(self) -> Counter[str]:
        """Number of keys by state."""
        return Counter(status.state for status in self.list())

    def snapshot(self) -> IngestSnapshot:
        return IngestSnapshot(self.states(), self.counters.received_bytes, self.counters.refused)

    # -- streams ----------------------------------------------------------------------------------------------------

    def open(self, key: StreamKey) -> IngestStream:
        """The stream of a key, which joins its room unless it is there already. Raises RemoteError."""
        stream = self._streams.get(key.id)
        if stream is not None:
            self._problems.pop(key.id, None)
            return stream
        try:
            if len(self._streams) >= self.settings.max_streams:
                raise AtCapacity("This server cannot take another stream.")
            self._admit(key.room)
            protocol: IngestProtocol = "rtsp" if key.id in self._pulls else "rtmp"
            stream = IngestStream(key, protocol, self._rooms, self._webrtc_server, self.settings, self._ended)
        except RemoteError as error:
            self.fail(key, error.message)
            raise
        self._streams[key.id] = stream
        self._problems.pop(key.id, None)
        self._reports.started(self._status(key))
        log.info("ingest started", extra={"ingest": key.id})
        return stream

    def fail(self, key: StreamKey, reason: str) -> None:
        """Records why the stream of a key failed; the stream ends. Shown until the next one begins."""
        if self.keys_contain(key):
            self._problems[key.id] = reason
            self._failed.add(key.id)
        stream = self._streams.get(key.id)
        if stream is not None:
            stream.close()

    def pull_failed(self, key: StreamKey, reason: str) -> None:
        """Records why a camera is away. Its stream stays for the reconnect timeout."""
        if key.id in self._pulls:
            self._problems[key.id] = reason
            self._failed.add(key.id)

    def count_received(self, size: int) -> None:
        self.counters.received_bytes += size

    def keys_contain(self, key: StreamKey) -> bool:
        return any(one.id == key.id for one in self.keys.list(key.room))

    def _ended(self, stream: IngestStream) -> None:
        self._streams.pop(stream.key.id, None)
        log.info("ingest ended", extra={"ingest": stream.key.id})
        self._reports.ended(self._status(stream.key), stream.room.id)
        self._await_end(stream.transcoder_task)

    def _report_changes(self) -> None:
        changed = [stream.key for stream in self._streams.values()]
        failed, self._failed = self._failed, set()
        if failed:
            changed += [key for key in self.keys.list() if key.id in failed and key.id not in self._streams]
        for key in changed:
            self._reports.updated(self._status(key))

    def _await_end(self, task: asyncio.Task[None] | None) -> None:
        if task is not None:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _status(self, key: StreamKey) -> IngestStatus:
        stream = self._streams.get(key.id)
        problem = self._problems.get(key.id, "")
        pull = self._pulls.get(key.id)
        url = pull.url.label if pull is not None else ""
        if stream is None or (problem and stream.state != "live"):
            room_id = stream.room.id if stream is not None else ""
            return IngestStatus(key, "error" if problem else "waiting", problem, "", 0, 0, 0, url, room_id)
        (width, height), received = stream.size, stream.received_bytes
        return IngestStatus(
            key, stream.state, stream.warning, stream.codec, width, height, received, url, stream.room.id
        )
