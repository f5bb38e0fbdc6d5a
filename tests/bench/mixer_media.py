"""Input of the mixers: talking heads that were encoded once, and a process that sends them as RTP.

    python -m tests.bench.mixer_media PORT TILES HEIGHT SECONDS JITTER_MS STEP LOG

sends `TILES` VP8 streams of a picture every STEP units of 1/90000 s to the ports from PORT on (every second one), each with
its own phase, each picture late by up to JITTER_MS, and writes to LOG when the last packet of each picture left.
"""

import random
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.support import packetize

SIZES = {180: (320, 180, 150_000), 360: (640, 360, 500_000), 720: (1280, 720, 1_700_000)}
CLIPS = 3
FRAMES = 300
DIRECTORY = Path(tempfile.gettempdir()) / "aiosfu-bench-mixer"


def pictures(width: int, height: int, seed: int) -> list[np.ndarray]:
    """A head that moves before a room, with the noise of a cheap camera."""
    dice = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32) / height
    room = 90 + 50 * np.sin(7 * columns + seed) * np.cos(5 * rows) + 20 * np.sin(40 * columns)
    grain = [dice.normal(0, 2.0, (height, width)).astype(np.float32) for _ in range(4)]
    found = []
    for index in range(FRAMES):
        x = 0.89 + 0.08 * np.sin(index / 17 + seed)
        y = 0.5 + 0.04 * np.cos(index / 11)
        head = ((columns - x) / 0.22) ** 2 + ((rows - y) / 0.32) ** 2 < 1
        mouth = ((columns - x) / 0.08) ** 2 + ((rows - y - 0.16) / (0.02 + 0.02 * np.sin(index / 3) ** 2)) ** 2 < 1
        luma = np.where(mouth, 60, np.where(head, 170 + 20 * np.sin(60 * columns), room)) + grain[index % 4]
        picture = np.full((height * 3 // 2, width), 128, np.uint8)
        picture[:height] = np.clip(luma, 16, 235)
        chroma = head[::2, ::2]
        flat = picture.reshape(-1)
        flat[width * height * 5 // 4 :] = np.where(chroma, 150, 122).ravel()
        found.append(picture)
    return found


def clip(height: int, number: int) -> list[bytes]:
    """Access units of clip `number`, encoded at the first call of all."""
    return read_ivf(ivf(height, number))


def ivf(height: int, number: int) -> Path:
    path = DIRECTORY / f"{height}-{number % CLIPS}.ivf"
    if not path.exists():
        DIRECTORY.mkdir(exist_ok=True)
        width, _, bit_rate = SIZES[height]
        units = list(packetize.encode("VP8", pictures(width, height, number % CLIPS), bit_rate=bit_rate))
        head = struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, b"VP80", width, height, 30, 1, len(units), 0)
        body = b"".join(struct.pack("<IQ", len(unit), index) + unit for index, unit in enumerate(units))
        partial = path.with_suffix(".part")
        partial.write_bytes(head + body)
        partial.rename(path)
    return path


def read_ivf(path: Path) -> list[bytes]:
    data, at, units = path.read_bytes(), 32, []
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        units.append(data[at + 12 : at + 12 + size])
        at += 12 + size
    return units


def send(port: int, tiles: int, height: int, seconds: float, jitter: float, step: int, log: Path) -> None:
    every = step / 90_000
    clips = [clip(height, number) for number in range(CLIPS)]
    dice = random.Random(5)
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    plan: list[tuple[float, int, int]] = []
    for tile in range(tiles):
        phase, before = dice.random() * every, 0.0
        for index in range(int(seconds / every)):
            before = max(before, index * every + phase + dice.uniform(0, jitter))
            plan.append((before, tile, index))
    plan.sort()
    sequences = [0] * tiles
    left: list[tuple[int, int, float]] = []
    start = time.monotonic() + 0.2
    for at, tile, index in plan:
        wait = start + at - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        unit = clips[tile % CLIPS][index % FRAMES]
        parts = packetize.payloads("VP8", unit)
        for number, payload in enumerate(parts):
            packet = packetize.rtp(payload, sequences[tile], index * step, marker=number == len(parts) - 1)
            out.sendto(packet, ("127.0.0.1", port + 2 * tile))
            sequences[tile] += 1
        left.append((tile, index, time.monotonic()))
    np.save(log, np.array(left))


if __name__ == "__main__":
    send(
        int(sys.argv[1]),
        int(sys.argv[2]),
        int(sys.argv[3]),
        float(sys.argv[4]),
        float(sys.argv[5]) / 1e3,
        int(sys.argv[6]),
        Path(sys.argv[7]),
    )
