"""Track recording of one room, in the server: the counterpart of `sfu.egress.track_recorder`. At most one per room."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from sfu.egress import protocol
from sfu.egress.protocol import Status, ToServer
from sfu.egress.recorder_participant import RecorderParticipant
from sfu.egress.recordings import ABOUT, RecordingManifest, finalize
from sfu.egress.settings import Settings
from sfu.egress.supervisor import Supervisor
from sfu.outputs.disk_writer import number
from sfu.rooms.room import Room
from sfu.transport.plain_transport import PlainTransport

log = logging.getLogger(__name__)

MODULE = "sfu.egress.track_recorder"


class TrackEgress:
    """The Listener of a track recorder. `ended` is called once, when recording has stopped, before the files are
    finalized.
    """

    def __init__(
        self,
        room: Room,
        plain_transport: PlainTransport,
        settings: Settings,
        directory: Path,
        ended: Callable[["TrackEgress"], None],
    ) -> None:
        """`directory` must be new; it is created in another thread. Raises what `Room.join` raises."""
        self.room = room
        self.directory = directory
        self.started_at = time.time()
        self.problem = ""
        self.frames = 0
        self.supervisor = Supervisor(number(directory), plain_transport, self, settings, module=MODULE)
        self._plain_transport = plain_transport
        self._s3 = settings.s3
        self._ended = ended
        self.supervisor.send(protocol.RecordTracks(directory=str(directory.absolute())))
        secret = secrets.token_urlsafe(9)
        self._recorder = RecorderParticipant(
            room, plain_transport, self.supervisor.send, self.close, secret, all_video=True
        )
        self.task = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        """Stops the recorder and flushes its files. Idempotent."""
        self.supervisor.stop()

    # -- the worker's Listener --------------------------------------------------------------------------------------

    def received(self, message: ToServer) -> None:
        if isinstance(message, Status):
            self.problem, self.frames = message.layout, message.decoded

    def lost(self, reason: str) -> None:
        self.problem = "The recording was interrupted and resumes in a moment."
        self.frames = 0

    def gave_up(self, reason: str) -> None:
        self.problem = f"The recording ended: its process failed repeatedly. {reason}"

    async def _run(self) -> None:
        manifest = asyncio.create_task(asyncio.to_thread(self._write_manifest))
        try:
            await self.supervisor.run()
        finally:
            self._recorder.close()
            self._plain_transport.close()
            self._ended(self)
        await manifest
        await finalize(self.directory, self._s3)

    def _write_manifest(self) -> None:
        """Creates the directory and its manifest in a thread, because the disk may block. Without the manifest, the
        recording is not listed.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            (self.directory / ABOUT).write_bytes(
                msgspec.json.encode(RecordingManifest(self.room.name, "", self.started_at))
            )
        except OSError as error:
            log.error("recording not written", extra={"recording": number(self.directory), "reason": error.strerror})
