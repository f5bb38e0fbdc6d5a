"""Lip sync and playout delay of one participant: maps the RTP timestamps of its tracks to playout times.

The RTP clock of a track drifts and starts at a random offset. The fastest packets of the last ten seconds map it to the
local clock. Sender reports map it to the sender's wall clock, which yields the difference between the fastest video and
the fastest audio path; it is kept while no reports arrive. All media of a participant are due `delay` after its fastest
path. `delay` covers the 95th percentile of the lateness behind that path plus decoding, within 20–200 ms. Playout times
follow changes at 0.5 %, together on all tracks: audio can be resampled at this rate inaudibly.

Sans-IO: `now` and arrivals are monotonic seconds. One thread calls all methods except `due` and `took`, which any
thread may call. RFC 3550 6.4.1 (sender reports).
"""

from collections import deque
from typing import Final

from sfu.rtp.sender_clock import NTP_UNITS, STEP, SenderClock, unwrap

MIN_DELAY: Final = 0.020
MAX_DELAY: Final = 0.200
SLEW: Final = 0.005
"""Seconds per second that a playout time may move while audio plays."""
_QUANTILE: Final = 0.95
"""Percentile of the jitter that `delay` covers."""
_WINDOW: Final = 10
"""Seconds (one bucket each) over which the fastest packet is determined."""
_SAMPLES: Final = 500
"""Frames over which jitter is measured: ten seconds of audio."""
_EVERY: Final = 0.25
"""Seconds between two evaluations."""
_EARLY_LIMIT: Final = 0.030
"""Playout that is early by more seconds than this steps at once: an audible step is better than lost frames."""
_LATE_LIMIT: Final = 0.060
"""Playout that is later than needed by more seconds than this steps at once, for example after a start on a busy path."""
_RESTART: Final = 3.0
"""A timestamp that deviates by more seconds than this belongs to a new clock."""
_COHERENT: Final = 1.0
"""If two tracks of a sender differ by more seconds than this, one of their reports predates a step of its clock."""
_MISPLACED: Final = 1.0
"""A report whose timestamp deviates from the arriving ones by more seconds than this is invalid."""
_AGREES: Final = 0.040
"""Maximum difference in seconds between a step in the reports and one in the arrivals that count as the same step."""
_REPORT_LIFE: Final = 60.0
"""Seconds that a report stays valid; a sound card that is off by 100 ppm deviates by 6 ms in this time."""
_STEP_PATIENCE: Final = 15.0
"""Seconds to wait until the reports of the other tracks confirm a step of the sender's clock."""
_ACTIVE: Final = 5.0
"""Seconds after its last frame for which the jitter of a track still counts."""
_DELAY_FALL: Final = 0.002
"""Seconds per second by which the delay shrinks when jitter falls; it grows at once."""


