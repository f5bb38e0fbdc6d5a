"""One room's programme from the first wish to the last: what was asked for, and the nouns that do it.

It exists while something takes the programme: viewers (HLS), a recording, a push, the room itself. The meeting goes on
whatever happens here. Closing order: the worker (what is encoded still arrives), the room's two seats, the feed, then
window and recording.
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
from sfu.egress.output_participant import Presence
from sfu.egress.protocol import Destination, DestinationState, Status, ToServer
from sfu.egress.recorder_participant import Attendance
from sfu.egress.recordings import Recording
from sfu.egress.settings import Settings
from sfu.egress.supervisor import Supervisor
from sfu.forwarding.selector import Size
from sfu.outputs.hls.window import Window
from sfu.outputs.segmenter import Part as HlsPart
from sfu.outputs.settings import Rendition
from sfu.resources.media_clock import unix_time
from sfu.rooms.programme import LayoutName, Programme
from sfu.rooms.room import Room
from sfu.telemetry.egress_trace import Launch
from sfu.telemetry.join_trace import Tracer
from sfu.transport.plain_transport import Feed

log = logging.getLogger(__name__)

UNPLACED = 64
"""Events of a worker that wait for its first part."""
LANGUAGES = 8
"""Caption tracks of one programme."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Everything that is asked of a room's programme."""

    live: bool = False
    recording: bool = False
    as_track: bool = False
    layout: LayoutName = "auto"
    focus: str = ""
    scene: str = ""
    destinations: tuple[Destination, ...] = ()

    @property
    def anything(self) -> bool:
        return self.live or self.recording or self.as_track or bool(self.destinations)


class Shelf(Protocol):
    """Where productions put what outlives them."""

    def open_window(self, room: str, renditions: tuple[Rendition, ...]) -> Window: ...

    def open_recording(self, room: str, programme: str) -> Recording: ...

    def keep(self, recording: Recording) -> None:
        """Nothing more is recorded: it is to be finished."""

    def show(self, room: Room) -> None:
        """The room is told of its programme."""


