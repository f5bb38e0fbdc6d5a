"""The real objects behind rows of `sfu/admin/bounds.py`, filled to their bounds through their public interfaces.

As a program, it fills all of them at once and prints the growth of the process and the sum of the rows, in bytes.
"""

import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from sfu.admin import bounds
from sfu.auth.revocation import Revocations
from sfu.bandwidth import send_time_history
from sfu.bandwidth.twcc import PENDING_LIMIT, Recorder
from sfu.config import Settings
from sfu.forwarding.decision_log import Cause, DecisionKind, DecisionLog
from sfu.forwarding.down_track import DATAGRAMS_KEPT
from sfu.forwarding.layer_filter import LIMIT, FilteredStream, filtered
from sfu.forwarding.resend_limits import RESENDS_KEPT
from sfu.outputs.hls.rendition_stream import KEPT, Limits, RenditionStream, Segment
from sfu.outputs.settings import Rendition
from sfu.rooms.history import History
from sfu.rtp.nack import MAX_GAP, MAX_MISSING, NackGenerator
from sfu.sdp.description import RID_LIMIT
from sfu.signaling.json_dialect import JsonDialect
from sfu.signaling.outbox import Flusher, Outbox
from sfu.transport.sctp_guard import SctpLimits
from sfu.transport.srtp import PROFILES, SrtpSession
from tests.support.wire import Bench, Wire, rtp, vp8

SETTINGS = Settings()


@dataclass(frozen=True, slots=True)
class Filled:
    what: str
    fill: Callable[[], object]
    "Returns an object that keeps the memory alive."
    share: Fraction = Fraction(1)
    "Fraction of the row that is filled."
    native: bool = False
    "Uses memory outside of Python's allocator."


def _picture(number: int, rid: str, ssrc: int, *, temporal: int = 0) -> bytes:
    """A video packet with the size of a typical datagram."""
    key = number == 0
    payload = vp8(key=key, picture=number & 0x7FFF, tl0=number & 0xFF, temporal=temporal, size=1_360)
    extensions = {4: b"1", 10: rid.encode(), 3: (number & 0xFFFF).to_bytes(2, "big")}
    return rtp(payload, ssrc=ssrc, sequence=number & 0xFFFF, timestamp=3000 * number, extensions=extensions)


def _publication() -> object:
    bench = Bench()
    rids = tuple(f"r{number}" for number in range(RID_LIMIT))
    bench.video(rids)
    for number in range(600):
        bench.now += 0.01
        bench.send(*(_picture(number, rid, 11 + place) for place, rid in enumerate(rids)))
    return bench


def _filtered() -> object:
    bench = Bench()
    track = bench.video(("f",))
    stream = filtered(track.encodings["f"], temporal=0)
    down_track = bench.down_track(track, bench.peer(Wire()))
    bench.engine.set_target(down_track, stream, bench.now)
    for number in range(1_200):
        bench.now += 0.01
        bench.send(_picture(number, "f", 11, temporal=number % 2))
    assert stream is not track.encodings["f"]
    assert isinstance(stream, FilteredStream)
    assert None not in stream.history
    return [packet and packet._replace(tail=bytes(bytearray(packet.tail))) for packet in stream.history]


def _repaired() -> object:
    bench = Bench()
    track = bench.video(("f",))
    wire = Wire()
    down_track = bench.down_track(track, bench.peer(wire))
    bench.engine.set_target(down_track, track.encodings["f"], bench.now)
    for number in range(2_000):
        bench.now += 0.01
        bench.send(_picture(number, "f", 11))
        wire.take()
        down_track.packet_to_resend(down_track.last_sent(), bench.now)
    assert len(down_track._resend_limits._resends) == RESENDS_KEPT
    return {number: (tries, at + 1.0) for number, (tries, at) in down_track._resend_limits._resends.items()}


def _kept_datagrams() -> object:
    bench = Bench()
    track = bench.video(("f",))
    down_track = bench.engine.add_down_track(
        track, bench.peer(Wire()), mid="00", ssrc=7, rtx_ssrc=0, payload_type=100, red_payload_type=None,
        rtx_payload_type=None, first_sequence=500, cname="a", nack_without_rtx=True,
    )  # fmt: skip
    bench.engine.set_target(down_track, track.encodings["f"], bench.now)
    for number in range(DATAGRAMS_KEPT + 10):
        bench.now += 0.01
        bench.send(_picture(number, "f", 11))
    datagrams = down_track.datagrams
    assert datagrams is not None
    assert None not in datagrams
    assert len(datagrams) == DATAGRAMS_KEPT
    return [bytes(bytearray(datagram or b"")) for datagram in datagrams]


def _missing() -> object:
    found = NackGenerator()
    for begin in range(1_000, 3_000, MAX_GAP):
        found.gap(begin, begin + MAX_GAP, begin + 0.5)
    assert len(found.missing) == MAX_MISSING
    return found


