"""Everybody's tracks on disk, as they come: the server's side of `sfu.egress.track_recorder`. One per room at most."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from sfu.egress import protocol
from sfu.egress.protocol import Status, ToServer
from sfu.egress.recorder_participant import Attendance
from sfu.egress.recordings import ABOUT, About, finalise
from sfu.egress.settings import Settings
from sfu.egress.supervisor import Supervisor
from sfu.outputs.disk import number
from sfu.rooms.room import Room
from sfu.transport.plain_transport import Feed

log = logging.getLogger(__name__)

MODULE = "sfu.egress.track_recorder"


class TrackKeeping:
    """The keeper's Listener. `ended` is called once, when the files are finished."""

    def __init__(
        self, room: Room, feed: Feed, settings: Settings, directory: Path, ended: Callable[["TrackKeeping"], None]
    ) -> None:
        """`directory`: a new one, made by other threads. Raises what `Room.enter` raises."""
        self.room = room
        self.directory = directory
        self.started_at = time.time()
        self.problem = ""
        self.frames = 0
        self.supervisor = Supervisor(number(directory), feed, self, settings, module=MODULE)
        self._feed = feed
        self._s3 = settings.s3
        self._ended = ended
        self.supervisor.tell(protocol.Keep(directory=str(directory.absolute())))
        secret = secrets.token_urlsafe(9)
        self._attendance = Attendance(room, feed, self.supervisor.tell, self.close, secret, everything=True)
        self.task = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        """Ends in good order. Idempotent."""
        self.supervisor.stop()

    # -- the keeper's Listener --------------------------------------------------------------------------------------

    def received(self, message: ToServer) -> None:
        if isinstance(message, Status):
            self.problem, self.frames = message.layout, message.decoded

    def lost(self, reason: str) -> None:
        self.problem = "The recording was interrupted and goes on in a moment."
        self.frames = 0

    def gave_up(self, reason: str) -> None:
        self.problem = f"The recording ended: its process died again and again. {reason}"

    async def _run(self) -> None:
        described = asyncio.create_task(asyncio.to_thread(self._describe))
        try:
            await self.supervisor.run()
        finally:
            self._attendance.close()
            self._feed.close()
            self._ended(self)
        await described
        await finalise(self.directory, self._s3)

    def _describe(self) -> None:
        """In a thread of its own: the disk may block. Without it the recording is not listed."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            (self.directory / ABOUT).write_bytes(msgspec.json.encode(About(self.room.name, "", self.started_at)))
        except OSError as error:
            log.error("recording not written", extra={"recording": number(self.directory), "reason": error.strerror})