class Production:
    """The worker's Listener. `change` and the rest on the loop; `ended` is called once when it is over."""

    def __init__(
        self,
        room: Room,
        feed: Feed,
        settings: Settings,
        ladder: tuple[Rendition, ...],
        shelf: Shelf,
        ended: Callable[["Production"], None],
        tracer: Tracer | None = None,
    ) -> None:
        """Takes its seat in the room. Raises what `Room.enter` raises."""
        self.room = room
        self.id = f"PR_{secrets.token_urlsafe(9)}"
        self.wanted = Wanted()
        self.started_at = time.time()
        self.status: Status | None = None
        self.problem = ""
        self.renditions: tuple[Rendition, ...] = ladder
        self.window: Window | None = None
        self.recording: Recording | None = None
        self.supervisor = Supervisor(self.id, feed, self, settings)
        self._feed = feed
        self._shelf = shelf
        self._ended = ended
        self._presence: Presence | None = None
        self._epoch = 0.0
        self._placed = False
        "Whether the recording knows the present worker's time."
        self._unplaced: deque[protocol.Event] = deque(maxlen=UNPLACED)
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._tracer = tracer
        self._launch = Launch(tracer)
        tell = self.supervisor.tell
        tell(
            protocol.Start(
                room=room.name,
                renditions=[
                    protocol.Rendition(name=one.name, width=one.width, height=one.height, bit_rate=one.bit_rate)
                    for one in ladder
                ],
                audio_bit_rate=settings.audio_bit_rate,
                decoders=settings.decoders,
                scenes=settings.scenes,
                rtmp_private=settings.rtmp_private,
                hooks=settings.hooks,
            )
        )
        self.attendance = Attendance(room, feed, tell, self.close, secrets.token_urlsafe(9))
        tell(protocol.Layout())
        tell(protocol.Outputs())

    @property
    def closing(self) -> bool:
        """It ends now, and takes no wishes any more."""
        return self._closing

    @property
    def programme(self) -> Programme:
        """What the room is told of it."""
        wanted = self.wanted
        if self._closing:
            return Programme(problem=self.problem)
        return Programme(
            live=wanted.live or bool(wanted.destinations),
            recording=wanted.recording,
            layout=wanted.layout,
            focus=wanted.focus,
            since=round(self.started_at, 3),
            problem=self.problem,
        )

    @property
    def restarts(self) -> int:
        return max(0, self.supervisor.starts - 1)

    @property
    def destinations(self) -> list[DestinationState]:
        """How each push does."""
        known = {one.id: one for one in (self.status.destinations if self.status is not None else ())}
        return [known.get(one.id, DestinationState(id=one.id, state="connecting")) for one in self.wanted.destinations]

    def change(self, wanted: Wanted) -> None:
        """What is asked for from now on. Without anything it ends. Raises RemoteErrors; then nothing changed."""
        before, now = self.wanted, wanted
        self._open(now)
        self.wanted = now
        if (now.layout, now.focus, now.scene) != (before.layout, before.focus, before.scene):
            self.supervisor.tell(protocol.Layout(layout=now.layout, focus=now.focus, scene=now.scene))
        if not now.anything:
            self.close()
            return
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        self._tell_outputs()
        if before.live and not now.live:
            self._end_window()
        if before.recording and not now.recording:
            self._end_recording()
        self._shelf.show(self.room)

    def close(self) -> None:
        """Ends in good order; `ended` follows. Idempotent."""
        if self._closing:
            return
        self._closing = True
        self._shelf.show(self.room)
        self.supervisor.stop()
        if self._task is None:
            self._cleared()

    async def wait_closed(self) -> None:
        if self._task is not None:
            await asyncio.wait([self._task])

    # -- the worker's Listener --------------------------------------------------------------------------------------

    def received(self, message: ToServer) -> None:
        match message:
            case protocol.Part():
                self._take_part(message)
            case protocol.Wishes():
                self.attendance.wish(message.tracks)
            case Status():
                self.status = message
                if message.ticks:
                    self._framed()
                if self.recording is not None:
                    self._say(self.recording.problem)
            case protocol.Init(rendition="recording"):
                if self.recording is not None:
                    self.recording.begin(message.data, self._epoch)
                    self._placed = True
                    for event in self._unplaced:
                        self.recording.note(event)
                self._unplaced.clear()
            case protocol.Init():
                if self.window is not None and message.rendition in self.window.streams:
                    self.window.add_init(message.rendition, message.data)
            case protocol.Started():
                self._epoch = message.at
                self._placed = False
                self._launch.started()
                if self.window is not None:
                    self.window.begin(message.at)
                self._say("")
            case protocol.Event():
                if self.recording is not None and self._placed:
                    self.recording.note(message)
                else:
                    self._unplaced.append(message)
            case protocol.Caption():
                self._take_caption(message)
            case protocol.Failed():
                log.error("production worker failed", extra={"production": self.id, "reason": message.message})

    def lost(self, reason: str) -> None:
        self.status = None
        self._launch.close()
        self._launch = Launch(self._tracer, replacement=True)
        self._say("The programme was interrupted and goes on in a moment.")

    def gave_up(self, reason: str) -> None:
        self.problem = f"The programme ended: its worker died again and again. {reason}"
        log.error("production gave up", extra={"production": self.id, "reason": reason})

    # ---------------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self.supervisor.run()
        except Exception:
            log.exception("production failed")
            self.problem = "The programme ended by a fault of the server."
        finally:
            self._cleared()

    def _open(self, wanted: Wanted) -> None:
        """What `wanted` needs and is not there yet."""
        if wanted.live and self.window is None:
            self.window = self._shelf.open_window(self.room.name, self.renditions)
            if self._epoch:
                self.window.begin(self._epoch)
        if wanted.recording and self.recording is None:
            self.recording = self._shelf.open_recording(self.room.name, self.id)
        if wanted.as_track and self._presence is None:
            top = self.renditions[0]
            secret = secrets.token_urlsafe(9)
            self._presence = Presence(self.room, self._feed, Size(top.width, top.height), secret, self._sent_away)
            self.attendance.left_out.add(self._presence.participant.id)
            self.attendance.refresh_soon()
        elif not wanted.as_track:
            self._leave_stage()

    def _tell_outputs(self) -> None:
        presence = self._presence
        self.supervisor.tell(
            protocol.Outputs(
                live=self.wanted.live,
                recording=self.wanted.recording,
                destinations=list(self.wanted.destinations),
                video_ssrc=presence.video_ssrc if presence is not None else 0,
                audio_ssrc=presence.audio_ssrc if presence is not None else 0,
            )
        )

    def _framed(self) -> None:
        seconds = self._launch.framed()
        if seconds is not None:
            traced = {"trace_id": self._launch.trace_id} if self._launch.trace_id else {}
            log.info("programme begins", extra={"production": self.id, "seconds": round(seconds, 3), **traced})

    def _take_part(self, part: protocol.Part) -> None:
        self._framed()
        if part.rendition == "recording":
            if self.recording is not None:
                self.recording.add(part)
        elif self.window is not None and part.rendition in self.window.streams:
            with suppress(ValueError):  # it ended meanwhile, or its beginning was lost with a worker
                self.window.add_part(
                    HlsPart(part.rendition, part.msn, part.index, part.independent, part.duration, part.pts, part.data)
                )

    def _take_caption(self, caption: protocol.Caption) -> None:
        window = self.window
        if window is None or (caption.language not in window.captions and len(window.captions) >= LANGUAGES):
            return
        window.add_captions(caption.language, caption.language)
        window.caption(caption.language, caption.text, self._epoch + caption.start, self._epoch + caption.end)

    def _sent_away(self) -> None:
        """Somebody removed the programme from the room."""
        asyncio.get_running_loop().call_soon(lambda: self.change(replace(self.wanted, as_track=False)))

    def _leave_stage(self) -> None:
        presence, self._presence = self._presence, None
        if presence is not None:
            presence.close()

    def _end_window(self) -> None:
        window, self.window = self.window, None
        if window is not None:
            window.end(unix_time())

    def _end_recording(self) -> None:
        recording, self.recording = self.recording, None
        self._placed = False
        if recording is not None:
            self._shelf.keep(recording)

    def _say(self, problem: str) -> None:
        if problem != self.problem and not self._closing:
            self.problem = problem
            self._shelf.show(self.room)

    def _cleared(self) -> None:
        self._closing = True
        self._launch.close()
        self._leave_stage()
        self.attendance.close()
        self._feed.close()
        self._end_window()
        self._end_recording()
        self._ended(self)
