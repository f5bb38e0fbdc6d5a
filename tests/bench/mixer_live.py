"""Our mixer as a process under load: RTP in from loopback, the composed picture encoded, the way the worker does it.

    python -m tests.bench.mixer_live PORT TILES SECONDS LOG STEP [locked] [labels]

STEP: of the pictures' timestamps.

LOG gets a line per picture shown: tile, number of the frame, when the picture with it was encoded; and the tick itself.
"""

import selectors
import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np

from sfu.mixer.compositor import Compositor
from sfu.mixer.decoding import DecoderPool
from sfu.mixer.frame_clock import FrameClock
from sfu.mixer.layout import Layout, Member, arrange
from sfu.outputs.encoder import VideoEncoder
from sfu.rtp.frames import FrameAssembler

WIDTH, HEIGHT, BIT_RATE = 1280, 720, 1_500_000


def main(port: int, tiles: int, seconds: float, log: Path, step: int, *, locked: bool, labels: bool) -> None:
    decoders = DecoderPool(2)
    sources = {f"t{tile}": decoders.open("VP8") for tile in range(tiles)}
    names = [f"Participant {tile}" if labels else "" for tile in range(tiles)]
    members = [Member(f"m{tile}", names[tile], f"t{tile}", speaking=labels and not tile) for tile in range(tiles)]
    scene = arrange(Layout.GRID, members, WIDTH, HEIGHT)
    for tile in scene.tiles:
        sources[tile.source].show(tile.area.width, tile.area.height, tile.fit)
    compositor = Compositor(WIDTH, HEIGHT)
    encoder = VideoEncoder(WIDTH, HEIGHT, BIT_RATE)
    stopping = threading.Event()
    selector = selectors.DefaultSelector()
    for number in range(tiles):
        inlet = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        inlet.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        inlet.bind(("127.0.0.1", port + 2 * number))
        inlet.setblocking(False)
        selector.register(inlet, selectors.EVENT_READ, (FrameAssembler("VP8"), sources[f"t{number}"]))

    def receive() -> None:
        while not stopping.is_set():
            for key, _ in selector.select(0.1):
                assembler, source = key.data
                assert isinstance(key.fileobj, socket.socket)
                while True:
                    try:
                        packet = key.fileobj.recv(2048)
                    except BlockingIOError:
                        break
                    for frame in assembler.receive(packet, time.monotonic()):
                        source.receive(frame)

    thread = threading.Thread(target=receive)
    thread.start()
    start = time.monotonic()
    clock = FrameClock(start)
    shown: list[tuple[int, int, float]] = []
    spent: list[tuple[int, int, float]] = []
    counts = dict.fromkeys(sources, 0)
    while (now := time.monotonic()) < start + seconds:
        if clock.due - decoders.lead > now:
            time.sleep(clock.due - decoders.lead - now)
        decoders.decode_waiting()
        now = time.monotonic()
        if clock.due > now:
            time.sleep(clock.due - now)
        now = time.monotonic()
        number = clock.begin(now)
        pictures = {name: source.picture_at(now) for name, source in sources.items()}
        taken = []
        for place, (name, source) in enumerate(sources.items()):
            if source.pacer.shown != counts[name]:
                counts[name] = source.pacer.shown
                assert source.pacer.taken is not None
                taken.append((place, round(source.pacer.taken * 90_000 / step)))
        canvas = compositor.composite(scene, pictures)
        composed = time.monotonic()
        encoder.encode(canvas, number * 3000)
        done = time.monotonic()
        shown += [(place, index, done) for place, index in taken]
        spent += [(-1, number, composed - now), (-2, number, done - composed)]
        if locked:
            clock.steer(sources["t0"].waited(now))
    stopping.set()
    thread.join()
    np.save(log, np.array(shown + spent + [(-3, clock.dropped, 0.0)]))
    decoders.close()


if __name__ == "__main__":
    main(
        int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]),
        locked="locked" in sys.argv, labels="labels" in sys.argv,
    )  # fmt: skip
