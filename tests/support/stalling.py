"""`sfu bot` whose capture stalls or whose clocks step: `STALLS='sound 8 1.0; both 14 2' python -m tests.support.stalling bot`.

Each stall is `KIND AT SECONDS`: `sound`, `picture` or `both` send nothing from `AT` on (seconds after the first frame) for
`SECONDS` and continue with gap-free timestamps. `forward` and `back` move the sound's timestamps without a pause. `REPORTS`
says what the sender reports are: `true` (default; every 5 s, as browsers do), `never` or `false` (sound 0.7 s off).
"""

import os
import sys
import time
from dataclasses import dataclass, replace

from sfu import cli
from sfu.bots import bot, publisher
from sfu.bots.media_sources import Picture, Sound
from sfu.bots.outbound import OutboundStream
from sfu.bots.publisher import PublishingConnection
from sfu.rtp.rtcp import SenderReport


@dataclass(frozen=True)
class Stall:
    kind: str
    at: float
    seconds: float


STALLS = [
    Stall(words[0], float(words[1]), float(words[2]))
    for text in os.environ.get("STALLS", "").split(";")
    if (words := text.split())
]
FALSE = 0.7
REPORTS = os.environ.get("REPORTS", "true")
publisher.REPORT_INTERVAL = 5.0  # type: ignore[misc]  # another process's constant, for this run only


class StallingConnection(PublishingConnection):
    _began = 0.0
    _keyless = False

    def _at(self) -> float:
        now = time.monotonic()
        self._began = self._began or now
        return now - self._began

    def _stalled(self, kind: str) -> float:
        """Seconds of this kind's clock that stalls took so far; −1: one goes on."""
        at, total = self._at(), 0.0
        for stall in STALLS:
            if at < stall.at or stall.kind not in (kind, "both", *(("forward", "back") if kind == "sound" else ())):
                continue
            if stall.kind in ("forward", "back"):
                total += stall.seconds if stall.kind == "back" else -stall.seconds
            elif at < stall.at + stall.seconds:
                return -1.0
            else:
                total += stall.seconds
        return total

    def send_sound(self, sound: Sound) -> None:
        stalled = self._stalled("sound")
        if self.audio is None or stalled == -1.0:
            return
        self._first = getattr(self, "_first", self.audio.timestamp_offset)
        self.audio.timestamp_offset = self._first - round(stalled * 48_000)
        super().send_sound(sound)

    def send_picture(self, layer: int, picture: Picture) -> None:
        stalled = self._stalled("picture")
        if stalled == -1.0:
            self._keyless = True  # an encoder that is given nothing keeps its references; this one has gone on
            return
        if self._keyless and self._camera is not None:
            self._camera.request_keyframe()
            if not picture.key:
                return
            self._keyless = False
        for stream in self.video:
            if not hasattr(self, "_firsts"):
                self._firsts = {one.ssrc: one.timestamp_offset for one in self.video}
            stream.timestamp_offset = self._firsts[stream.ssrc] - round(stalled * 90_000)
        super().send_picture(layer, picture)

    def handle_timer(self, now: float) -> None:
        if REPORTS == "never":
            self._report_at = now + 10.0
        if self._stalled("sound") == -1.0 and self._stalled("picture") == -1.0:
            self._report_at = max(self._report_at, now + 0.5)
        super().handle_timer(now)


class FalseStream(OutboundStream):
    """Its reports say of sound that it was captured `FALSE` seconds earlier than it was."""

    def sender_report(self, unix_time: float) -> SenderReport:
        report = super().sender_report(unix_time)
        off = round(FALSE * self.clock_rate) if self.clock_rate == 48_000 else 0
        return replace(report, rtp_timestamp=report.rtp_timestamp + off & 0xFFFFFFFF)


if __name__ == "__main__":
    if REPORTS == "false":
        publisher.OutboundStream = FalseStream  # type: ignore[attr-defined]  # replaces it in this process only
    bot.PublishingConnection = StallingConnection  # type: ignore[attr-defined]  # replaces it in this process only
    sys.exit(cli.main(sys.argv[1:]))
