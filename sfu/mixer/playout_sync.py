"""When each picture and each sound of a participant is due: one clock per participant, so that lips and voice agree.

A track's RTP timestamps run on a clock of their own, which drifts and starts anywhere. Its fastest packets of the last
seconds place it on ours; the sender's reports, which tie it to the sender's wall clock, tell how much later the fastest
pictures come than the fastest sound, and that difference is kept when reports are lost. Everything of a participant is
then due `delay` after its fastest path: the 95th percentile of its jitter plus decoding, within 20–200 ms. Changes are
followed at 0.5 %, by all of its tracks together, which is what a resampler of sound can do unheard.

Sans-IO: `now` and arrivals are monotonic seconds. One thread calls everything but `due` and `took`, which
any thread may call.
RFC 3550 6.4.1 (sender reports).
"""

from collections import deque
from typing import Final

from sfu.rtp.sender_clock import NTP_UNITS, STEP, SenderClock, unwrap

MIN_DELAY: Final = 0.020
MAX_DELAY: Final = 0.200
SLEW: Final = 0.005
"""Seconds per second that a playout time may move while sound plays."""
_QUANTILE: Final = 0.95
_WINDOW: Final = 10
"""Seconds, in buckets of one, over which the fastest packet is sought."""
_SAMPLES: Final = 500
"""Frames over which jitter is judged: ten seconds of sound."""
_EVERY: Final = 0.25
"""Seconds between two judgements."""
_EARLY_LIMIT: Final = 0.030
"""Playing this much too early loses frames: better one audible step."""
_LATE_LIMIT: Final = 0.060
"""Playing later than needed by more than this, as after a start over a path that was busy with it, costs a step too."""
_RESTART: Final = 3.0
"""Seconds by which a timestamp must miss its place to be another clock's."""
_COHERENT: Final = 1.0
"""Two tracks of one sender further apart than this: one of their reports is from before a step of its clock."""
_MISPLACED: Final = 1.0
"""A report whose timestamp is further than this from those that arrive is wrong."""
_AGREES: Final = 0.040
"""Seconds to which a report's step and that of the arrivals have to agree."""
_REPORT_LIFE: Final = 60.0
"""Seconds; a sound card 100 ppm off its computer's clock is 6 ms wrong by then."""
_STEP_PATIENCE: Final = 15.0
"""Seconds for the other tracks' reports to show a step of the clock too."""
_ACTIVE: Final = 5.0
"""Seconds after its last frame that a track still counts when jitter is judged."""
_DELAY_FALL: Final = 0.002
"""Seconds per second by which the delay shrinks when jitter did; it grows at once."""


class TrackClock:
    """One track of a participant. Made by `PlayoutSync.open`."""

    __slots__ = ("_buckets", "_extra", "_heard", "_jitter", "_newest", "_offset", "_sender", "_shift", "_timeline",
                 "decode", "leads", "rate", "stepped")  # fmt: skip

    def __init__(self, timeline: "PlayoutSync", rate: int, leads: bool) -> None:
        self.rate = rate
        self.leads = leads
        self.decode = timeline.decode
        "Seconds from a frame's arrival until it can be shown, all but the slowest."
        self.stepped = 0
        "Jumps of this track's playout, for whoever plays it to fade over."
        self._timeline = timeline
        self._buckets: deque[tuple[int, float]] = deque()
        self._jitter: deque[float] = deque(maxlen=_SAMPLES)
        self._newest: int | None = None
        self._heard = 0.0
        self._offset = 0.0  # arrival − timestamp of the fastest recent packet
        self._extra = 0.0  # how much slower this track's fastest path is than the participant's
        self._sender = SenderClock()
        self._shift: float | None = None  # due − timestamp

    def receive_frame(self, timestamp: int, arrival: float) -> None:
        """`timestamp`: unwrapped RTP; `arrival`: of the frame's last packet."""
        media = timestamp / self.rate
        transit = arrival - media
        if self._newest is None or abs(transit - self._offset) > _RESTART:
            self._restart(transit)
        self._newest = timestamp if self._newest is None else max(self._newest, timestamp)
        self._heard = arrival
        self._note(int(arrival), transit)
        self._jitter.append(transit - self._offset)
        self._timeline.handle_timer(arrival)
        if self._shift is None:
            self._timeline.judge(arrival)

    def receive_report(self, ntp: int, rtp_timestamp: int, now: float) -> None:
        """A sender report's 64-bit NTP time and 32-bit RTP timestamp; ignored before the first frame.

        A report that does not fit the arrivals is ignored. One that contradicts the reports before it by much has to be
        repeated for some seconds: until then the known difference between sound and pictures holds.
        """
        if self._newest is None:
            return
        media = unwrap(rtp_timestamp, self._newest) / self.rate
        if abs(now - media - self._offset) > _MISPLACED:
            return
        sender = self._sender
        before = sender.wall if sender.reported is not None else None
        wall = ntp / NTP_UNITS - media
        believed = before is not None and self._moved(wall - before)
        if sender.receive(wall, now, believed=believed):
            self._timeline.reported(self, before is not None and abs(sender.wall - before) > STEP, now)

    def due(self, timestamp: int) -> float | None:
        """Monotonic seconds at which what carries `timestamp` is to be seen or heard; None before the first frame."""
        shift = self._shift
        return None if shift is None else timestamp / self.rate + shift

    def took(self, seconds: float) -> None:
        """How long its frames take from their arrival until they can be shown, all but the slowest."""
        self.decode = seconds

    def close(self) -> None:
        self._timeline.forget(self)

    # -- for the timeline ---------------------------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        return self._newest is not None

    def active(self, now: float) -> bool:
        return self._newest is not None and now - self._heard < _ACTIVE

    @property
    def base(self) -> float:
        """What is due at once if nothing jitters: the participant's fastest path, on this track's clock."""
        return self._offset - self._extra

    def path(self, now: float) -> float | None:
        """The fastest transit as the sender's clock measures it (plus an unknown constant); None: no recent report."""
        reported = self._sender.reported
        if reported is None or now - reported > _REPORT_LIFE:
            return None
        return self._offset - self._sender.wall

    def fastest_is(self, path: float, now: float) -> None:
        own = self.path(now)
        if own is not None:
            extra = own - path
            if self.leads:
                # Reports never place sound before its arrival: it would be dropped. Late pictures are shown.
                extra = min(extra, max(0.0, MAX_DELAY - self._own_jitter() - self.decode))
            self._extra = extra

    def jitter(self) -> float:
        """The 95th percentile of lateness behind the participant's fastest path."""
        return self._own_jitter() + self._extra if self._jitter else 0.0

    def _own_jitter(self) -> float:
        ordered = sorted(self._jitter)
        return ordered[min(len(ordered) - 1, int(len(ordered) * _QUANTILE))] if ordered else 0.0

    def play_at(self, shift: float) -> None:
        if self._shift is not None and abs(shift - self._shift) > 2 * _EARLY_LIMIT / 3:
            self.stepped += 1
        self._shift = shift

    def playing_at(self) -> float | None:
        return self._shift

    def _note(self, second: int, transit: float) -> None:
        buckets = self._buckets
        if buckets and buckets[-1][0] == second:
            if transit < buckets[-1][1]:
                buckets[-1] = (second, transit)
        else:
            buckets.append((second, transit))
            while buckets[0][0] <= second - _WINDOW:
                buckets.popleft()
            self._offset = min([found for _, found in buckets])
        self._offset = min(self._offset, transit)

    def _moved(self, change: float) -> bool:
        """Whether packets come as much later since the last second: a step that arrivals alone did not tell from jitter."""
        recent = min([found for _, found in list(self._buckets)[-2:]])
        if abs(change) <= STEP or abs(recent - self._offset - change) > _AGREES:
            return False
        while len(self._buckets) > 2:
            self._buckets.popleft()
        self._offset = recent
        return True

    def _restart(self, transit: float) -> None:
        self._buckets.clear()
        self._jitter.clear()
        self._offset, self._newest, self._shift = transit, None, None
        self._sender.reset()


