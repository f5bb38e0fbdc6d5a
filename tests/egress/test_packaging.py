"""Packaging of several renditions: they start together with a segment and are flushed at the end."""

from collections.abc import Callable

from sfu.egress.packaging import RECORDING, Packaging
from sfu.egress.protocol import Init, Part, ToServer
from sfu.outputs.encoder import EncodedPacket

AVCC = bytes.fromhex("0164001fffe1000467640028010003 68eb00".replace(" ", ""))


def picture(number: int) -> EncodedPacket:
    return EncodedPacket(b"\0\0\0\1\x65", 3000 * number, 3000 * number, number % 30 == 0, 3000)


def packaged(run: Callable[[Packaging], None]) -> list[ToServer]:
    sent: list[ToServer] = []
    packaging = Packaging({"360p": (640, 360), "180p": (320, 180)}, "360p", lambda _: AVCC, b"\x11\x90", sent.append)
    run(packaging)
    packaging.close()
    assert packaging.dropped == 0
    return sent


def feed(packaging: Packaging, *numbers: int) -> None:
    for number in numbers:
        for rendition in ("360p", "180p"):
            packaging.video(rendition, [picture(number)])


def test_all_renditions_begin_with_the_same_segment() -> None:
    def run(packaging: Packaging) -> None:
        feed(packaging, *range(10))
        packaging.plan(True, False, 3000 * 10)
        feed(packaging, *range(10, 70))

    sent = packaged(run)
    parts = [message for message in sent if isinstance(message, Part)]
    assert [message.rendition for message in sent if isinstance(message, Init)] == ["360p", "180p"]
    firsts = [next(part for part in parts if part.rendition == name) for name in ("360p", "180p")]
    assert [(part.pts, part.msn, part.index, part.independent) for part in firsts] == [(90_000, 0, 0, True)] * 2
    assert sum(part.duration for part in parts if part.rendition == "180p") > 1.3


def test_a_recording_continues_when_the_live_stream_stops() -> None:
    def run(packaging: Packaging) -> None:
        packaging.plan(False, True, 0)
        feed(packaging, *range(30))
        packaging.plan(True, True, 3000 * 30)
        feed(packaging, *range(30, 60))
        packaging.plan(False, True, 3000 * 60)
        feed(packaging, *range(60, 90))

    parts = [message for message in packaged(run) if isinstance(message, Part)]
    kept = [part for part in parts if part.rendition == RECORDING]
    assert [part.pts for part in kept] == [18_000 * number for number in range(15)]
    assert {part.pts // 90_000 for part in parts if part.rendition == "360p"} == {1}


def test_a_closed_control_socket_ends_packaging() -> None:
    def gone(message: ToServer) -> None:
        raise BrokenPipeError

    packaging = Packaging({"360p": (640, 360)}, "360p", lambda _: AVCC, b"\x11\x90", gone)
    packaging.plan(True, False, 0)
    packaging.close()
