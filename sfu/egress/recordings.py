"""A programme that is kept: a directory of its own for `sfu.outputs.recorder`, and afterwards one fast-start file.

The file is made by a short-lived process, because libavformat reads what may end anywhere. What a crash of the server left
is found and finished when it starts again.
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
NICE = "10"
"""Finishing a file is nobody's hurry."""


@dataclass(frozen=True, slots=True)
class StoredRecording:
    """One recording as its directory tells of it."""

    name: str
    directory: Path
    started_at: float
    recording: bool
    "Still being written, or made into one file."
    files: list[tuple[str, int]]
    "Names and bytes."


class RecordingManifest(msgspec.Struct, frozen=True):
    """What a recording's directory says of itself."""

    room: str
    egress_id: str
    started_at: float
    ended: bool = False


class Recording:
    """Of one programme, from `begin` to `finish`."""

    def __init__(self, directory: Path, room: str, egress_id: str) -> None:
        """`directory`: a new one. Nothing here waits for the disk; see `problem`."""
        self._recorder = Recorder(directory, fresh=True)
        self.directory = directory
        self._recorder.disk.append(
            ABOUT, msgspec.json.encode(RecordingManifest(room, egress_id, time.time())), vital=True
        )

    @property
    def problem(self) -> str:
        """One sentence for people, while it cannot be written; else empty."""
        state = self._recorder.snapshot().state
        if state == "full":
            return "The recording is interrupted: the disk is full."
        return "The recording is interrupted: the disk fails." if state == "failing" else ""

    def begin(self, init: bytes, epoch: float) -> None:
        """A (new) worker's media follow; its programme time 0 was at `epoch`."""
        self._recorder.begin(init, epoch)

    def add(self, part: protocol.Part) -> None:
        self._recorder.add(part.data, part.pts, independent=part.independent, duration=part.duration)

    def note(self, event: protocol.Event) -> None:
        self._recorder.note(event.kind, event.at, event.text, chapter=event.chapter, **event.fields)

    async def finish(self, s3: S3) -> None:
        """Writes what is left, makes one file of it, and copies it to where it should be."""
        await asyncio.to_thread(self._recorder.close)
        await finalize(self.directory, s3)


def list_recordings(root: Path, room: str | None = None) -> list[StoredRecording]:
    """Recordings of a room (None: of all), newest first."""
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
    """In a process of its own, which is told of the storage by its standard input: secrets are nobody else's to see.

    What it cannot do stays as it is, and is tried again when the server starts.
    """
    process = await asyncio.create_subprocess_exec(
        "nice",
        "-n",
        NICE,
        sys.executable,
        "-m",
        "sfu.egress.postprocess",
        str(directory),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate(msgspec.json.encode(s3))
    if process.returncode:
        log.error(
            "recording not finished", extra={"recording": number(directory), "reason": told.decode(errors="replace")}
        )
        return
    await asyncio.to_thread(_mark_ended, directory / ABOUT)


def _mark_ended(path: Path) -> None:
    with suppress(OSError, msgspec.MsgspecError):
        about = msgspec.json.decode(path.read_bytes(), type=RecordingManifest)
        path.write_bytes(msgspec.json.encode(msgspec.structs.replace(about, ended=True)))
