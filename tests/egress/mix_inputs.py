"""Real inputs of a mix, with decoders in virtual time and without packets."""

import time
from collections.abc import Callable

import numpy as np

from sfu.egress.inputs import Inputs, LipSyncClock
from sfu.egress.protocol import Member, Track
from sfu.egress.rtp_receiver import RtpReceiver
from sfu.mixer.audio_mixer import AudioMixer
from sfu.mixer.decoding import DecoderPool, VideoSource
from sfu.rtp.frames import CodedFrame
from sfu.transport.plain_transport import pair
from tests.support import packetize


def camera(owner: str, *, ssrc: int = 0, muted: bool = False) -> Track:
    return Track(
        id=f"{owner}-camera", ssrc=ssrc or ssrc_of(owner), kind="video", codec="VP8", source="camera", muted=muted
    )


def screen(owner: str, *, muted: bool = False) -> Track:
    track = f"{owner}-screen"
    return Track(id=track, ssrc=ssrc_of(track), kind="video", codec="VP8", source="screen_share", muted=muted)


def microphone(owner: str, *, muted: bool = False) -> Track:
    track = f"{owner}-microphone"
    return Track(id=track, ssrc=ssrc_of(track), kind="audio", codec="opus", source="microphone", muted=muted)


def ssrc_of(name: str) -> int:
    """An SSRC."""
    return int.from_bytes(name.encode()[:8].ljust(8, b"-"), "big") % 0xFFFF_FFFE + 1


def member(identity: str, *tracks: Track) -> Member:
    return Member(id=f"PA_{identity}", identity=identity, name=identity.title(), tracks=list(tracks))


def until(true: Callable[[], object]) -> None:
    """Waits for what other threads do."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


class MixInputs:
    """`events`: what the inputs log."""

    def __init__(self) -> None:
        self.now = 100.0
        self.server, worker = pair()
        self.receiver = RtpReceiver(worker)
        self.sound = AudioMixer()
        self.decoders = DecoderPool(1, now=lambda: self.now)
        self.events: list[tuple[str, str]] = []
        self.inputs = Inputs(self.receiver, self.sound, self._open, self._log_event)

    def show(self, identity: str, luma: int) -> None:
        """The camera of a participant sends a picture of this brightness, which is due at once."""
        picture = np.full((135, 160), 128, np.uint8)
        picture[:90] = luma
        (unit,) = packetize.encode("VP8", [picture], bit_rate=2_000_000)
        self.inputs.sources[f"{identity}-camera"].receive(CodedFrame(unit, 3000, True, self.now, 0))
        self.decoders.wait_idle()

    def close(self) -> None:
        self.decoders.close()
        self.server.close()
        self.receiver.sock.close()

    def _open(self, track: Track, clock: LipSyncClock) -> VideoSource:
        return self.decoders.open(track.codec, clock, screen=track.source == "screen_share")

    def _log_event(self, kind: str, text: str) -> None:
        self.events.append((kind, text))
