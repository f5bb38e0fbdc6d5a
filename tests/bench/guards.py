"""Cost of the guards relative to the guarded work: CPU with and without them, in alternating rounds of one run.

    python -m tests.bench.guards [rounds]

Data channels: a message of 100 bytes and its acknowledgement through DTLS and the association, as the server does it,
with `SctpAssociation.check` and without. Media: the whole packet path from one publisher to 25 subscribers with the
watch over what each peer sends, and without (the comparison per packet that stays is a nanosecond's).
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Callable

from sfu.forwarding.rtcp_handler import ALIVE_EVERY
from sfu.transport.dtls import DtlsAssociation, Identity
from tests.support.wire import Bench, Wire, rtp, vp8
from tests.transport.test_sctp_guard import Pair

MESSAGES = 1_000
PACKETS = 2_000
SUBSCRIBERS = 25


def secured() -> tuple[DtlsAssociation, DtlsAssociation]:
    """Two ends that have shaken hands."""
    one, other = Identity(), Identity()
    client = DtlsAssociation(one, "client", [("sha-256", other.fingerprint)])
    server = DtlsAssociation(other, "server", [("sha-256", one.fingerprint)])
    server.start()
    client.start()
    while client.keys is None or server.keys is None:
        for source, target in ((client, server), (server, client)):
            for datagram in source.packets_to_send():
                target.receive(datagram)
    return client, server


async def messages(*, guarded: bool) -> float:
    """Microseconds that the server takes for a message."""
    client, server = secured()
    pair = Pair()
    await pair.start()
    channel = pair.open("reliable")
    await pair.run()
    check = pair.server.check if guarded else bytes
    spent = 0.0
    for number in range(MESSAGES):
        channel.send(bytes(100))
        for _ in range(2):
            await asyncio.sleep(0)
            packets, pair.links[0].sent = pair.links[0].sent, []
            for packet in packets:
                client.send(packet)
                datagrams = client.packets_to_send()
                begin = time.thread_time()
                for datagram in datagrams:
                    server.receive(datagram)
                for inner in server.application_data():
                    await pair.server._handle_data(check(inner))
                answers, pair.links[1].sent = pair.links[1].sent, []
                for answer in answers:
                    server.send(answer)
                    server.packets_to_send()
                spent += time.thread_time() - begin
                for answer in answers:
                    await pair.client._handle_data(answer)
        assert len(pair.received) == number + 1
    await pair.stop()
    return spent / MESSAGES * 1e6


def media(*, guarded: bool) -> float:
    """Microseconds that a received packet takes, its 25 copies and the timers included."""
    bench, wire = Bench(), Wire()
    track = bench.video(("q",))
    for _ in range(SUBSCRIBERS):
        down_track = bench.down_track(track, bench.peer(wire))
        bench.engine.set_target(down_track, track.encodings["q"], bench.now)
    if not guarded:
        bench.engine._rtcp_handler._watch_ingress = lambda peer, now: None  # type: ignore[method-assign]  # switches the guard off for the comparison
    packets = [
        rtp(
            vp8(key=number == 0, picture=number & 0x7FFF, tl0=number & 255, begin=True, size=1_100),
            ssrc=11, sequence=number + 1, timestamp=3_000 * number, extensions={4: b"1", 10: b"q"}, marker=True,
        )
        for number in range(PACKETS)
    ]  # fmt: skip
    begin = time.thread_time()
    for number, packet in enumerate(packets):
        bench.now += 1 / 500
        bench.send(packet)
        if number % int(500 * ALIVE_EVERY / 5) == 0:
            bench.engine.handle_timer(bench.now, bench.now)
            wire.media()
    return (time.thread_time() - begin) / PACKETS * 1e6


def compare(what: str, measure: Callable[[bool], float], rounds: int) -> None:
    found: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * rounds):
        for guarded in (True, False) if number % 2 else (False, True):
            found[guarded].append(measure(guarded))
    with_it, without = (statistics.median(found[guarded]) for guarded in (True, False))
    print(f"{what}: {with_it:.1f} us with, {without:.1f} us without: {with_it / without - 1:+.1%}", flush=True)


def main(rounds: int) -> None:
    compare("a data channel's message", lambda guarded: asyncio.run(messages(guarded=guarded)), rounds)
    compare("a packet of media to 25", lambda guarded: media(guarded=guarded), rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
