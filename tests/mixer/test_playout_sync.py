"""sfu.mixer.playout_sync in virtual time: jitter, drift, lost reports, clock steps and restarted tracks."""

import random
from dataclasses import dataclass, field

import pytest

from sfu.mixer.playout_sync import MAX_DELAY, MIN_DELAY, SLEW, PlayoutSync, TrackClock

NTP = 1 << 32


@dataclass
class Sender:
    """Audio and video of one browser with separate drifting clocks, over a path with jitter."""

    seed: int = 1
    jitter: float = 0.0
    "Mean of the exponential delay of each frame."
    slow_video: float = 0.0
    "Extra seconds for capturing and encoding a picture."
    drift: float = 0.0
    "Drift of all of the sender's clocks."
    sound_drift: float = 0.0
    "Drift of its sound card relative to its wall clock."
    wall: float = 3.9e9
    lost_reports: float = 0.0
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.timeline = PlayoutSync()
        self.sound = self.timeline.open(48_000, leads=True)
        self.video = self.timeline.open(90_000, leads=False)
        self.lips: list[float] = []
        self.sound_shifts: list[tuple[float, float]] = []
        self.late = [0, 0]

    def timestamps(self, now: float) -> tuple[int, int]:
        local = now * (1 + self.drift)
        return int(local * (1 + self.sound_drift) * 48_000) + 77_000, int(local * 90_000) + 4_000_000_000

    def extra(self) -> float:
        return self.rng.expovariate(1 / self.jitter) if self.jitter else 0.0

    def run(self, start: float, end: float, *, reports: bool = True, skip: float = 0.0) -> None:
        """`skip`: seconds after `start` at which measuring begins. One step is 20 ms; every second one has a picture."""
        arrivals: list[tuple[float, TrackClock, int]] = []
        for step in range(round(start * 50), round(end * 50)):
            now = step / 50
            audio, video = self.timestamps(now)
            arrivals.append((now + 0.03 + self.extra(), self.sound, audio))
            if step % 2 == 0:
                arrivals.append((now + 0.03 + self.slow_video + self.extra(), self.video, video))
            arrivals.sort(key=lambda item: item[0])
            while arrivals and arrivals[0][0] <= now:
                at, clock, timestamp = arrivals.pop(0)
                clock.receive_frame(timestamp, at)
                due = clock.due(timestamp)
                assert due is not None
                if now >= start + skip:
                    self.late[due < at] += 1
            for clock, timestamp, phase in ((self.sound, audio, 0), (self.video, video, 120)):
                if reports and step % 250 == phase and self.rng.random() >= self.lost_reports:
                    ntp = int((self.wall + now * (1 + self.drift)) * NTP)
                    clock.receive_report(ntp, timestamp & 0xFFFF_FFFF, now)
            if now >= start + skip:
                heard, seen = self.sound.due(audio), self.video.due(video)
                if heard is not None and seen is not None:
                    self.lips.append(seen - heard)
                    self.sound_shifts.append((now, heard - now))


def p95(values: list[float]) -> float:
    return sorted(abs(value) for value in values)[int(len(values) * 0.95)]


@pytest.mark.parametrize(
    ("jitter", "slow_video", "drift", "sound_drift", "lost"),
    [
        (0.0, 0.0, 0.0, 0.0, 0.0),
        (0.010, 0.0, 0.0, 0.0, 0.0),
        (0.010, 0.060, 0.0, 0.0, 0.0),
        (0.025, 0.080, 200e-6, 0.0, 0.0),
        (0.010, 0.060, -200e-6, 100e-6, 0.3),
        (0.010, 0.060, 200e-6, -100e-6, 0.6),
    ],
)
def test_lips_within_40_ms(jitter: float, slow_video: float, drift: float, sound_drift: float, lost: float) -> None:
    sender = Sender(1, jitter, slow_video, drift, sound_drift, lost_reports=lost)
    sender.run(100, 280, skip=60 if lost else 10)
    assert p95(sender.lips) < 0.040
    assert sender.late[True] / sum(sender.late) < 0.08
    assert MIN_DELAY <= sender.timeline.delay <= MAX_DELAY


def test_drift_is_followed_for_hours() -> None:
    """The sender's clock is 200 ppm fast, which is 2.9 s after four hours. Lip sync is unaffected."""
    sender = Sender(jitter=0.010, slow_video=0.050, drift=200e-6, sound_drift=100e-6)
    for hour in range(4):
        sender.run(hour * 3600, hour * 3600 + 60, skip=0.1 if hour else 15)
        # No media arrives in between (muted), but the clock continues.
    assert p95(sender.lips) < 0.040
    assert all(0.03 <= shift <= 0.25 for _, shift in sender.sound_shifts[500:])


