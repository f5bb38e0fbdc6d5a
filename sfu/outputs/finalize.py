"""Finalizes a recording: remuxes fragments into one fast-start MP4 with chapters. Also recovers recordings after a crash.

Run it in a short-lived process (`python -m sfu.outputs.finalize DIRECTORY`), because libavformat reads files that may
be truncated. The result appears under its name only when it is complete and synced; then the fragments are deleted. A
second run does nothing. ISO/IEC 14496-12 8.8 (fragments); the QuickTime chapter track as libavformat writes it.
"""

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from struct import unpack_from
from typing import Final

import av

from sfu.outputs.recorder import EVENTS

RECORDING_FILE: Final = "recording.mp4"
_PART: Final = "recording.mp4.part"
_MILLISECOND: Final = Fraction(1, 1000)
_CHAPTER_LIMIT: Final = 255
"""Maximum number of chapters: players count them in one byte."""
_TITLE_LIMIT: Final = 200


@dataclass(frozen=True, slots=True)
class Finalized:
    path: str
    duration: float
    "Seconds."
    chapters: int
    size: int
    cut: int
    "Bytes of incomplete fragments that were left out."


@dataclass(frozen=True, slots=True)
class Mark:
    at: float
    title: str


def runs(directory: Path) -> list[Path]:
    """Fragment files of a recording that is not finalized yet, in order; empty if it is finalized."""
    found = [path for path in directory.glob("recording.*.mp4") if path.name.split(".")[1].isdigit()]
    return sorted(found, key=lambda path: int(path.name.split(".")[1]))


def finalize(directory: Path, title: str = "") -> Finalized | None:
    """Finalizes a recording; None if there is nothing to do. Raises OSError, of which av.FFmpegError is a subclass.

    Fragments of different encoders (a setting changed between two workers) do not fit into one file. Those of another
    encoder are left for the next call, which makes a second file.
    """
    files = runs(directory)
    if not files:
        return None
    cut = 0
    usable = []
    for path in files:
        end, fragments = whole(path)
        cut += path.stat().st_size - end
        if fragments:
            os.truncate(path, end)
            usable.append(path)
    if not usable:
        return None
    compatible = _same_encoder(usable)
    files = [path for path in files if path not in usable or path in compatible]
    epochs, marks = _events(directory)
    part, result = directory / _PART, directory / _name(compatible[0])
    duration, count = _remux(compatible, epochs, marks, part, title)
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(result)
    _sync_directory(directory)
    for path in files:
        path.unlink()
    return Finalized(str(result), duration, count, result.stat().st_size, cut)


def _name(first: Path) -> str:
    """Depends only on the fragments, so that a run after a crash overwrites its own unfinished result and no other file."""
    number = int(first.name.split(".")[1])
    return RECORDING_FILE if number == 1 else f"recording-{number}.mp4"


def _same_encoder(files: list[Path]) -> list[Path]:
    found: list[Path] = []
    wanted: list[tuple[str, bytes | None]] = []
    for path in files:
        with av.open(str(path)) as source:
            config = [(stream.codec_context.name, stream.codec_context.extradata) for stream in source.streams]
        if found and config != wanted:
            break
        wanted = config
        found.append(path)
    return found


def whole(path: Path) -> tuple[int, int]:
    """Returns (offset behind the last complete fragment, number of fragments) of a possibly truncated fragmented MP4."""
    size, at, end, fragments, moof = path.stat().st_size, 0, 0, 0, False
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            head = file.read(16)
            length, kind = unpack_from(">I4s", head)
            if length == 1 and len(head) == 16:
                (length,) = unpack_from(">Q", head, 8)
            if length < 8 or at + length > size:
                break
            at += length
            if kind == b"moof":
                moof = True
            elif kind == b"mdat" and moof:
                fragments, end, moof = fragments + 1, at, False
            elif kind in (b"moov", b"ftyp"):
                end = at
    return end, fragments


