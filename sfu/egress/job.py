"""Egress job of one room: what was requested, and the objects that produce it.

A job exists while it has outputs: viewers (HLS), a recording, RTMP pushes, or a participant that publishes the mix. A
failure here never affects the meeting. Closing order: the worker (encoded media still arrives), both participants, the
plain transport, then the live stream and the recording.
"""

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from sfu.egress import protocol
from sfu.egress.output_participant import OutputParticipant
from sfu.egress.protocol import Destination, DestinationState, Status, ToServer
from sfu.egress.recorder_participant import RecorderParticipant
from sfu.egress.recordings import Recording
from sfu.egress.settings import Settings
from sfu.egress.supervisor import Supervisor
from sfu.forwarding.layers import Size
from sfu.outputs.hls.live_stream import LiveStream, StreamPosition
from sfu.outputs.segmenter import Part as HlsPart
from sfu.outputs.settings import Rendition
from sfu.resources.media_clock import unix_time
from sfu.rooms.egress_status import EgressStatus, LayoutName
from sfu.rooms.room import Room
from sfu.telemetry.egress_trace import EgressTrace
from sfu.telemetry.join_trace import Tracer
from sfu.transport.plain_transport import PlainTransport

log = logging.getLogger(__name__)

MAX_EARLY_EVENTS = 64
"""Worker events kept until the recording's first part."""
LANGUAGES = 8
"""Maximum number of caption tracks of a live stream."""


@dataclass(frozen=True, slots=True)
class EgressSpec:
    """Requested outputs and layout of a room's egress."""

    live: bool = False
    recording: bool = False
    publish_to_room: bool = False
    layout: LayoutName = "auto"
    focus: str = ""
    scene: str = ""
    destinations: tuple[Destination, ...] = ()

    @property
    def has_outputs(self) -> bool:
        return self.live or self.recording or self.publish_to_room or bool(self.destinations)


class OutputStore(Protocol):
    """Opens and finishes live streams and recordings, which outlive their job."""

    def open_live_stream(
        self, room: str, renditions: tuple[Rendition, ...], position: StreamPosition | None
    ) -> LiveStream:
        """`position`: where the live stream of a node that is gone continues."""

    def open_recording(self, room: str, egress_id: str) -> Recording: ...

    def finish_recording(self, recording: Recording) -> None:
        """Finishes a recording to which nothing is added any more."""

    def publish_state(self, room: Room) -> None:
        """Publishes the room's egress state to its participants."""