def test_lip_sync_holds_for_half_an_hour() -> None:
    sender = Sender(jitter=0.005, slow_video=0.050, drift=-200e-6)
    sender.run(0, 1800, skip=10)
    assert p95(sender.lips) < 0.040
    assert sender.late[True] / sum(sender.late) < 0.08
    assert sender.sound.stepped <= 2


def test_before_the_first_report_arrival_decides() -> None:
    sender = Sender(slow_video=0.050)
    sender.run(0, 3, reports=False, skip=1)
    assert sender.lips
    assert all(abs(difference - 0.050) < 0.003 for difference in sender.lips)
    sender.lips.clear()
    sender.run(5, 12, skip=3)
    assert p95(sender.lips) < 0.003


def test_the_known_difference_is_kept_when_reports_stop() -> None:
    sender = Sender(slow_video=0.060, sound_drift=150e-6)
    sender.run(0, 30)
    sender.lips.clear()
    sender.run(30, 1230, reports=False)
    assert p95(sender.lips) < 0.010


@pytest.mark.parametrize("step", [3600.0, -3600.0, 0.2, -0.2])
def test_a_step_of_the_senders_clock_keeps_lip_sync(step: float) -> None:
    sender = Sender(jitter=0.005, slow_video=0.050)
    sender.run(0, 30)
    sender.lips.clear()
    sender.wall += step
    sender.run(30, 90)
    assert max(abs(difference) for difference in sender.lips) < 0.040


@pytest.mark.parametrize("off", [0.3, -0.3, 0.9, -0.9, 5.0, -3600.0])
def test_false_reports_never_place_sound_before_it_arrives(off: float) -> None:
    """All reports of the audio track are wrong by `off`. This is undetectable, but audio must not be dropped."""
    sender = Sender(jitter=0.005)
    late = 0
    for step in range(60 * 50):
        now = 100 + step / 50
        audio, video = sender.timestamps(now)
        arrival = now + 0.03 + sender.extra()
        sender.sound.receive_frame(audio, arrival)
        sender.video.receive_frame(video, arrival)
        late += (sender.sound.due(audio) or 0.0) < arrival
        if step % 50 == 0:
            for clock, timestamp in ((sender.sound, audio + round(off * 48_000)), (sender.video, video)):
                clock.receive_report(int((sender.wall + now) * NTP), timestamp & 0xFFFF_FFFF, now)
    assert late < 60 * 50 * 0.08


def test_a_step_in_both_arrivals_and_reports_is_followed_at_once() -> None:
    """The audio clock stops for 0.15 s. The first report afterwards restores lip sync."""
    sender = Sender(jitter=0.003, slow_video=0.030)
    sender.run(100, 120)
    lips = []
    for step in range(120 * 50, 130 * 50):
        now = step / 50
        audio, video = sender.timestamps(now)
        audio -= round(0.15 * 48_000)
        sender.sound.receive_frame(audio, now + 0.03 + sender.extra())
        if step % 2 == 0:
            sender.video.receive_frame(video, now + 0.06 + sender.extra())
        if step == 123 * 50:
            sender.sound.receive_report(int((sender.wall + now) * NTP), audio & 0xFFFF_FFFF, now)
            sender.video.receive_report(int((sender.wall + now) * NTP), video & 0xFFFF_FFFF, now)
        if step > 124 * 50:
            lips.append((sender.video.due(video) or 0.0) - (sender.sound.due(audio) or 0.0))
    assert p95(lips) < 0.040


def test_reports_that_contradict_each_other_do_not_move_the_sound() -> None:
    dice = random.Random(4)
    sender = Sender(jitter=0.005)
    sender.run(100, 110)
    for round_ in range(12):
        off = dice.uniform(-0.5, 0.5)
        sender.run(110 + 5 * round_, 115 + 5 * round_, reports=False)
        now = 115.0 + 5 * round_
        timestamp = sender.timestamps(now)[0] + round(off * 48_000)
        sender.sound.receive_report(int((sender.wall + now) * NTP), timestamp & 0xFFFF_FFFF, now)
    sender.lips.clear()
    sender.run(170, 180)
    assert p95(sender.lips) < 0.040
    assert sender.sound.stepped <= 1


