"""Who is in the programme, in the worker: the server's members become streams, clocks, sources, and the director's members.

Used by the receiving thread. The thread that ticks reads `members`, `sources`, `dominant`, which are replaced and never
changed in place.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field

from sfu.egress.protocol import Member, Speakers, Track
from sfu.egress.rtp_receiver import CLOCK_RATES, InboundStream, Intake
from sfu.mixer.decoding import VideoSource
from sfu.mixer.layout import Member as Seen
from sfu.mixer.sound import SoundMix
from sfu.mixer.timeline import Timeline, TrackClock


@dataclass(slots=True)
class _Held:
    """One track that is received."""

    track: Track
    clock: TrackClock
    stream: InboundStream
    picture: VideoSource | None


@dataclass(slots=True)
class _Person:
    identity: str
    name: str
    timeline: Timeline
    tracks: dict[str, _Held] = field(default_factory=dict)
    voiced: bool = False
    "Whether there is sound that pictures have to wait for."


def _silent(kind: str, text: str) -> None:
    """Nothing happened."""


class LipClock:
    """When pictures' sound is heard, while there is any: without sound they wait for nothing."""

    __slots__ = ("_clock", "_person")

    def __init__(self, person: _Person, clock: TrackClock) -> None:
        self._person = person
        self._clock = clock

    def due(self, timestamp: int) -> float | None:
        return self._clock.due(timestamp) if self._person.voiced else None

    def took(self, seconds: float) -> None:
        self._clock.took(seconds)


class People:
    def __init__(
        self,
        intake: Intake,
        sound: SoundMix,
        open_picture: Callable[[Track, "LipClock"], VideoSource],
        tell: Callable[[str, str], None],
    ) -> None:
        """`tell(kind, text)`: for the event log."""
        self._intake = intake
        self._sound = sound
        self._open_picture = open_picture
        self._tell = tell
        self._people: dict[str, _Person] = {}
        self._begun = False
        self._said: list[Member] = []
        self._levels: Mapping[str, float] = {}
        self._dominant = ""
        self.members: tuple[Seen, ...] = ()
        """In the order of their coming."""
        self.sources: Mapping[str, VideoSource] = {}
        """By track id."""
        self.dominant = ""
        """Identity."""
        self.version = 0
        """Grows with every change of the three."""

    def apply(self, members: list[Member]) -> None:
        """Everybody who is there now. Those of the first call were there before: they are no news."""
        tell, self._tell = self._tell, self._tell if self._begun else _silent
        self._apply(members)
        self._tell, self._begun = tell, True

    def _apply(self, members: list[Member]) -> None:
        self._said = members
        present = {member.id for member in members}
        for gone in [one for one in self._people if one not in present]:
            person = self._people.pop(gone)
            for held in list(person.tracks.values()):
                self._close(person, held)
            self._tell("leave", person.name)
        for member in members:
            known = self._people.get(member.id)
            if known is None:
                known = self._people[member.id] = _Person(member.identity, member.name, Timeline())
                self._tell("join", member.name)
            known.name = member.name
            self._apply_tracks(known, member.tracks)
        self._publish()

    def hear(self, speakers: Speakers) -> None:
        self._levels, self._dominant = speakers.levels, speakers.dominant
        self._publish()

    def identity(self, participant: str) -> str:
        """Of a participant id (or an identity already)."""
        known = self._people.get(participant)
        return known.identity if known is not None else participant

    def show(self, tracks: set[str]) -> None:
        """Which pictures are needed now: only theirs are asked for."""
        for person in self._people.values():
            for held in person.tracks.values():
                if held.picture is not None:
                    held.stream.wanted = held.track.id in tracks

    def _apply_tracks(self, person: _Person, tracks: list[Track]) -> None:
        wanted = {track.id: track for track in tracks if track.ssrc}
        for held in list(person.tracks.values()):
            track = wanted.get(held.track.id)
            if track is None or (track.ssrc, track.codec, track.kind) != (
                held.track.ssrc,
                held.track.codec,
                held.track.kind,
            ):
                self._close(person, held)
        for track in wanted.values():
            known = person.tracks.get(track.id)
            if known is None:
                known = self._open(person, track)
            before, known.track = known.track, track
            if track.kind == "audio":
                self._sound.set_muted(track.id, track.muted)
                continue
            if known.picture is not None:
                known.picture.paused = track.muted
            if track.source == "screen_share" and before.muted != track.muted:
                self._tell("share-stop" if track.muted else "share", person.name)
        person.voiced = any(track.kind == "audio" and not track.muted for track in wanted.values())

    def _open(self, person: _Person, track: Track) -> _Held:
        audio = track.kind == "audio"
        clock = person.timeline.open(CLOCK_RATES[track.kind], leads=audio)
        picture: VideoSource | None = None
        if audio:
            self._sound.open(track.id, clock)
            stream = InboundStream(
                track.ssrc,
                track.codec,
                audio=True,
                clock=clock,
                take=lambda frame: self._sound.receive(track.id, frame),
            )
        else:
            picture = self._open_picture(track, LipClock(person, clock))
            stream = InboundStream(track.ssrc, track.codec, audio=False, clock=clock, take=picture.receive)
            source = picture
            stream.lacks = lambda: source.needs_keyframe
            stream.wanted = False
        held = person.tracks[track.id] = _Held(track, clock, stream, picture)
        self._intake.streams[track.ssrc] = stream
        if track.source == "screen_share":
            self._tell("share", person.name)
        return held

    def _close(self, person: _Person, held: _Held) -> None:
        del person.tracks[held.track.id]
        self._intake.streams.pop(held.track.ssrc, None)
        held.clock.close()
        if held.picture is not None:
            held.picture.close()
        else:
            self._sound.close(held.track.id)
        if held.track.source == "screen_share":
            self._tell("share-stop", person.name)

    def _publish(self) -> None:
        held = [one for person in self._people.values() for one in person.tracks.values()]
        self.members = seen_members(self._said, self._levels, {one.track.id for one in held})
        self.sources = {one.track.id: one.picture for one in held if one.picture is not None}
        self.dominant = self.identity(self._dominant) if self._dominant in self._people else ""
        self.version += 1


def seen_members(members: Iterable[Member], levels: Mapping[str, float], received: Container[str]) -> tuple[Seen, ...]:
    """Members as the director knows them. `levels`: who speaks, by participant id; `received`: ids of tracks that are."""
    found = []
    for member in members:
        pictures = [
            track for track in member.tracks if track.kind == "video" and not track.muted and track.id in received
        ]
        camera = next((track.id for track in pictures if track.source != "screen_share"), "")
        screen = next((track.id for track in pictures if track.source == "screen_share"), "")
        sounds = [track for track in member.tracks if track.kind == "audio" and track.source != "screen_share_audio"]
        voice = any(not track.muted for track in sounds)
        speaking = voice and levels.get(member.id, 0.0) > 0.0
        found.append(Seen(member.identity, member.name, camera, screen, muted=not voice, speaking=speaking))
    return tuple(found)
