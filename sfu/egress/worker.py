"""Worker process that mixes one room: `python -m sfu.egress.worker MEDIA_FD CONTROL_FD MEMORY_BYTES NICE`.

It decodes untrusted media, so it is isolated: no secrets in its environment, limited address space, no core dumps, and
no network access of its own except RTMP. Any failure ends the process, and the server starts another one.

Threads: the receiving thread (this module), decoders, tick (`video_loop`) and sound (`audio_loop`), and those of the outputs
(`composite_outputs`): lower renditions, packaging and one per RTMP destination.
"""

import sys
from collections.abc import Callable

from sfu.egress import protocol, worker_ipc
from sfu.egress.heartbeat import Progress
from sfu.egress.inputs import Inputs, LipSyncClock
from sfu.egress.pipeline import Pipeline
from sfu.egress.protocol import Start, ToWorker, Track
from sfu.egress.rtp_receiver import RtpReceiver
from sfu.egress.worker_ipc import ControlSocket
from sfu.errors import MalformedPacket
from sfu.mixer.audio_mixer import AudioMixer
from sfu.mixer.decoding import DecoderPool, VideoSource


class Worker:
    """Handles control messages and owns the inputs and the pipeline. Runs on the receiving thread."""

    def __init__(self, control: ControlSocket, rtp_receiver: RtpReceiver) -> None:
        self._control = control
        self._rtp_receiver = rtp_receiver
        self._sound = AudioMixer()
        self._inputs: Inputs | None = None
        self._pipeline: Pipeline | None = None
        self.stopped = False

    def handle(self, message: ToWorker) -> None:
        if isinstance(message, Start):
            self._begin(message)
        elif isinstance(message, protocol.Stop):
            self.stopped = True
        elif self._inputs is None or self._pipeline is None:
            raise MalformedPacket("the first message must be `start`")
        elif isinstance(message, protocol.Members):
            self._inputs.apply(message.members)
        elif isinstance(message, protocol.Speakers):
            self._inputs.set_speakers(message)
        elif isinstance(message, protocol.Layout | protocol.Outputs):
            self._pipeline.command(message)
            if isinstance(message, protocol.Outputs) and not self._pipeline.started:
                self._pipeline.start()

    def failed(self) -> str:
        if self._pipeline is None or self._pipeline.running:
            return ""
        return self._pipeline.failed or "The pipeline stopped."

    def progress(self) -> Progress:
        return () if self._pipeline is None or self.stopped else self._pipeline.progress()

    def close(self) -> None:
        if self._pipeline is not None:
            self._pipeline.close()

    def _begin(self, start: Start) -> None:
        decoders = DecoderPool(start.decoders)

        def open_picture(track: Track, clock: LipSyncClock) -> VideoSource:
            return decoders.open(track.codec, clock, screen=track.source == "screen_share")

        self._inputs = Inputs(self._rtp_receiver, self._sound, open_picture, self._log_event)
        self._pipeline = Pipeline(
            start, self._inputs, decoders, self._sound, self._control.send, self._rtp_receiver.send
        )
        self._rtp_receiver.keyframe_wanted = self._pipeline.keyframe

    def _log_event(self, kind: str, text: str) -> None:
        if self._pipeline is not None:
            self._pipeline.event(kind, text, chapter=kind in ("join", "share"))


def create_worker(control: ControlSocket, rtp_receiver: RtpReceiver) -> tuple[Worker, Callable[[], bool]]:
    worker = Worker(control, rtp_receiver)
    return worker, lambda: worker.stopped


if __name__ == "__main__":
    worker_ipc.serve(sys.argv[1:], create_worker)