class PlayoutSync:
    """Of one participant: holds the clocks of its tracks together."""

    def __init__(self, decode: float = 0.005) -> None:
        """`decode`: seconds that decoding takes, added to the jitter, until a track's own `decode` is known."""
        self.decode = decode
        self.delay = MIN_DELAY
        self._tracks: list[TrackClock] = []
        self._judged: float | None = None
        self._slewed: float | None = None
        self._lag = 0.0  # how much later than wanted everything plays
        self._awaited: set[int] = set()  # tracks whose next report must show a step of the clock too
        self._awaited_until = 0.0

    def open(self, rate: int, *, leads: bool) -> TrackClock:
        """`leads`: sound, whose playout moves slowly only; pictures follow it."""
        track = TrackClock(self, rate, leads)
        self._tracks.append(track)
        return track

    def handle_timer(self, now: float) -> None:
        """Moves playout times a little; frames that come in call it, so a tick of one's own is not needed."""
        since = now - self._slewed if self._slewed is not None else 0.0
        if since < 0.015 and self._slewed is not None:
            return
        self._slewed = now
        if self._judged is None or now - self._judged >= _EVERY:
            self.judge(now)
        self._follow()
        move = SLEW * min(since, 0.2)
        self._lag = max(0.0, self._lag - move) if self._lag > 0 else min(0.0, self._lag + move)
        self._place()

    def judge(self, now: float) -> None:
        """Fastest paths, delay and thereby the wanted playout times; what sounds keeps its own and slews to them."""
        since = now - self._judged if self._judged is not None else 0.0
        first, self._judged = self._judged is None, now
        active = [track for track in self._tracks if track.active(now)]
        if not active:
            self._judged = None
            return
        self._compare(active, now)
        wanted = min(MAX_DELAY, max(MIN_DELAY, max([track.jitter() + track.decode for track in active])))
        self.delay = wanted if first else max(wanted, self.delay - _DELAY_FALL * since)
        self._follow()
        self._place()

    def reported(self, track: TrackClock, stepped: bool, now: float) -> None:
        self._awaited.discard(id(track))
        if stepped and now > self._awaited_until:
            self._awaited = {id(other) for other in self._tracks if other is not track and other.path(now) is not None}
            self._awaited_until = now + _STEP_PATIENCE
        self.judge(now)

    def forget(self, track: TrackClock) -> None:
        if track in self._tracks:
            self._tracks.remove(track)
            self._awaited.discard(id(track))

    def _compare(self, active: list[TrackClock], now: float) -> None:
        if self._awaited and now <= self._awaited_until:
            return
        paths = [path for track in active if (path := track.path(now)) is not None]
        if len(paths) < 2 or max(paths) - min(paths) > _COHERENT:
            return  # alone, or not comparable: what was known of their difference holds
        for track in active:
            track.fastest_is(min(paths), now)

    def _follow(self) -> None:
        """What sounds stays where it is, whatever became known of its path: the rest is lag, or a step."""
        playing = next((at - track.base for track in self._tracks if track.leads and (at := track.playing_at())), None)
        lag = 0.0 if playing is None else playing - self.delay
        self._lag = lag if -_EARLY_LIMIT <= lag <= _LATE_LIMIT else 0.0

    def _place(self) -> None:
        for track in self._tracks:
            if track.started:
                track.play_at(track.base + self.delay + self._lag)
