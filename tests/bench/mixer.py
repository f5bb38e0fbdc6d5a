"""Cost of composing a picture, compared with ffmpeg's xstack and GStreamer's compositor doing the same with the same input.

    python -m tests.bench.mixer [unpaced] [live] [latency] [jitter] [--tiles 4,9,16,25] [--seconds 10]

720p30, x264 superfast zerolatency at 1.5 Mbps, VP8 in, the simulcast layer that fits the tile. "core" is CPU seconds per
second of media, all threads and libraries, start-up left out. All of one table in one run: the
ratios are to be trusted, the absolute figures are this machine's of this hour.
"""

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sfu.mixer.compositor import Compositor
from sfu.mixer.decoder import Decoder
from sfu.mixer.layout import Layout, Member, arrange, grid
from sfu.mixer.picture import Fitter, Picture
from sfu.outputs.encoder import VideoEncoder
from tests.bench import mixer_media as media

WIDTH, HEIGHT, BIT_RATE = 1280, 720, 1_500_000
LAYER = {4: 360, 9: 360, 16: 180, 25: 180}
GOALS = {4: 0.30, 9: 0.38, 16: 0.40, 25: 0.46}
PORT = 36_000
WARM_UP = 3.0
STEP, SWEEPING = 3000, 3010
"""RTP timestamp increments. With STEP (30 fps) frames always arrive in the same phase of the mixer's tick. With SWEEPING the
frame rate is slightly lower, so that the phase drifts through a whole tick in ten seconds."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=["unpaced", "live", "latency", "jitter"])
    parser.add_argument("--tiles", default="4,9,16,25")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--labels", action="store_true", help="with names and a border, which the peers do not draw")
    chosen = parser.parse_args()
    counts = [int(word) for word in chosen.tiles.split(",")]
    for height in {LAYER[count] for count in counts}:
        for number in range(media.CLIPS):
            media.ivf(height, number)
    for part in chosen.parts:
        table = {"unpaced": unpaced, "live": live, "latency": latency, "jitter": jitter}[part]
        table(counts, chosen.seconds, chosen.labels)
    return 0


def show(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    print(f"\n### {title}\n")
    heads = list(columns)
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for row in rows:
        print(
            "| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row) + " |",
            flush=True,
        )


# -- as fast as it goes -----------------------------------------------------------------------------------------------


def unpaced(counts: list[int], seconds: float, labels: bool) -> None:
    rows = []
    for count in counts:
        ours, theirs = [], []
        for _ in range(2):
            ours.append(_child(["-m", "tests.bench.mixer_unpaced", str(count), *(["labels"] if labels else [])]))
            theirs.append(_xstack(count) if shutil.which("ffmpeg") else float("nan"))
        rows.append((count, LAYER[count], min(ours), min(theirs), min(ours) / min(theirs), 1.06))
    show("Unpaced", ("tiles", "layer", "ours, core", "ffmpeg xstack, core", "ours : theirs", "goal"), rows)


def compose_all(count: int, *, labels: bool) -> None:
    """The unpaced live stream of ours, in this process."""
    units = [media.clip(LAYER[count], number) for number in range(media.CLIPS)]
    names = [f"Participant {tile}" if labels else "" for tile in range(count)]
    members = [Member(f"m{tile}", names[tile], f"t{tile}", speaking=labels and not tile) for tile in range(count)]
    scene = arrange(Layout.GRID, members, WIDTH, HEIGHT)
    compositor, encoder = Compositor(WIDTH, HEIGHT), VideoEncoder(WIDTH, HEIGHT, BIT_RATE)
    lines = [(tile, Decoder("VP8"), Fitter(), units[index % media.CLIPS]) for index, tile in enumerate(scene.tiles)]
    for number in range(media.FRAMES):
        pictures: dict[str, Picture | None] = {}
        for tile, decoder, fitter, clip in lines:
            frame = decoder.decode(clip[number])
            assert frame is not None
            pictures[tile.source] = fitter.fit(frame, tile.area.width, tile.area.height, tile.fit)
        encoder.encode(compositor.composite(scene, pictures), number * 3000)


def _child(command: list[str]) -> float:
    """Core of a Python process that prints its CPU seconds, imports left out."""
    done = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True)
    return float(done.stdout) / (media.FRAMES / 30)


def _xstack(count: int) -> float:
    """Core of ffmpeg, its start left out: what the first picture alone costs."""
    return (_ffmpeg(count, media.FRAMES) - _ffmpeg(count, 1)) / (media.FRAMES / 30)


def _ffmpeg(count: int, frames: int) -> float:
    inputs, scaled, places = [], [], []
    for tile, area in enumerate(grid(count, WIDTH, HEIGHT)):
        inputs += ["-threads", "1", "-i", str(media.ivf(LAYER[count], tile))]
        scaled.append(f"[{tile}:v]scale={area.width}:{area.height}:flags=bilinear[s{tile}]")
        places.append(f"{area.x}_{area.y}")
    names = "".join(f"[s{tile}]" for tile in range(count))
    graph = ";".join(scaled) + f";{names}xstack=inputs={count}:layout={'|'.join(places)},pad={WIDTH}:{HEIGHT}[out]"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-filter_complex_threads", "1", *inputs, "-filter_complex", graph,
         "-map", "[out]", "-c:v", "libx264", "-preset", "superfast", "-tune", "zerolatency", "-threads", "1",
         "-b:v", str(BIT_RATE), "-maxrate", str(BIT_RATE), "-bufsize", str(BIT_RATE), "-g", "30",
         "-frames:v", str(frames), "-f", "null", "-"],
        check=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# -- live ----------------------------------------------------------------------------------------------------------------


class Run:
    """One mixer process under a sender; `core` once it is over."""

    def __init__(
        self, command: list[str], count: int, seconds: float, jitter_ms: float = 0.0, step: int = STEP
    ) -> None:
        with tempfile.TemporaryDirectory() as directory:
            log = Path(directory) / "sent.npy"
            mixer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            time.sleep(1.5)
            if mixer.poll() is not None:
                raise RuntimeError(f"{command[0]} ended at once")
            sender = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.bench.mixer_media",
                    str(PORT),
                    str(count),
                    str(LAYER[count]),
                    str(seconds + WARM_UP + 1),
                    str(jitter_ms),
                    str(step),
                    str(log),
                ]
            )
            time.sleep(WARM_UP)
            clock = ~mixer.pid << 3 | 2
            began, before = time.monotonic(), time.clock_gettime(clock)
            time.sleep(seconds)
            self.core = (time.clock_gettime(clock) - before) / (time.monotonic() - began)
            self.window = began, began + seconds
            sender.wait(30)
            if mixer.poll() is None and "gst-launch-1.0" in command[0]:
                mixer.send_signal(signal.SIGINT)
            mixer.wait(30)
            self.sent = np.load(log)


class Ours(Run):
    """Also: seconds from the last packet to the encoded picture, per tile, and the share of pictures shown."""

    def __init__(self, count: int, seconds: float, *words: str, jitter_ms: float = 0.0, step: int = STEP) -> None:
        with tempfile.TemporaryDirectory() as directory:
            log = Path(directory) / "shown.npy"
            command = [sys.executable, "-m", "tests.bench.mixer_live", str(PORT), str(count)]
            arguments = [str(seconds + WARM_UP + 4), str(log), str(step), *words]
            super().__init__([*command, *arguments], count, seconds, jitter_ms, step)
            found = np.load(log)
        encoded = {(int(tile), int(index)): at for tile, index, at in found if tile >= 0}
        begin, end = self.window
        delays: dict[int, list[float]] = {tile: [] for tile in range(count)}
        due = 0
        for tile, index, at in self.sent:
            if begin <= at < end:
                due += 1
                if (int(tile), int(index)) in encoded:
                    delays[int(tile)].append(encoded[int(tile), int(index)] - at)
        self.delays = [1e3 * np.array(one) for one in delays.values()]
        self.all = np.concatenate(self.delays)
        self.shown = len(self.all) / due
        self.composite = 1e3 * float(found[found[:, 0] == -1][:, 2].mean())
        self.encode = 1e3 * float(found[found[:, 0] == -2][:, 2].mean())
        self.dropped = int(found[-1][1])


def live(counts: list[int], seconds: float, labels: bool) -> None:
    rows = []
    for count in counts:
        theirs, cheaper = _gstreamer(count, seconds)
        ours = Ours(count, seconds, *(["labels"] if labels else []))
        rows.append(
            (
                count,
                LAYER[count],
                ours.core,
                GOALS[count],
                theirs,
                ours.core / theirs,
                0.85,
                cheaper,
                ours.core / cheaper,
                ours.composite,
                ours.encode,
            )
        )
    columns = (
        "tiles",
        "layer",
        "ours, core",
        "goal",
        "GStreamer, core",
        "ours : theirs",
        "goal",
        "with FFmpeg's decoder",
        "ours : theirs",
        "compose ms",
        "encode ms",
    )
    show("Live", columns, rows)


def latency(counts: list[int], seconds: float, labels: bool) -> None:
    rows = []
    for count in counts:
        for words in ((), ("locked",)):
            # On stage it is the lock that is asked for; elsewhere every phase counts.
            step = STEP if words else SWEEPING
            ours = Ours(count, max(seconds, 10.0), *words, *(["labels"] if labels else []), step=step)
            stage = ours.delays[0]
            rows.append(
                (
                    count,
                    *(words or ("even",)),
                    f"{ours.all.mean():.1f}",
                    f"{np.percentile(ours.all, 95):.1f}",
                    f"{stage.mean():.1f}",
                    f"{np.percentile(stage, 95):.1f}",
                    f"{100 * ours.shown:.2f}",
                    ours.dropped,
                )
            )
    columns = ("tiles", "tick", "mean ms", "p95 ms", "stage mean", "stage p95", "shown %", "ticks dropped")
    show(
        "Last RTP packet → encoded picture (goals: mean 28, p95 42; on stage with the locked tick p95 21)",
        columns,
        rows,
    )


def jitter(counts: list[int], seconds: float, labels: bool) -> None:
    rows = []
    for count in counts:
        for words in ((), ("locked",)):
            ours = Ours(count, max(seconds, 10.0), *words, jitter_ms=25.0, step=STEP if words else SWEEPING)
            rows.append(
                (
                    count,
                    *(words or ("even",)),
                    f"{100 * ours.shown:.2f}",
                    f"{ours.all.mean():.1f}",
                    f"{np.percentile(ours.all, 95):.1f}",
                    f"{ours.delays[0].mean():.1f}",
                )
            )
    columns = ("tiles", "tick", "shown %", "mean ms", "p95 ms", "stage mean")
    show("25 ms of jitter, last RTP packet → encoded picture (goals: 99 % shown, mean 45)", columns, rows)


def _gstreamer(count: int, seconds: float) -> tuple[float, float]:
    """Cores with the VP8 decoder that GStreamer chooses by itself (its highest rank), and with FFmpeg's."""
    if not shutil.which("gst-launch-1.0"):
        return float("nan"), float("nan")
    found = []
    for decoder in ("vp8dec threads=1", "avdec_vp8"):
        try:
            found.append(Run(_pipeline(count, decoder), count, seconds).core)
        except RuntimeError as error:  # a plug-in is not installed here
            print(f"GStreamer with {decoder}: {error}", file=sys.stderr)
            found.append(float("nan"))
    return found[0], found[1]


