"""Worker process that records a room's tracks: `python -m sfu.egress.track_recorder MEDIA_FD CONTROL_FD MEMORY NICE`.

It decodes no media. Next to the tracks, `room.jsonl` stores each message of the server about the room (members,
speakers) with its time, from which `sfu mix` can produce the mix later.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from sfu.egress import protocol, worker_ipc
from sfu.egress.heartbeat import Progress
from sfu.egress.protocol import RecordTracks, Status, ToWorker, Track
from sfu.egress.rtp_receiver import InboundStream, RtpReceiver
from sfu.egress.worker_ipc import ControlSocket
from sfu.errors import MalformedPacket
from sfu.outputs.disk_writer import DiskWriter
from sfu.outputs.file_names import safe_name
from sfu.outputs.track_writer import TrackMetadata, TrackWriter
from sfu.resources.media_clock import OFFSET, unix_time
from sfu.rtp.frames import CodedFrame

ROOM: Final = "room.jsonl"
STATUS_INTERVAL: Final = 0.5
MAX_IDENTITY_BYTES: Final = 64
"""Maximum length, in bytes, of an identity in a file name."""


class RecordedTrack:
    """Writes one track to its file. It is also the stream's Clock, to record sender reports."""

    def __init__(self, recorder: TrackWriter) -> None:
        self.recorder = recorder

    def take(self, frame: CodedFrame) -> None:
        self.recorder.receive(frame, frame.arrival + OFFSET)

    def receive_frame(self, timestamp: int, arrival: float) -> None:
        """Does nothing: `take` gets the arrival time with the frame."""

    def receive_report(self, ntp: int, rtp_timestamp: int, now: float) -> None:
        self.recorder.report(ntp, rtp_timestamp, now + OFFSET)


class TrackRecorderWorker:
    def __init__(self, control: ControlSocket, rtp_receiver: RtpReceiver) -> None:
        self._control = control
        self._rtp_receiver = rtp_receiver
        self._disk: DiskWriter | None = None
        self._tracks: dict[str, tuple[Track, RecordedTrack]] = {}
        self._status_sent_at = 0.0
        self._checks = 0
        self.stopped = False

    def handle(self, message: ToWorker) -> None:
        if isinstance(message, RecordTracks):
            self._disk = DiskWriter(Path(message.directory), deferred=True)
            self._control.send(protocol.Started(at=unix_time()))
        elif isinstance(message, protocol.Stop):
            self.stopped = True
        elif self._disk is None:
            raise MalformedPacket("the first message must be `record_tracks`")
        else:
            if isinstance(message, protocol.Members):
                self._apply(self._disk, message.members)
            line = {"time": round(unix_time(), 6), "message": message}
            self._disk.append(ROOM, msgspec.json.encode(line) + b"\n", vital=True)

    def failed(self) -> str:
        self._checks += 1
        now = time.monotonic()
        for _, recorded in self._tracks.values():
            recorded.recorder.handle_timer(now + OFFSET)
        if self._disk is not None and now - self._status_sent_at >= STATUS_INTERVAL:
            self._status_sent_at = now
            state = self._disk.snapshot()
            problem = {"full": "The disk is full.", "failing": "The disk fails."}.get(state.state, "")
            frames = sum(recorded.recorder.frames for _, recorded in self._tracks.values())
            self._control.send(Status(ticks=self._checks, tiles=len(self._tracks), decoded=frames, layout=problem))
        return ""

    def progress(self) -> Progress:
        return (self._checks,) if self._checks and not self.stopped else ()

    def close(self) -> None:
        for _, recorded in self._tracks.values():
            recorded.recorder.close(unix_time())
        if self._disk is not None:
            self._disk.close()

    def _apply(self, disk: DiskWriter, members: list[protocol.Member]) -> None:
        wanted = {track.id: (member, track) for member in members for track in member.tracks if track.ssrc}
        for name, (track, recorded) in list(self._tracks.items()):
            if name not in wanted or wanted[name][1].ssrc != track.ssrc:
                del self._tracks[name]
                self._rtp_receiver.streams.pop(track.ssrc, None)
                recorded.recorder.close(unix_time())
        for name, (member, track) in wanted.items():
            if name in self._tracks:
                continue
            metadata = TrackMetadata(track.id, member.identity, track.source)
            # The time in the name keeps a restarted recorder from appending to an old file.
            stem = f"{safe_name(member.identity, MAX_IDENTITY_BYTES)}-{track.source}-{track.id}-{int(unix_time())}"
            recorded = RecordedTrack(TrackWriter(disk, stem, track.codec, metadata))
            self._tracks[name] = (track, recorded)
            audio = track.kind == "audio"
            stream = InboundStream(track.ssrc, track.codec, audio=audio, clock=recorded, take=recorded.take)
            self._rtp_receiver.streams[track.ssrc] = stream


def create_worker(control: ControlSocket, rtp_receiver: RtpReceiver) -> tuple[TrackRecorderWorker, Callable[[], bool]]:
    worker = TrackRecorderWorker(control, rtp_receiver)
    return worker, lambda: worker.stopped


if __name__ == "__main__":
    worker_ipc.serve(sys.argv[1:], create_worker)
