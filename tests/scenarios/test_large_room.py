"""Thirty participants in a virtual SFU. The room shows six cameras and sends three microphones; a few participants talk.

The room, its levels and its limits are the real ones, and so are the engine and the downlink; only the connection between
the two is made here. `python -m tests.scenarios.test_large_room` prints the result of each turn.
"""

from dataclasses import dataclass, field
from dataclasses import replace as changed
from typing import Literal

import pytest

from sfu.ids import TrackId
from sfu.rooms.participant import Participant
from sfu.rooms.ports import MediaSource, SubscriptionSettings
from sfu.rooms.track_description import TrackDescription
from tests.rooms.fakes import RoomsFixture
from tests.support.network import Link, Network
from tests.support.seeds import seeds
from tests.support.simulcast import Microphone, Simulcast
from tests.support.viewer import Screen, Speaker
from tests.support.virtual_sfu import Attendee, Publication, VirtualSfu
from tests.support.wire import engine_track

PEOPLE, LAST_N, LOUDEST = 30, 6, 3
DELAY = 0.02
"""Of each link."""


@dataclass(eq=False)
class Source:
    """A MediaSource: a track of the virtual SFU."""

    name: str
    sfu: VirtualSfu
    publication: Publication

    @property
    def kind(self) -> str:
        return self.publication.track.kind

    codec = "any"

    def set_muted(self, muted: bool) -> None:
        self.sfu.engine.mute(self.publication.track, muted, self.sfu.network.now)

    def take_level(self) -> int | None:
        return self.publication.track.take_level()


@dataclass(eq=False)
class RecordingSubscriber:
    """A MediaSink that records subscription settings as a subscribing connection does."""

    sfu: VirtualSfu
    attendee: Attendee
    screens: dict[str, Screen] = field(default_factory=dict)
    speakers: dict[str, Speaker] = field(default_factory=dict)
    names: dict[TrackId, str] = field(default_factory=dict)
    comings: int = 0
    """Pictures that came back."""

    def subscribe(self, track: TrackId, source: MediaSource, settings: SubscriptionSettings) -> None:
        assert isinstance(source, Source)
        self.names[track] = source.name
        stream = self.sfu.subscribe(self.attendee, source.name, hidden=settings.stopped)
        if isinstance(stream, Screen):
            self.screens[source.name] = stream
        else:
            self.speakers[source.name] = stream
        self._carry_out(source.name, settings)

    def update(self, track: TrackId, settings: SubscriptionSettings) -> None:
        self._carry_out(self.names[track], settings)

    def unsubscribe(self, track: TrackId) -> None:
        raise AssertionError("no participant leaves")

    def _carry_out(self, name: str, settings: SubscriptionSettings) -> None:
        downlink, down_track = self.attendee.downlink, self.attendee.down_tracks[name]
        downlink.requests[name] = changed(downlink.requests[name], hidden=settings.stopped)
        downlink.touch()
        if settings.stopped:
            down_track.clear_target()
        elif down_track.track.kind == "audio":
            self.sfu.engine.set_target(down_track, engine_track(down_track).encodings[""], self.sfu.network.now)
        else:
            self.comings += 1


@dataclass(frozen=True)
class Turn:
    start: float
    seconds: float
    who: str


