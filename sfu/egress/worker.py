"""The process that mixes one room: `python -m sfu.egress.worker MEDIA_FD CONTROL_FD MEMORY_BYTES NICE`.

It decodes what strangers send, so it is made to die alone: no secrets in its environment, a limit on its address space, no
core dumps, no network of its own but for RTMP. Whatever goes wrong in it ends it, and the server starts another one.

Threads: this one receives and assembles; decoders; the tick and the sound (`studio`); the lower renditions, packaging and
one per destination (`outputs`).
"""

import sys
from collections.abc import Callable

from sfu.egress import protocol, worker_ipc
from sfu.egress.heartbeat import Progress
from sfu.egress.inputs import LipClock, People
from sfu.egress.pipeline import Studio
from sfu.egress.protocol import Start, ToWorker, Track
from sfu.egress.rtp_receiver import Intake
from sfu.egress.worker_ipc import Post
from sfu.errors import MalformedPacket
from sfu.mixer.decoding import Decoders, VideoSource
from sfu.mixer.sound import SoundMix


class Worker:
    """Everything of the process, on the thread that receives."""

    def __init__(self, conversation: Post, intake: Intake) -> None:
        self._post = conversation
        self._intake = intake
        self._sound = SoundMix()
        self._people: People | None = None
        self._studio: Studio | None = None
        self.stopped = False

    def obey(self, message: ToWorker) -> None:
        if isinstance(message, Start):
            self._begin(message)
        elif isinstance(message, protocol.Stop):
            self.stopped = True
        elif self._people is None or self._studio is None:
            raise MalformedPacket("the first message has to be `start`")
        elif isinstance(message, protocol.Members):
            self._people.apply(message.members)
        elif isinstance(message, protocol.Speakers):
            self._people.hear(message)
        elif isinstance(message, protocol.Layout | protocol.Outputs):
            self._studio.command(message)
            if isinstance(message, protocol.Outputs) and not self._studio.started:
                self._studio.start()

    def failed(self) -> str:
        if self._studio is None or self._studio.running:
            return ""
        return self._studio.failed or "The studio stopped."

    def progress(self) -> Progress:
        return () if self._studio is None or self.stopped else self._studio.progress()

    def close(self) -> None:
        if self._studio is not None:
            self._studio.close()

    def _begin(self, start: Start) -> None:
        decoders = Decoders(start.decoders)

        def open_picture(track: Track, clock: LipClock) -> VideoSource:
            return decoders.open(track.codec, clock, screen=track.source == "screen_share")

        self._people = People(self._intake, self._sound, open_picture, self._tell)
        self._studio = Studio(start, self._people, decoders, self._sound, self._post.send, self._intake.send)
        self._intake.keyframe_wanted = self._studio.keyframe

    def _tell(self, kind: str, text: str) -> None:
        if self._studio is not None:
            self._studio.event(kind, text, chapter=kind in ("join", "share"))


def make(conversation: Post, intake: Intake) -> tuple[Worker, Callable[[], bool]]:
    worker = Worker(conversation, intake)
    return worker, lambda: worker.stopped


if __name__ == "__main__":
    worker_ipc.serve(sys.argv[1:], make)