def test_sound_moves_slowly_and_pictures_with_it() -> None:
    """The path becomes 20 ms faster. The change is inaudible, and lip sync holds throughout."""
    sender = Sender(slow_video=0.020)
    sender.run(0, 20, skip=15)
    before = sender.sound_shifts[-1][1]
    sender.sound_shifts.clear()
    sender.lips.clear()
    timeline = sender.timeline
    for step in range(1500):
        now = 20 + step / 50
        audio, video = sender.timestamps(now)
        sender.sound.receive_frame(audio, now + 0.010)
        sender.video.receive_frame(video, now + 0.030)
        sender.sound_shifts.append((now, (sender.sound.due(audio) or 0) - now))
        sender.lips.append((sender.video.due(video) or 0) - (sender.sound.due(audio) or 0))
    moves = [abs(b[1] - a[1]) for a, b in zip(sender.sound_shifts, sender.sound_shifts[1:], strict=False)]
    assert max(moves) <= SLEW * 0.021 + 1 / 48_000  # timestamps are integers
    assert sender.sound_shifts[-1][1] == pytest.approx(before - 0.020, abs=0.004)
    assert p95(sender.lips) < 0.005
    assert timeline.delay <= 0.06


def test_delayed_first_packets_do_not_delay_the_following_ones() -> None:
    """A burst of ten packets, the oldest 0.2 s late, as after connection setup. Its effect is soon gone."""
    timeline = PlayoutSync()
    sound, picture = timeline.open(48_000, leads=True), timeline.open(90_000, leads=False)
    for tick in range(100):
        now = max(0.2, tick * 0.02)
        for clock, rate in ((sound, 48_000), (picture, 90_000)):
            clock.receive_frame(tick * rate // 50, 100 + now)
    heard, shown = sound.due(99 * 960), picture.due(99 * 1800)
    assert heard is not None
    assert heard == shown
    assert heard - (100 + 99 * 0.02) <= MAX_DELAY
    assert timeline.delay <= MAX_DELAY


def test_a_burst_of_late_packets_causes_one_counted_step() -> None:
    sender = Sender()
    sender.run(0, 10)
    for step in range(200):
        now = 10 + step / 50
        sender.sound.receive_frame(sender.timestamps(now)[0], now + 0.03 + (0.1 if step % 5 == 0 else 0))
    assert sender.sound.stepped == 1
    assert 0.1 <= sender.timeline.delay <= MAX_DELAY


def test_a_track_with_restarted_timestamps_is_synchronized_again() -> None:
    sender = Sender()
    sender.run(0, 10)
    assert sender.sound.due(123_456_789_000) is not None
    sender.sound.receive_frame(5_000, 10.03)
    assert sender.sound.due(5_000) == pytest.approx(10.03 + MIN_DELAY, abs=0.01)


def test_a_closed_track_no_longer_leads() -> None:
    timeline = PlayoutSync()
    sound, video = timeline.open(48_000, leads=True), timeline.open(90_000, leads=False)
    assert sound.due(0) is None
    sound.receive_report(1, 1, 0.0)
    sound.receive_frame(0, 1.0)
    sound.close()
    sound.close()
    video.receive_frame(0, 5.0)
    assert video.due(0) == pytest.approx(5.0 + timeline.delay)


def test_a_stopped_track_no_longer_delays_the_others() -> None:
    """Slow video delays audio, but not while the video is paused."""
    sender = Sender(slow_video=0.100)
    sender.run(0, 30)
    assert sender.timeline.delay > 0.1
    for step in range(60 * 50):
        now = 30 + step / 50
        sender.sound.receive_frame(sender.timestamps(now)[0], now + 0.03)
    assert sender.timeline.delay == pytest.approx(MIN_DELAY, abs=0.001)


def test_sound_waits_for_pictures_that_take_long_to_decode() -> None:
    timeline = PlayoutSync()
    sound, picture = timeline.open(48_000, leads=True), timeline.open(90_000, leads=False)
    for tick in range(200):
        now = 100 + tick * 0.02
        if tick == 100:
            picture.took(0.09)
        sound.receive_frame(tick * 960, now)
        picture.receive_frame(tick * 1800, now)
    heard, shown = sound.due(199 * 960), picture.due(199 * 1800)
    assert heard is not None
    assert shown is not None
    assert abs(heard - shown) < 0.001
    assert heard - (100 + 199 * 0.02) == pytest.approx(0.09, abs=0.01)
