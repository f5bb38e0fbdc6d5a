"""The process that records a room's tracks as they come: `python -m sfu.egress.track_recorder MEDIA_FD CONTROL_FD MEMORY NICE`.

Nothing is decoded. Beside the tracks, `room.jsonl` keeps what the server said of the room (who was there, who spoke) with
the time of each: with both, `sfu compose` makes the programme afterwards.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from sfu.egress import protocol, worker_ipc
from sfu.egress.heartbeat import Progress
from sfu.egress.protocol import Keep, Status, ToWorker, Track
from sfu.egress.rtp_receiver import InboundStream, Intake
from sfu.egress.worker_ipc import Post
from sfu.errors import MalformedPacket
from sfu.outputs.disk import Disk
from sfu.outputs.names import safe_name
from sfu.outputs.tracks import About, TrackRecorder
from sfu.resources.media_clock import OFFSET, unix_time
from sfu.rtp.frames import CodedFrame

ROOM: Final = "room.jsonl"
STATUS_EVERY: Final = 0.5
IDENTITY_BYTES: Final = 64
"""Of an identity in a file's name."""


class KeptTrack:
    """One track on its way to its file. A Clock too: the sender's reports are kept."""

    def __init__(self, recorder: TrackRecorder) -> None:
        self.recorder = recorder

    def take(self, frame: CodedFrame) -> None:
        self.recorder.receive(frame, frame.arrival + OFFSET)

    def receive_frame(self, timestamp: int, arrival: float) -> None:
        """The recorder is given the arrival with the frame."""

    def receive_report(self, ntp: int, rtp_timestamp: int, now: float) -> None:
        self.recorder.report(ntp, rtp_timestamp, now + OFFSET)


class Keeper:
    def __init__(self, conversation: Post, intake: Intake) -> None:
        self._post = conversation
        self._intake = intake
        self._disk: Disk | None = None
        self._tracks: dict[str, tuple[Track, KeptTrack]] = {}
        self._told_at = 0.0
        self._looks = 0
        self.stopped = False

    def obey(self, message: ToWorker) -> None:
        if isinstance(message, Keep):
            self._disk = Disk(Path(message.directory), deferred=True)
            self._post.send(protocol.Started(at=unix_time()))
        elif isinstance(message, protocol.Stop):
            self.stopped = True
        elif self._disk is None:
            raise MalformedPacket("the first message has to be `keep`")
        else:
            if isinstance(message, protocol.Members):
                self._apply(self._disk, message.members)
            line = {"time": round(unix_time(), 6), "message": message}
            self._disk.append(ROOM, msgspec.json.encode(line) + b"\n", vital=True)

    def failed(self) -> str:
        self._looks += 1
        now = time.monotonic()
        for _, kept in self._tracks.values():
            kept.recorder.handle_timer(now + OFFSET)
        if self._disk is not None and now - self._told_at >= STATUS_EVERY:
            self._told_at = now
            state = self._disk.snapshot()
            problem = {"full": "The disk is full.", "failing": "The disk fails."}.get(state.state, "")
            frames = sum(kept.recorder.frames for _, kept in self._tracks.values())
            self._post.send(Status(ticks=self._looks, tiles=len(self._tracks), decoded=frames, layout=problem))
        return ""

    def progress(self) -> Progress:
        return (self._looks,) if self._looks and not self.stopped else ()

    def close(self) -> None:
        for _, kept in self._tracks.values():
            kept.recorder.close(unix_time())
        if self._disk is not None:
            self._disk.close()

    def _apply(self, disk: Disk, members: list[protocol.Member]) -> None:
        wanted = {track.id: (member, track) for member in members for track in member.tracks if track.ssrc}
        for name, (track, kept) in list(self._tracks.items()):
            if name not in wanted or wanted[name][1].ssrc != track.ssrc:
                del self._tracks[name]
                self._intake.streams.pop(track.ssrc, None)
                kept.recorder.close(unix_time())
        for name, (member, track) in wanted.items():
            if name in self._tracks:
                continue
            about = About(track.id, member.identity, track.source)
            # A keeper that was started again must not write behind what its predecessor left.
            stem = f"{safe_name(member.identity, IDENTITY_BYTES)}-{track.source}-{track.id}-{int(unix_time())}"
            kept = KeptTrack(TrackRecorder(disk, stem, track.codec, about))
            self._tracks[name] = (track, kept)
            audio = track.kind == "audio"
            stream = InboundStream(track.ssrc, track.codec, audio=audio, clock=kept, take=kept.take)
            self._intake.streams[track.ssrc] = stream


def make(conversation: Post, intake: Intake) -> tuple[Keeper, Callable[[], bool]]:
    keeper = Keeper(conversation, intake)
    return keeper, lambda: keeper.stopped


if __name__ == "__main__":
    worker_ipc.serve(sys.argv[1:], make)
