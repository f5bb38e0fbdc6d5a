"""From a camera through the mix to a WHEP viewer: `python -m tests.bench.whep_mix --seconds 20`.

A page of Chromium publishes pictures that carry the time of their making over WHIP. The server mixes the room and publishes
the mix as a track; another page watches it over WHEP and reads the time in each shown picture. Both pages have one clock.
The latency contains two encoders, three decoders and the mixer.
"""

import argparse
import asyncio

from tests.bench.llhls_latency import BARCODE
from tests.bench.whep import ROOM, pages
from tests.web.conftest import chromium_path

GOAL = 1000
"""Milliseconds, 95th percentile."""
SETTLING = 8.0
ATTEMPTS = 60
CAMERA = """() => {
    // The format of barcode.js: 24 bits, a light and a dark square, each a 32nd of the width.
    const canvas = Object.assign(document.createElement('canvas'), { width: 1280, height: 720 });
    const context = canvas.getContext('2d');
    const draw = () => {
        const now = Math.floor(performance.timeOrigin + performance.now()) % 2 ** 24;
        context.fillStyle = `hsl(${now / 50} 60% 40%)`;
        context.fillRect(0, 40, 1280, 680);
        for (let place = 0; place < 26; place++) {
            const light = place < 24 ? Math.floor(now / 2 ** (23 - place)) % 2 : place === 24;
            context.fillStyle = light ? 'white' : 'black';
            context.fillRect(40 * place, 0, 40, 40);
        }
    };
    draw();
    setInterval(draw, 1000 / 30);
    navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(30);
}"""


async def measure(seconds: float) -> list[int]:
    """Milliseconds from each picture's making to the screen."""
    async with pages() as opened:
        await opened.encoder(CAMERA, kinds=["video"])
        operator = {"Authorization": f"Bearer {await opened.token('operator', admin=True)}"}
        wanted = {"track": True, "layout": "single"}
        async with opened.http.put(f"/api/v1/rooms/{ROOM}/egress", json=wanted, headers=operator) as answer:
            assert answer.status < 300, await answer.text()
        viewer = await opened.open("whep.js")
        await viewer.evaluate(BARCODE.read_text())
        given = [f"{opened.url}/whep/{ROOM}", await opened.token("viewer"), {"kinds": ["video"]}]
        for _ in range(ATTEMPTS):
            if (await viewer.evaluate("(given) => whep.play(...given)", given))["status"] == 201:
                break
            await asyncio.sleep(0.5)  # the worker process starts
        await viewer.evaluate("() => barcode.watch(whep.video)")
        await asyncio.sleep(SETTLING)
        await viewer.evaluate("() => { barcode.shown.length = 0; }")
        await asyncio.sleep(seconds)
        shown: list[tuple[float, int]] = await viewer.evaluate("() => barcode.shown")
    return sorted(late for _, late in shown)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    try:
        chromium_path()
    except AssertionError:
        print("left out: there is no Chromium")
        return 0
    late = asyncio.run(measure(given.seconds))
    if not late:
        print("no picture with a readable time was shown")
        return 1
    p95 = late[len(late) * 95 // 100]
    print(
        f"WHEP of the mix: {len(late)} pictures, camera → screen mean {sum(late) / len(late):.0f}, "
        f"p50 {late[len(late) // 2]}, p95 {p95}, most {late[-1]} ms (goal p95 ≤ {GOAL})"
    )
    return p95 > GOAL


if __name__ == "__main__":
    raise SystemExit(main())
