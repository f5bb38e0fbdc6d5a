"""Fetches a live stream's segments over HLS, and measures how well picture and sound agree."""

import io
import time
import urllib.parse
from dataclasses import dataclass

import aiohttp
import av
import m3u8
import numpy as np

from sfu.bots.picture import STAMP_BITS, read_stamp

CLAP_EVERY = 500
"""Milliseconds, as `sfu.bots.synthetic_media.Clapper` claps."""
FLASH = 200
"""Luma above which the middle of a picture is a clap's."""
SPAN = 1 << STAMP_BITS


@dataclass(frozen=True, slots=True)
class Clap:
    """One, in milliseconds."""

    picture: float
    "Delay from drawing to media time, without the part that is common to all."
    sound: float

    @property
    def error(self) -> float:
        """How much later than the picture the sound comes."""
        return self.sound - self.picture


async def fetch(client: aiohttp.ClientSession, index: str, rendition: str) -> list[bytes]:
    """A rendition's media as far as the playlist goes back, one file for each of the live stream's beginnings."""

    async def get(url: str) -> bytes:
        async with client.get(url) as answer:
            assert answer.status == 200, f"{url}: {answer.status}"
            return await answer.read()

    multivariant = m3u8.loads((await get(index)).decode(), uri=index)
    (address,) = (
        one.absolute_uri
        for one in multivariant.playlists
        if urllib.parse.urlsplit(one.uri).path.endswith(f"{rendition}.m3u8")
    )
    media = m3u8.loads((await get(address)).decode(), uri=address)
    runs: list[bytes] = []
    for segment in media.segments:
        if not segment.uri:
            continue  # only parts of it are there yet
        if not runs or segment.discontinuity:
            runs.append(await get(segment.init_section.absolute_uri))
        runs[-1] += await get(segment.absolute_uri)
    return runs


def flashes(media: bytes) -> list[tuple[float, int]]:
    """Of a `Clapper` that fills the picture: when in the file each first white picture is shown, and the Unix time at which
    it was drawn. Milliseconds.
    """
    found = []
    with av.open(io.BytesIO(media), "r") as source:
        dark = False
        for frame in source.decode(video=0):
            luma = frame.to_ndarray(format="yuv420p")[: frame.height].astype(np.uint8, copy=False)
            light = (
                luma[frame.height // 2 : frame.height * 7 // 10, frame.width // 3 : frame.width * 2 // 3].mean() > FLASH
            )
            if light and dark and (stamp := read_stamp(luma)) is not None:
                # A clap is at a half second since 1970, of which the stamp has the lower bits only.
                drawn = stamp + (int(time.time() * 1000) - stamp + SPAN // 2) // SPAN * SPAN
                found.append((1000 * (frame.time or 0.0), drawn))
            dark = not light
    return found


def claps(media: bytes) -> list[Clap]:
    """All of a `Clapper` that fills the picture, in a file that libavformat reads."""
    heard = onsets(media)
    found = []
    for shown, drawn in flashes(media):
        begun = drawn // CLAP_EVERY * CLAP_EVERY
        expected = shown - (drawn - begun)
        nearest = min(heard, key=lambda at: abs(at - expected), default=None)
        if nearest is not None and abs(nearest - expected) < CLAP_EVERY / 2:
            found.append(Clap(shown - drawn, nearest - begun))
    return found


def onsets(media: bytes) -> list[float]:
    """When tones begin after silence, milliseconds."""
    with av.open(io.BytesIO(media), "r") as source:
        blocks = [(round((frame.time or 0.0) * 48_000), frame.to_ndarray()[0]) for frame in source.decode(audio=0)]
    begin = blocks[0][0]
    samples = np.zeros(blocks[-1][0] + len(blocks[-1][1]) - begin, np.float32)
    for at, block in blocks:
        samples[at - begin : at - begin + len(block)] = block
    loud = np.abs(samples) > 0.2 * np.percentile(np.abs(samples), 99)
    (places,) = np.nonzero(loud)
    first = places[np.diff(places, prepend=-48_000) > 4_800]
    return [(float(place) + begin) / 48 for place in first if place > 4_800]
