"""Recordings of the mix: each has its own directory, written by `sfu.outputs.recorder` and finalized into one
fast-start file.

A short-lived process finalizes the file, because libavformat then reads files that may be truncated. After a server
crash, unfinished recordings are found and finalized at the next start.
"""

import asyncio
import logging
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sfu.egress import protocol
from sfu.egress.settings import S3
from sfu.outputs.disk_writer import number
from sfu.outputs.recorder import Recorder

log = logging.getLogger(__name__)

ABOUT = "about.json"
FINALIZE_NICE = "10"
"""Nice value of finalization, which is not urgent."""


@dataclass(frozen=True, slots=True)
class StoredRecording:
    """A recording as found on disk."""

    name: str
    directory: Path
    started_at: float
    recording: bool
    "Still being written or finalized."
    files: list[tuple[str, int]]
    "File names and sizes in bytes."


class RecordingManifest(msgspec.Struct, frozen=True):
    """Content of `about.json` in the recording's directory."""

    room: str
    egress_id: str
    started_at: float
    ended: bool = False


class Recording:
    """One recording of the mix, from `begin` to `finish`."""

    def __init__(self, directory: Path, room: str, egress_id: str) -> None:
        """`directory` must be new. No method except `finish` waits for the disk; write errors show in `problem`."""
        self._recorder = Recorder(directory, fresh=True)
        self.directory = directory
        self._recorder.disk.append(
            ABOUT, msgspec.json.encode(RecordingManifest(room, egress_id, time.time())), vital=True
        )

    @property
    def problem(self) -> str:
        """One sentence for participants while the recording cannot be written; otherwise empty."""
        state = self._recorder.snapshot().state
        if state == "full":
            return "The recording is interrupted: the disk is full."
        return "The recording is interrupted: the disk fails." if state == "failing" else ""

    def begin(self, init: bytes, epoch: float) -> None:
        """Starts the media of a new worker, whose mix time 0 is `epoch`."""
        self._recorder.begin(init, epoch)

    def add(self, part: protocol.Part) -> None:
        self._recorder.add(part.data, part.pts, independent=part.independent, duration=part.duration)

    def note(self, event: protocol.Event) -> None:
        self._recorder.note(event.kind, event.at, event.text, chapter=event.chapter, **event.fields)

    async def finish(self, s3: S3) -> None:
        """Writes what is buffered, finalizes the file and uploads it."""
        await asyncio.to_thread(self._recorder.close)
        await finalize(self.directory, s3)


def list_recordings(root: Path, room: str | None = None) -> list[StoredRecording]:
    """Recordings of a room, or of all rooms if None, newest first."""
    found = []
    for path in root.glob(f"*/{ABOUT}"):
        try:
            about = msgspec.json.decode(path.read_bytes(), type=RecordingManifest)
            files = [(one.name, one.stat().st_size) for one in sorted(path.parent.iterdir()) if one.name != ABOUT]
        except (OSError, msgspec.MsgspecError):
            continue
        if room is None or about.room == room:
            found.append(
                StoredRecording(path.parent.name, path.parent.absolute(), about.started_at, not about.ended, files)
            )
    return sorted(found, key=lambda one: one.started_at, reverse=True)


async def finalize(directory: Path, s3: S3) -> None:
    """Finalizes and uploads a recording in a separate process, which reads the storage settings from standard input to
    keep secrets out of its arguments.

    What fails stays unchanged and is tried again at the next start of the server.
    """
    process = await asyncio.create_subprocess_exec(
        "nice",
        "-n",
        FINALIZE_NICE,
        sys.executable,
        "-m",
        "sfu.egress.postprocess",
        str(directory),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(msgspec.json.encode(s3))
    if process.returncode:
        log.error(
            "recording not finished", extra={"recording": number(directory), "reason": output.decode(errors="replace")}
        )
        return
    await asyncio.to_thread(_mark_ended, directory / ABOUT)


def _mark_ended(path: Path) -> None:
    with suppress(OSError, msgspec.MsgspecError):
        about = msgspec.json.decode(path.read_bytes(), type=RecordingManifest)
        path.write_bytes(msgspec.json.encode(msgspec.structs.replace(about, ended=True)))