def _arrivals() -> object:
    found = Recorder(1)
    for number in range(PENDING_LIMIT + 10):
        found.record(number + 1_000, number * 0.001)
    return found


def _reported() -> object:
    found = Recorder(1)
    for batch in range(40):
        for number in range(300):
            found.record((batch * 300 + number) * 2 & 0xFFFF, (batch * 300 + number) / 6_000)
        found.feedback(1)
    return found


def _batches() -> object:
    found = send_time_history.SendTimeHistory()
    for number in range(send_time_history.BATCHES + 10):
        found.on_sent((2 * number & 0xFFFF, [1_200 + number % 100, 1_300 + number % 10], number * 0.5))
    return found


def _sent() -> object:
    found = send_time_history.SendTimeHistory()
    for number in range(3 * send_time_history.LARGEST):
        found.on_sent((number & 0xFFFF, [1_000 + number % 400], number * 0.5))
        found.process_batches()
        if number % 1_000 == 999:
            found.find((number - 900 - send_time_history.LARGEST // 2) & 0xFFFF, 100)
    return found


def _decisions() -> object:
    decision_log = DecisionLog()
    for number in range(200):
        decision_log.write(
            10.0 * number, DecisionKind.LAYER_DOWN, Cause.BUDGET, track=f"TR_{number:012}",
            before=number + 0.5, after=number + 1.5, rate=number + 2.5,
        )  # fmt: skip
    return decision_log


def _replay() -> object:
    settings = SETTINGS.signaling
    box = Outbox(
        Flusher(1.0),
        JsonDialect().frame,
        settings.replay_events,
        settings.replay_bytes,
        settings.queue_bytes,
        lambda: None,
    )
    for number in range(1_000):
        box.send_event(number, os.urandom(512))
    return box


def _chat() -> object:
    rooms = SETTINGS.rooms
    found: History[tuple[str, str, float]] = History(rooms.chat_entries, rooms.chat_bytes)
    for number in range(1_000):
        words = "😀" * 320 + str(number)
        found.add((f"PA_{number:012}", words, number + 0.5), len(words.encode()))
    return found


def _srtp() -> object:
    context = SrtpSession(PROFILES[0], bytes(28), outbound=True)
    for number in range(1_408):
        context.session.protect(rtp(b"x", ssrc=number + 1, sequence=1, timestamp=1))
    return context


def _revoked() -> object:
    found = Revocations(SETTINGS.auth.revocation_limit)
    for number in range(12_000):
        found.revoke_participant(f"room {number:020}", f"identity {number:030}", now=1.0, until=1e9 + number)
    return found


def _segments() -> object:
    stream = RenditionStream(Rendition("720p", 1280, 720, 1_500_000), Limits(600.0, 60.0, True), _Nowhere())
    for number in range(KEPT // 8):
        segment = Segment(number, 1_700_000_000.5 + number, 0, False)
        segment.duration, segment.complete, segment.size = 1.0 + number / 1e6, True, 200_000 + number
        stream._segments.append(segment)
        segment.text = stream._text(segment, number)
    return stream


class _Nowhere:
    works = False

    def write(self, name: str, data: bytes) -> None: ...

    def note(self, line: bytes) -> None: ...

    def read(self, name: str) -> bytes | None:
        return None

    def path(self, name: str) -> None:
        return None

    def remove(self, name: str) -> None: ...

    def clear(self) -> None: ...

    def close(self) -> None: ...


def _sctp() -> object:
    return [os.urandom(1_200) for _ in range(SctpLimits().chunks)]


ALL = (
    Filled("retransmission history", _publication),
    Filled("history of filtered layers", _filtered, Fraction(1, LIMIT)),
    Filled("missing packets", _missing, Fraction(1, RID_LIMIT)),
    Filled("recent retransmissions", _repaired),
    Filled("encrypted packets to resend", _kept_datagrams),
    Filled("arrivals to report", _arrivals),
    Filled("reported arrivals", _reported),
    Filled("send times", _sent),
    Filled("unprocessed send batches", _batches),
    Filled("decision log", _decisions),
    Filled("events for a resume", _replay),
    Filled("chat for late joiners", _chat),
    Filled("SCTP reassembly", _sctp),
    Filled("revoked tokens", _revoked),
    Filled("segment index", _segments, Fraction(1, 8 * len(SETTINGS.outputs.ladder))),
    Filled("SRTP streams", _srtp, native=True),
)


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def main() -> None:
    rows = {row.what: row for row in bounds.table(SETTINGS)}
    for each in ALL:
        each.fill()  # modules and caches that the first use loads do not count
    gc.collect()
    before = resident()
    held = [[each.fill() for _ in range(int(1 / each.share))] for each in ALL for _ in range(2)]
    grown = resident() - before
    print(grown, 2 * sum(rows[each.what].bytes for each in ALL), len(held))


if __name__ == "__main__":
    main()