class TrackClock:
    """Clock of one track of a participant. Created by `PlayoutSync.open`."""

    __slots__ = (
        "_buckets", "_extra", "_jitter", "_last_arrival", "_newest", "_offset", "_sender", "_shift", "_sync", "decode",
        "leads", "rate", "stepped",
    )  # fmt: skip

    def __init__(self, sync: "PlayoutSync", rate: int, leads: bool) -> None:
        self.rate = rate
        self.leads = leads
        self.decode = sync.decode
        "Seconds from the arrival of a frame until it can be shown (a high percentile)."
        self.stepped = 0
        "Number of steps in the playout of this track. The player should crossfade over a step."
        self._sync = sync
        self._buckets: deque[tuple[int, float]] = deque()
        self._jitter: deque[float] = deque(maxlen=_SAMPLES)
        self._newest: int | None = None
        self._last_arrival = 0.0
        self._offset = 0.0  # arrival − timestamp of the fastest recent packet
        self._extra = 0.0  # by how much this track's fastest path is slower than that of the participant
        self._sender = SenderClock()
        self._shift: float | None = None  # due − timestamp

    def receive_frame(self, timestamp: int, arrival: float) -> None:
        """`timestamp`: unwrapped RTP timestamp; `arrival`: arrival time of the last packet of the frame."""
        media = timestamp / self.rate
        transit = arrival - media
        if self._newest is None or abs(transit - self._offset) > _RESTART:
            self._restart(transit)
        self._newest = timestamp if self._newest is None else max(self._newest, timestamp)
        self._last_arrival = arrival
        self._note(int(arrival), transit)
        self._jitter.append(transit - self._offset)
        self._sync.handle_timer(arrival)
        if self._shift is None:
            self._sync.evaluate(arrival)

    def receive_report(self, ntp: int, rtp_timestamp: int, now: float) -> None:
        """Takes the 64-bit NTP time and 32-bit RTP timestamp of a sender report; ignored before the first frame.

        A report that does not fit the arrivals is ignored. A report that differs a lot from the previous ones must be
        confirmed for some seconds; until then the known difference between audio and video is kept.
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
            self._sync.reported(self, before is not None and abs(sender.wall - before) > STEP, now)

    def due(self, timestamp: int) -> float | None:
        """Playout time of `timestamp` in monotonic seconds; None before the first frame."""
        shift = self._shift
        return None if shift is None else timestamp / self.rate + shift

    def took(self, seconds: float) -> None:
        """Sets the time from the arrival of a frame until it can be shown (a high percentile)."""
        self.decode = seconds

    def close(self) -> None:
        self._sync.forget(self)

    # -- for PlayoutSync ----------------------------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        return self._newest is not None

    def active(self, now: float) -> bool:
        return self._newest is not None and now - self._last_arrival < _ACTIVE

    @property
    def base(self) -> float:
        """Offset of the participant's fastest path on this track's clock: the playout offset without any delay."""
        return self._offset - self._extra

    def path(self, now: float) -> float | None:
        """Fastest transit time measured by the sender's clock, plus an unknown constant; None without a recent report."""
        reported = self._sender.reported
        if reported is None or now - reported > _REPORT_LIFE:
            return None
        return self._offset - self._sender.wall

    def set_fastest_path(self, path: float, now: float) -> None:
        own = self.path(now)
        if own is not None:
            extra = own - path
            if self.leads:
                # Audio must not be due before it arrives, because it would be dropped. Late pictures are still shown.
                extra = min(extra, max(0.0, MAX_DELAY - self._own_jitter() - self.decode))
            self._extra = extra

    def jitter(self) -> float:
        """95th percentile of the lateness relative to the participant's fastest path."""
        return self._own_jitter() + self._extra if self._jitter else 0.0

    def _own_jitter(self) -> float:
        ordered = sorted(self._jitter)
        return ordered[min(len(ordered) - 1, int(len(ordered) * _QUANTILE))] if ordered else 0.0

    def set_playout(self, shift: float) -> None:
        if self._shift is not None and abs(shift - self._shift) > 2 * _EARLY_LIMIT / 3:
            self.stepped += 1
        self._shift = shift

    def playout(self) -> float | None:
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
        """Whether arrivals of the last seconds confirm a step of `change`, which alone could also be jitter."""
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
    """Synchronizes the track clocks of one participant."""

    def __init__(self, decode: float = 0.005) -> None:
        """`decode`: decoding time in seconds that is assumed until a track reports its own."""
        self.decode = decode
        self.delay = MIN_DELAY
        self._tracks: list[TrackClock] = []
        self._evaluated: float | None = None
        self._slewed: float | None = None
        self._lag = 0.0  # by how much all tracks play later than wanted
        self._awaited: set[int] = set()  # tracks whose next report must confirm a step of the clock
        self._awaited_until = 0.0

    def open(self, rate: int, *, leads: bool) -> TrackClock:
        """`leads`: audio, whose playout moves only slowly; video follows it."""
        track = TrackClock(self, rate, leads)
        self._tracks.append(track)
        return track

    def handle_timer(self, now: float) -> None:
        """Moves the playout times. `receive_frame` calls it, so no separate timer is needed."""
        since = now - self._slewed if self._slewed is not None else 0.0
        if since < 0.015 and self._slewed is not None:
            return
        self._slewed = now
        if self._evaluated is None or now - self._evaluated >= _EVERY:
            self.evaluate(now)
        self._follow()
        move = SLEW * min(since, 0.2)
        self._lag = max(0.0, self._lag - move) if self._lag > 0 else min(0.0, self._lag + move)
        self._place()

    def evaluate(self, now: float) -> None:
        """Updates paths, delay and the wanted playout times. Audio that is playing slews to them."""
        since = now - self._evaluated if self._evaluated is not None else 0.0
        first, self._evaluated = self._evaluated is None, now
        active = [track for track in self._tracks if track.active(now)]
        if not active:
            self._evaluated = None
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
        self.evaluate(now)

    def forget(self, track: TrackClock) -> None:
        if track in self._tracks:
            self._tracks.remove(track)
            self._awaited.discard(id(track))

    def _compare(self, active: list[TrackClock], now: float) -> None:
        if self._awaited and now <= self._awaited_until:
            return
        paths = [path for track in active if (path := track.path(now)) is not None]
        if len(paths) < 2 or max(paths) - min(paths) > _COHERENT:
            return  # a single track, or not comparable: keep the known difference
        for track in active:
            track.set_fastest_path(min(paths), now)

    def _follow(self) -> None:
        """Keeps the playout time of audio that is playing. The difference to the wanted one becomes lag, or a step."""
        playing = next((at - track.base for track in self._tracks if track.leads and (at := track.playout())), None)
        lag = 0.0 if playing is None else playing - self.delay
        self._lag = lag if -_EARLY_LIMIT <= lag <= _LATE_LIMIT else 0.0

    def _place(self) -> None:
        for track in self._tracks:
            if track.started:
                track.set_playout(track.base + self.delay + self._lag)
