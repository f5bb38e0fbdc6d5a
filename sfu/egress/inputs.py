"""Participants and tracks of the mix, in the worker: turns the server's members into RTP streams, clocks and mixer sources.

The receiving thread calls it. The tick thread reads `members`, `sources` and `dominant`, which are replaced and never
changed in place.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field

from sfu.egress.protocol import Member, Speakers, Track
from sfu.egress.rtp_receiver import CLOCK_RATES, InboundStream, RtpReceiver
from sfu.mixer.audio_mixer import AudioMixer
from sfu.mixer.decoding import VideoSource
from sfu.mixer.layout import Member as LayoutMember
from sfu.mixer.playout_sync import PlayoutSync, TrackClock


@dataclass(slots=True)
class _TrackInput:
    """One received track."""

    track: Track
    clock: TrackClock
    stream: InboundStream
    picture: VideoSource | None


@dataclass(slots=True)
class _ParticipantInput:
    identity: str
    name: str
    timeline: PlayoutSync
    tracks: dict[str, _TrackInput] = field(default_factory=dict)
    has_sound: bool = False
    "Whether the participant has unmuted sound, with which its pictures must be synchronized."


def _ignore(kind: str, text: str) -> None:
    """Ignores the event."""


class LipSyncClock:
    """Clock of a video track that follows the participant's sound. Without sound, `due` returns None: show at once."""

    __slots__ = ("_clock", "_participant")

    def __init__(self, participant_input: _ParticipantInput, clock: TrackClock) -> None:
        self._participant = participant_input
        self._clock = clock

    def due(self, timestamp: int) -> float | None:
        return self._clock.due(timestamp) if self._participant.has_sound else None

    def took(self, seconds: float) -> None:
        self._clock.took(seconds)


class Inputs:
    def __init__(
        self,
        rtp_receiver: RtpReceiver,
        sound: AudioMixer,
        open_picture: Callable[[Track, "LipSyncClock"], VideoSource],
        log_event: Callable[[str, str], None],
    ) -> None:
        """`log_event(kind, text)` writes to the event log."""
        self._rtp_receiver = rtp_receiver
        self._sound = sound
        self._open_picture = open_picture
        self._log_event = log_event
        self._participants: dict[str, _ParticipantInput] = {}
        self._applied = False
        self._member_list: list[Member] = []
        self._levels: Mapping[str, float] = {}
        self._dominant = ""
        self.members: tuple[LayoutMember, ...] = ()
        """In order of joining."""
        self.sources: Mapping[str, VideoSource] = {}
        """By track id."""
        self.dominant = ""
        """Identity of the dominant speaker; empty: none."""
        self.version = 0
        """Increases with each change of `members`, `sources` or `dominant`."""

    def apply(self, members: list[Member]) -> None:
        """Applies the complete list of members. The first call logs no events, because those members joined earlier."""
        log_event, self._log_event = self._log_event, self._log_event if self._applied else _ignore
        self._apply(members)
        self._log_event, self._applied = log_event, True

    def _apply(self, members: list[Member]) -> None:
        self._member_list = members
        present = {member.id for member in members}
        for gone in [one for one in self._participants if one not in present]:
            participant_input = self._participants.pop(gone)
            for track_input in list(participant_input.tracks.values()):
                self._close(participant_input, track_input)
            self._log_event("leave", participant_input.name)
        for member in members:
            known = self._participants.get(member.id)
            if known is None:
                known = self._participants[member.id] = _ParticipantInput(member.identity, member.name, PlayoutSync())
                self._log_event("join", member.name)
            known.name = member.name
            self._apply_tracks(known, member.tracks)
        self._publish()

    def set_speakers(self, speakers: Speakers) -> None:
        self._levels, self._dominant = speakers.levels, speakers.dominant
        self._publish()

    def identity(self, participant: str) -> str:
        """Identity of a participant id. An unknown id is returned unchanged: it may already be an identity."""
        known = self._participants.get(participant)
        return known.identity if known is not None else participant

    def set_visible_tracks(self, tracks: set[str]) -> None:
        """Requests keyframes only for these tracks, whose pictures are visible."""
        for participant_input in self._participants.values():
            for track_input in participant_input.tracks.values():
                if track_input.picture is not None:
                    track_input.stream.wanted = track_input.track.id in tracks

    def _apply_tracks(self, participant_input: _ParticipantInput, tracks: list[Track]) -> None:
        wanted = {track.id: track for track in tracks if track.ssrc}
        for track_input in list(participant_input.tracks.values()):
            track = wanted.get(track_input.track.id)
            if track is None or (track.ssrc, track.codec, track.kind) != (
                track_input.track.ssrc,
                track_input.track.codec,
                track_input.track.kind,
            ):
                self._close(participant_input, track_input)
        for track in wanted.values():
            known = participant_input.tracks.get(track.id)
            if known is None:
                known = self._open(participant_input, track)
            before, known.track = known.track, track
            if track.kind == "audio":
                self._sound.set_muted(track.id, track.muted)
                continue
            if known.picture is not None:
                known.picture.paused = track.muted
            if track.source == "screen_share" and before.muted != track.muted:
                self._log_event("share-stop" if track.muted else "share", participant_input.name)
        participant_input.has_sound = any(track.kind == "audio" and not track.muted for track in wanted.values())

    def _open(self, participant_input: _ParticipantInput, track: Track) -> _TrackInput:
        audio = track.kind == "audio"
        clock = participant_input.timeline.open(CLOCK_RATES[track.kind], leads=audio)
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
            picture = self._open_picture(track, LipSyncClock(participant_input, clock))
            stream = InboundStream(track.ssrc, track.codec, audio=False, clock=clock, take=picture.receive)
            source = picture
            stream.needs_keyframe = lambda: source.needs_keyframe
            stream.wanted = False
        track_input = participant_input.tracks[track.id] = _TrackInput(track, clock, stream, picture)
        self._rtp_receiver.streams[track.ssrc] = stream
        if track.source == "screen_share":
            self._log_event("share", participant_input.name)
        return track_input

    def _close(self, participant_input: _ParticipantInput, track_input: _TrackInput) -> None:
        del participant_input.tracks[track_input.track.id]
        self._rtp_receiver.streams.pop(track_input.track.ssrc, None)
        track_input.clock.close()
        if track_input.picture is not None:
            track_input.picture.close()
        else:
            self._sound.close(track_input.track.id)
        if track_input.track.source == "screen_share":
            self._log_event("share-stop", participant_input.name)

    def _publish(self) -> None:
        track_input = [
            one for participant_input in self._participants.values() for one in participant_input.tracks.values()
        ]
        self.members = layout_members(self._member_list, self._levels, {one.track.id for one in track_input})
        self.sources = {one.track.id: one.picture for one in track_input if one.picture is not None}
        self.dominant = self.identity(self._dominant) if self._dominant in self._participants else ""
        self.version += 1


def layout_members(
    members: Iterable[Member], levels: Mapping[str, float], received: Container[str]
) -> tuple[LayoutMember, ...]:
    """Converts members for the director. `levels`: audio level by participant id. `received`: ids of received tracks."""
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
        found.append(LayoutMember(member.identity, member.name, camera, screen, muted=not voice, speaking=speaking))
    return tuple(found)