class EgressJob:
    """Runs the egress of one room; the Listener of its worker.

    All methods are called on the event loop. `ended` is called once, after everything is closed.
    """

    def __init__(
        self,
        room: Room,
        plain_transport: PlainTransport,
        settings: Settings,
        ladder: tuple[Rendition, ...],
        store: OutputStore,
        ended: Callable[["EgressJob"], None],
        tracer: Tracer | None = None,
    ) -> None:
        """Joins the room as a hidden recorder. Raises what `Room.join` raises."""
        self.room = room
        self.id = f"EG_{secrets.token_urlsafe(9)}"
        self.spec = EgressSpec()
        self.started_at = time.time()
        self.status: Status | None = None
        self.problem = ""
        self.active = False
        """A first frame has arrived."""
        self.renditions: tuple[Rendition, ...] = ladder
        self.live_stream: LiveStream | None = None
        self.position: StreamPosition | None = None
        """Where the live stream continues, if another node has begun it."""
        self.recording: Recording | None = None
        self.supervisor = Supervisor(self.id, plain_transport, self, settings)
        self._plain_transport = plain_transport
        self._store = store
        self._ended = ended
        self._output_participant: OutputParticipant | None = None
        self._epoch = 0.0
        self._recording_begun = False
        "Whether the recording has the epoch of the current worker."
        self._early_events: deque[protocol.Event] = deque(maxlen=MAX_EARLY_EVENTS)
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._tracer = tracer
        self._trace = EgressTrace(tracer)
        send = self.supervisor.send
        send(
            protocol.Start(
                room=room.name,
                renditions=[
                    protocol.Rendition(name=one.name, width=one.width, height=one.height, bit_rate=one.bit_rate)
                    for one in ladder
                ],
                audio_bit_rate=settings.audio_bit_rate,
                decoders=settings.decoder_threads,
                scenes=settings.scenes,
                rtmp_allow_private=settings.rtmp_allow_private,
                plugins=settings.plugins,
            )
        )
        self.recorder = RecorderParticipant(room, plain_transport, send, self.close, secrets.token_urlsafe(9))
        send(protocol.Layout())
        send(protocol.Outputs())

    @property
    def closing(self) -> bool:
        """The job is ending and accepts no changes."""
        return self._closing

    @property
    def room_state(self) -> EgressStatus:
        """State that the room's participants see."""
        spec = self.spec
        if self._closing:
            return EgressStatus(problem=self.problem)
        return EgressStatus(
            live=spec.live or bool(spec.destinations),
            recording=spec.recording,
            layout=spec.layout,
            focus=spec.focus,
            since=round(self.started_at, 3),
            problem=self.problem,
        )

    @property
    def restarts(self) -> int:
        return max(0, self.supervisor.starts - 1)

    @property
    def destinations(self) -> list[DestinationState]:
        """State of each RTMP push."""
        known = {one.id: one for one in (self.status.destinations if self.status is not None else ())}
        return [known.get(one.id, DestinationState(id=one.id, state="connecting")) for one in self.spec.destinations]

    def change(self, spec: EgressSpec) -> None:
        """Applies a new specification. Without outputs, the job ends.

        Raises RemoteError; then nothing has changed.
        """
        before, now = self.spec, spec
        self._open(now)
        self.spec = now
        if (now.layout, now.focus, now.scene) != (before.layout, before.focus, before.scene):
            self.supervisor.send(protocol.Layout(layout=now.layout, focus=now.focus, scene=now.scene))
        if not now.has_outputs:
            self.close()
            return
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        self._send_outputs()
        if before.live and not now.live:
            self._end_live_stream()
        if before.recording and not now.recording:
            self._end_recording()
        self._store.publish_state(self.room)

    def close(self) -> None:
        """Stops the worker and flushes its outputs; `ended` follows. Idempotent."""
        if self._closing:
            return
        self._closing = True
        self._store.publish_state(self.room)
        self.supervisor.stop()
        if self._task is None:
            self._close_children()

    async def wait_closed(self) -> None:
        if self._task is not None:
            await asyncio.wait([self._task])

    # -- the worker's Listener --------------------------------------------------------------------------------------

    def received(self, message: ToServer) -> None:
        match message:
            case protocol.Part():
                self._take_part(message)
            case protocol.VisibleTracks():
                self.recorder.set_tile_sizes(message.tracks)
            case Status():
                self.status = message
                if message.ticks:
                    self._trace_first_frame()
                if self.recording is not None:
                    self._set_problem(self.recording.problem)
            case protocol.Init(rendition="recording"):
                if self.recording is not None:
                    self.recording.begin(message.data, self._epoch)
                    self._recording_begun = True
                    for event in self._early_events:
                        self.recording.note(event)
                self._early_events.clear()
            case protocol.Init():
                if self.live_stream is not None and message.rendition in self.live_stream.streams:
                    self.live_stream.add_init(message.rendition, message.data)
            case protocol.Started():
                self._epoch = message.at
                self._recording_begun = False
                self._trace.started()
                if self.live_stream is not None:
                    self.live_stream.begin(message.at)
                self._set_problem("")
            case protocol.Event():
                if self.recording is not None and self._recording_begun:
                    self.recording.note(message)
                else:
                    self._early_events.append(message)
            case protocol.Caption():
                self._take_caption(message)
            case protocol.Failed():
                log.error("egress worker failed", extra={"egress": self.id, "reason": message.message})

    def lost(self, reason: str) -> None:
        self.status = None
        self._trace.close()
        self._trace = EgressTrace(self._tracer, replacement=True)
        self._set_problem("The live stream was interrupted and resumes in a moment.")

    def gave_up(self, reason: str) -> None:
        self.problem = f"The live stream ended: its worker failed repeatedly. {reason}"
        log.error("egress gave up restarting its worker", extra={"egress": self.id, "reason": reason})

    # ---------------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self.supervisor.run()
        except Exception:
            log.exception("egress failed")
            self.problem = "The live stream ended because of an internal error."
        finally:
            self._close_children()

    def _open(self, spec: EgressSpec) -> None:
        """Opens what `spec` needs and is not open yet."""
        if spec.live and self.live_stream is None:
            position, self.position = self.position, None
            self.live_stream = self._store.open_live_stream(self.room.name, self.renditions, position)
            if self._epoch:
                self.live_stream.begin(self._epoch)
        if spec.recording and self.recording is None:
            self.recording = self._store.open_recording(self.room.name, self.id)
        if spec.publish_to_room and self._output_participant is None:
            top = self.renditions[0]
            secret = secrets.token_urlsafe(9)
            self._output_participant = OutputParticipant(
                self.room, self._plain_transport, Size(top.width, top.height), secret, self._output_participant_removed
            )
            self.recorder.excluded.add(self._output_participant.participant.id)
            self.recorder.schedule_refresh()
        elif not spec.publish_to_room:
            self._close_output_participant()

    @property
    def output_participant(self) -> str:
        """Id of the participant that publishes the mix into the room; empty: none."""
        return self._output_participant.participant.id if self._output_participant is not None else ""

    def _send_outputs(self) -> None:
        participant = self._output_participant
        self.supervisor.send(
            protocol.Outputs(
                live=self.spec.live,
                recording=self.spec.recording,
                destinations=list(self.spec.destinations),
                video_ssrc=participant.video_ssrc if participant is not None else 0,
                audio_ssrc=participant.audio_ssrc if participant is not None else 0,
            )
        )

    def _trace_first_frame(self) -> None:
        seconds = self._trace.first_frame()
        if seconds is not None:
            self.active = True
            self._store.publish_state(self.room)
            traced = {"trace_id": self._trace.trace_id} if self._trace.trace_id else {}
            log.info("egress live", extra={"egress": self.id, "seconds": round(seconds, 3), **traced})

    def _take_part(self, part: protocol.Part) -> None:
        self._trace_first_frame()
        if part.rendition == "recording":
            if self.recording is not None:
                self.recording.add(part)
        elif self.live_stream is not None and part.rendition in self.live_stream.streams:
            with suppress(ValueError):  # the stream has ended, or a lost worker left it without a start
                self.live_stream.add_part(
                    HlsPart(part.rendition, part.msn, part.index, part.independent, part.duration, part.pts, part.data)
                )

    def _take_caption(self, caption: protocol.Caption) -> None:
        live_stream = self.live_stream
        if live_stream is None or (
            caption.language not in live_stream.captions and len(live_stream.captions) >= LANGUAGES
        ):
            return
        live_stream.add_captions(caption.language, caption.language)
        live_stream.caption(caption.language, caption.text, self._epoch + caption.start, self._epoch + caption.end)

    def _output_participant_removed(self) -> None:
        """Stops publishing to the room after the output participant was removed."""
        asyncio.get_running_loop().call_soon(lambda: self.change(replace(self.spec, publish_to_room=False)))

    def _close_output_participant(self) -> None:
        participant, self._output_participant = self._output_participant, None
        if participant is not None:
            participant.close()

    def _end_live_stream(self) -> None:
        live_stream, self.live_stream = self.live_stream, None
        if live_stream is not None:
            live_stream.moved = self.room.moved
            live_stream.end(unix_time())

    def _end_recording(self) -> None:
        recording, self.recording = self.recording, None
        self._recording_begun = False
        if recording is not None:
            self._store.finish_recording(recording)

    def _set_problem(self, problem: str) -> None:
        if problem != self.problem and not self._closing:
            self.problem = problem
            self._store.publish_state(self.room)

    def _close_children(self) -> None:
        self._closing = True
        self._trace.close()
        self._close_output_participant()
        self.recorder.close()
        self._plain_transport.close()
        self._end_live_stream()
        self._end_recording()
        self._ended(self)
