"""Reports egress jobs and recordings to an observer, such as the event stream: each state once."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from sfu.egress.job import EgressJob
from sfu.egress.recordings import ABOUT, RecordingManifest
from sfu.egress.track_egress import TrackEgress
from sfu.events.event import EgressChanged, EgressStatus, RecordingChanged
from sfu.outputs.disk_writer import number


class EgressObserver(Protocol):
    def __call__(self, change: EgressChanged | RecordingChanged, *, started: bool) -> None:
        """Queues and returns. `started`: the first report about the job or recording."""


class EgressReports:
    def __init__(self, observer: EgressObserver | None = None, clock: Callable[[], float] = time.time) -> None:
        self._observer = observer
        self._clock = clock
        self._last: dict[str, EgressChanged] = {}

    def job(self, job: EgressJob, *, ended: bool = False) -> None:
        spec = job.spec
        flags = (("live", spec.live), ("recording", spec.recording), ("track", spec.publish_to_room))
        outputs = [name for name, on in flags if on] + ["push"] * len(spec.destinations)
        status: EgressStatus = "EGRESS_ACTIVE" if job.active else "EGRESS_STARTING"
        if ended:
            status = "EGRESS_FAILED" if job.problem else "EGRESS_COMPLETE"
        elif job.closing:
            status = "EGRESS_ENDING"
        self._report(
            EgressChanged(
                id=job.id,
                room=job.room.name,
                room_id=job.room.id,
                status=status,
                started_at=job.started_at,
                ended_at=self._clock() if ended else 0.0,
                error=job.problem,
                outputs=tuple(outputs),
                layout=spec.layout,
            )
        )

    def tracks(self, egress: TrackEgress, *, ended: bool = False) -> None:
        status: EgressStatus = "EGRESS_ACTIVE"
        if ended:
            status = "EGRESS_FAILED" if egress.problem else "EGRESS_COMPLETE"
        self._report(
            EgressChanged(
                id=track_egress_id(egress),
                room=egress.room.name,
                room_id=egress.room.id,
                status=status,
                started_at=egress.started_at,
                ended_at=self._clock() if ended else 0.0,
                error=egress.problem,
                outputs=("tracks",),
            )
        )

    def recording_started(self, directory: Path, room: str, egress_id: str) -> None:
        """`egress_id`: empty for a recording of the tracks."""
        self._observe(
            RecordingChanged(
                name=directory.name,
                room=room,
                kind="mix" if egress_id else "tracks",
                egress_id=egress_id,
                started_at=self._clock(),
                finished=False,
            ),
            started=True,
        )

    def recording_finished(self, recording: RecordingChanged | None) -> None:
        """`recording`: from `finished_recording`."""
        if recording is not None:
            self._observe(recording, started=False)

    def _report(self, change: EgressChanged) -> None:
        last = self._last.get(change.id)
        if change == last or (last is None and change.ended_at):
            return
        if change.ended_at:
            del self._last[change.id]
        else:
            self._last[change.id] = change
        self._observe(change, started=last is None)

    def _observe(self, change: EgressChanged | RecordingChanged, *, started: bool) -> None:
        if self._observer is not None:
            self._observer(change, started=started)


def track_egress_id(egress: TrackEgress) -> str:
    return f"EG_{number(egress.directory)}"


def finished_recording(directory: Path) -> RecordingChanged | None:
    """Reads the disk: call it from a thread other than the loop's. None: the recording is not finished."""
    try:
        about = msgspec.json.decode((directory / ABOUT).read_bytes(), type=RecordingManifest)
        files = tuple((one.name, one.stat().st_size) for one in sorted(directory.iterdir()) if one.name != ABOUT)
    except (OSError, msgspec.MsgspecError):
        return None
    if not about.ended:
        return None
    return RecordingChanged(
        name=directory.name,
        room=about.room,
        kind="mix" if about.egress_id else "tracks",
        egress_id=about.egress_id,
        started_at=about.started_at,
        finished=True,
        files=files,
    )
