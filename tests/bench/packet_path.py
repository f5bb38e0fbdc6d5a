"""CPU of the packet path alone: open → canonical → fan-out → seal → send, in one process, on real loopback sockets.

    python -m tests.bench.packet_path [subscribers] [batch] [seconds] [--python] [--own-ids]

Prints CPU microseconds (user + system, this process) per received and per forwarded packet. The sender's packets are
sealed beforehand and handed in from memory, the receivers' sockets are never read: what is measured is our work. With the
C part where it was built, and without. `--own-ids`: subscribers that chose their extension ids and mids (WHEP).
"""

import os
import resource
import socket
import sys
import time

from sfu.forwarding.engine import Engine
from sfu.ids import PeerId
from sfu.sdp import capabilities as caps
from sfu.transport.native import load
from sfu.transport.srtp import PROFILES, SrtpDecryptor, SrtpEncryptor, SrtpSession
from sfu.transport.udp import UdpSocket
from tests.support.wire import EXTENSIONS, rtp, vp8

SIZE = 1200


OWN_IDS = {
    caps.URI_MID: 4, caps.URI_TRANSPORT_CC: 3, caps.URI_ABS_SEND_TIME: 2, caps.URI_VIDEO_ORIENTATION: 13,
    caps.URI_DEPENDENCY_DESCRIPTOR: 11,
}  # fmt: skip


def main(subscribers: int, batch: int, seconds: float, *, python: bool = False, own_ids: bool = False) -> None:
    native = None if python else load()
    profile = PROFILES[0]
    key = os.urandom(profile.key + profile.salt)
    engine = Engine(SrtpEncryptor(), segments=True)
    if native is not None:
        engine.set_fan_out(native.fan_out)
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.bind(("127.0.0.1", 0))
    out.setblocking(False)
    datagram_sink = UdpSocket(out, segments=True)
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.bind(("127.0.0.1", 0))
    publisher = engine.open_peer(PeerId(1), 1)
    receive = SrtpSession(profile, key, outbound=False)
    engine.set_srtp_sessions(publisher, receive.handle, SrtpSession(profile, key, outbound=True).handle, profile.tag)
    track = engine.add_track(
        publisher, mid="1", kind="video", codec="VP8", parameters="", clock_rate=90_000, payload_types={96: "VP8"},
        rtx={97: 96}, extensions=EXTENSIONS, rids=(), ssrcs=((11, None),),
    )  # fmt: skip
    keep = []
    for number in range(subscribers):
        peer = engine.open_peer(PeerId(number + 2), number + 2)
        context = SrtpSession(profile, os.urandom(len(key)), outbound=True)
        keep.append(context)
        engine.set_srtp_sessions(peer, receive.handle, context.handle, profile.tag)
        engine.set_peer_address(peer, datagram_sink, sink.getsockname())
        down_track = engine.add_down_track(
            track, peer, mid="0" if own_ids else "00", ssrc=number + 100, rtx_ssrc=number + 100_000, payload_type=100,
            red_payload_type=None, rtx_payload_type=101, first_sequence=1, cname="x",
            extensions=OWN_IDS if own_ids else None,
        )  # fmt: skip
        engine.set_target(down_track, track.encodings[""], 0.0)
    total = 200_000 // max(1, subscribers // 4)
    seal = SrtpEncryptor()
    context = SrtpSession(profile, key, outbound=True)
    sealed = []
    for number in range(min(total, 60_000)):
        packet = rtp(
            vp8(key=number == 0, picture=number & 0x7FFF, tl0=number & 255, begin=number % 8 == 0, size=SIZE - 40),
            ssrc=11, sequence=number + 1, timestamp=number // 8 * 3000,
            extensions={4: b"1", 3: (number & 0xFFFF).to_bytes(2, "big")},
            marker=number % 8 == 7,
        )  # fmt: skip
        seal.view[: len(packet)] = packet
        seal.length[0] = len(packet)
        assert not seal.protect(context.handle, seal.base, seal.length)
        sealed.append(bytes(seal.view[: seal.length[0]]))
    decryptor = SrtpDecryptor()
    view, pointer, length, unprotect = decryptor.view, decryptor.pointer, decryptor.length, decryptor.unprotect
    before = resource.getrusage(resource.RUSAGE_SELF)
    begin = time.monotonic()
    received = 0
    while received < len(sealed) and time.monotonic() - begin < seconds:
        now = time.monotonic()
        for datagram in sealed[received : received + batch]:
            n = len(datagram)
            view[:n] = datagram
            length[0] = n
            assert not unprotect(publisher.rx, pointer, length)
            if native is None or not native.take(publisher, view, length[0], now, engine.pending_encodings):
                engine.receive(publisher, view, length[0], now)
        engine.flush(now)
        received += batch
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    forwarded = sum(peer.packets_out for peer in engine.peers.values())
    path = ("Python" if native is None else "C") + (", own ids" if own_ids else "")
    print(
        f"{path:15} {subscribers:4d} subscribers, batches of {batch:2d}: {cpu / received * 1e6:7.2f} us/received "
        f"{cpu / max(1, forwarded) * 1e6:6.2f} us/forwarded ({forwarded} forwarded, {datagram_sink.dropped} dropped)"
    )


if __name__ == "__main__":
    arguments = [int(word) for word in sys.argv[1:] if word.isdigit()]
    only_python = "--python" in sys.argv
    if arguments:
        main(*(arguments + [8, 5][len(arguments) - 1 :]), python=only_python, own_ids="--own-ids" in sys.argv)
    else:
        for shape in ((1, 1), (1, 8), (4, 1), (4, 8), (25, 1), (25, 8), (200, 8)):
            for python in (True,) if only_python else (False, True):
                main(*shape, 3, python=python)