class Assembly:
    def __init__(self, seed: int) -> None:
        self.network = Network(seed)
        self.sfu = VirtualSfu(self.network)
        self.fixture = RoomsFixture(last_n=LAST_N, loudest=LOUDEST)
        self.turns: list[Turn] = []
        self.most: dict[Literal["audio", "video"], int] = {"audio": 0, "video": 0}
        self._people: dict[str, Participant] = {}
        for number in range(PEOPLE):
            self._come(f"p{number}")
        self.network.every(0.1, lambda: self._observe(), first=0.05)
        self.network.every(0.02, self._talk)
        self.network.run(2.0)
        down = Link(self.network, rate=20e6, delay=DELAY)
        self.subscriber = RecordingSubscriber(self.sfu, self.sfu.attend(down, Link(self.network, delay=DELAY)))
        self._people[f"p{PEOPLE - 1}"].subscriptions.attach_sink(self.subscriber)

    def _come(self, name: str) -> None:
        up, back = Link(self.network, rate=10e6, delay=DELAY), Link(self.network, delay=DELAY)
        self.sfu.publish(name, up, back, layers=[Simulcast("q", 11, 320, 180, 100e3)])
        person = self._people[name] = self.fixture.join(name)
        for source, track in (("microphone", name + "*"), ("camera", name)):
            media = Source(track, self.sfu, self.sfu.publications[track])
            self.fixture.room.publications.publish(person, media, TrackDescription(source=source))  # type: ignore[arg-type]  # one of two literals

    def _observe(self) -> None:
        self.fixture.rooms.observe_levels(self.network.now)
        if self.network.now > 2.5:
            sent = [
                down_track.track.kind
                for down_track in self.subscriber.attendee.down_tracks.values()
                if down_track.current is not None
            ]
            for kind in self.most:
                self.most[kind] = max(self.most[kind], sent.count(kind))

    def _talk(self) -> None:
        """Sets what each microphone says of itself: speech has gaps, silence has noise."""
        now, random = self.network.now, self.network.random
        loud = {turn.who for turn in self.turns if turn.start <= now < turn.start + turn.seconds}
        for name in self._people:
            source = self.sfu.publications[name + "*"].source
            assert isinstance(source, Microphone)
            speaks = name in loud and random.random() < 0.85
            source.level = random.randint(15, 32) if speaks else random.randint(55, 90)

    def meet(self, seconds: float) -> None:
        """Five of them talk in turns, sometimes into each other's words; others cough."""
        random, now = self.network.random, self.network.now + 1.0
        names = [f"p{number}" for number in range(PEOPLE - 1)]  # the last one listens
        talkers = random.sample(names, 5)
        others = [name for name in names if name not in talkers]
        end, who = now + seconds, ""
        while now < end:
            who = random.choice([name for name in talkers if name != who])
            length = random.uniform(2.0, 6.0)
            self.turns.append(Turn(now, length, who))
            if random.random() < 0.5:
                self.turns.append(Turn(now + random.uniform(0.5, length), 0.2, random.choice(others)))
            now += length + random.uniform(-0.5, 1.0)
        self.network.run(now)

    def delays(self, turn: Turn) -> tuple[float, float]:
        """From the first sound of a turn to its arrival, and to the first picture."""
        sound = [at for at in self.subscriber.speakers[turn.who + "*"].arrived.values() if at >= turn.start + 2 * DELAY]
        picture = [at for at, _, _ in self.subscriber.screens[turn.who].shown if at >= turn.start + 2 * DELAY]
        return min(sound, default=99.0) - turn.start, min(picture, default=99.0) - turn.start


@pytest.mark.parametrize("seed", seeds(1, 2))
def test_speakers_are_heard_and_seen_without_flapping(seed: int) -> None:
    room = Assembly(seed)
    room.meet(25.0)
    speeches = [turn for turn in room.turns if turn.seconds >= 2.0]
    assert len(speeches) >= 4
    for turn in speeches:
        sound, picture = room.delays(turn)
        assert sound <= 2 * DELAY + 0.14  # a tenth of a second, and speech may begin with a quiet sample or two
        assert picture <= 1.6
    assert room.most == {"audio": LOUDEST, "video": LAST_N}
    assert room.subscriber.comings - LAST_N <= len({turn.who for turn in speeches}) + 1  # a cough shows no camera


if __name__ == "__main__":
    for seed in (1, 2, 3):
        room = Assembly(seed)
        room.meet(25.0)
        for turn in room.turns:
            sound, picture = room.delays(turn)
            print(f"{seed} {turn.start:6.2f} {turn.who:4} {turn.seconds:4.1f} s  {sound:5.3f} {picture:6.3f}")
        print(room.most, room.subscriber.comings)