def _events(directory: Path) -> tuple[dict[str, float], list[Mark]]:
    epochs: dict[str, float] = {}
    marks: list[Mark] = []
    with suppress(FileNotFoundError), (directory / EVENTS).open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                event = json.loads(line)
                if event["event"] == "media":
                    epochs.setdefault(str(event["file"]), float(event["epoch"]))
                elif event.get("chapter"):
                    text = str(event.get("text") or event["event"])
                    title = "".join([letter if letter.isprintable() else " " for letter in text])
                    marks.append(Mark(float(event["media"]), title[:_TITLE_LIMIT]))
            except (ValueError, KeyError, TypeError):
                continue  # the last line may be incomplete
    return epochs, sorted(marks, key=lambda mark: mark.at)


def _chapters(marks: list[Mark], duration: float) -> list[Mark]:
    """Sorts chapter marks: merges those within half a second, and starts the first at 0."""
    found: list[Mark] = []
    for mark in marks:
        if mark.at >= duration:
            continue
        if found and mark.at - found[-1].at < 0.5:
            if mark.title not in found[-1].title:
                found[-1] = Mark(found[-1].at, f"{found[-1].title} · {mark.title}"[:_TITLE_LIMIT])
        else:
            found.append(mark)
    if found and found[0].at >= 0.5:
        found.insert(0, Mark(0.0, "Start"))
    elif found:
        found[0] = Mark(0.0, found[0].title)
    return found[:_CHAPTER_LIMIT]


def _remux(files: list[Path], epochs: dict[str, float], marks: list[Mark], part: Path, title: str) -> tuple[float, int]:
    """Returns (duration, number of chapters). Later files are placed by the start times of their workers."""
    spans = [_span(path) for path in files]
    first = files[0].name
    # Mix times of all workers on the clock of the first one. Without an event log, files follow each other directly.
    shifts: list[Fraction] = []
    after = Fraction(0)
    for path, (start, end) in zip(files, spans, strict=True):
        if path.name in epochs and first in epochs:
            shift = Fraction(epochs[path.name] - epochs[first]).limit_denominator(1000) - spans[0][0]
        else:
            shift = after - start
        shift = max(shift, after - start)
        shifts.append(shift)
        after = shift + end
    duration = float(after)
    chapters = _chapters(marks, duration)
    with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart", "brand": "isom"}) as output:
        if title:
            output.metadata["title"] = title[:_TITLE_LIMIT]
        ends = [*[mark.at for mark in chapters[1:]], duration][: len(chapters)]
        output.set_chapters(
            [
                {
                    "id": number,
                    "start": round(mark.at * 1000),
                    "end": round(end * 1000),
                    "time_base": _MILLISECOND,
                    "metadata": {"title": mark.title},
                }
                for number, (mark, end) in enumerate(zip(chapters, ends, strict=True))
            ]
        )
        streams: list[av.stream.Stream] = []
        for path, shift in zip(files, shifts, strict=True):
            with av.open(str(path)) as source:
                if not streams:
                    streams = [output.add_stream_from_template(stream, opaque=True) for stream in source.streams]
                for packet in source.demux():
                    if packet.dts is None or packet.pts is None or packet.stream.index >= len(streams):
                        continue
                    assert packet.time_base is not None
                    move = round(shift / packet.time_base)
                    if packet.pts + move < 0:
                        continue  # sound before the first picture
                    packet.pts += move
                    packet.dts += move
                    packet.stream = streams[packet.stream.index]
                    output.mux_one(packet)
    return duration, len(chapters)


def _span(path: Path) -> tuple[Fraction, Fraction]:
    """Mix times at which the pictures of a file begin and end."""
    start: Fraction | None = None
    end = Fraction(0)
    with av.open(str(path)) as source:
        stream = source.streams.video[0] if source.streams.video else source.streams[0]
        for packet in source.demux(stream):
            if packet.pts is None or packet.time_base is None:
                continue
            start = packet.pts * packet.time_base if start is None else start
            end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
    return start or Fraction(0), end


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main(arguments: list[str]) -> int:
    for name in arguments:
        try:
            while (done := finalize(Path(name))) is not None:
                print(json.dumps({"directory": name, **asdict(done)}))
        except (OSError, ValueError, MemoryError) as error:
            print(json.dumps({"directory": name, "error": str(error)}))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