def _pipeline(count: int, decoder: str) -> list[str]:
    pads, inlets = [], []
    for tile, area in enumerate(grid(count, WIDTH, HEIGHT)):
        pad = f"sink_{tile}"
        pads.append(f"{pad}::xpos={area.x} {pad}::ypos={area.y} {pad}::width={area.width} {pad}::height={area.height}")
        caps = "application/x-rtp,media=video,clock-rate=90000,encoding-name=VP8,payload=96"
        inlets.append(
            f'udpsrc address=127.0.0.1 port={PORT + 2 * tile} caps="{caps}" ! rtpjitterbuffer latency=20 ! rtpvp8depay'
            f" ! {decoder} ! queue max-size-buffers=3 ! c.{pad}"
        )
    text = (
        f"gst-launch-1.0 -q compositor name=c background=black {' '.join(pads)}"
        f" ! video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate=30/1"
        f" ! x264enc speed-preset=superfast tune=zerolatency threads=1 bitrate={BIT_RATE // 1000} key-int-max=30"
        f" ! fakesink sync=false async=false {' '.join(inlets)}"
    )
    return [shutil.which("gst-launch-1.0") or "", *_words(text)[1:]]


def _words(text: str) -> list[str]:
    return text.replace('"', "").split()


if __name__ == "__main__":
    os.environ.setdefault("GST_DEBUG", "0")
    sys.exit(main())
