"""Outages without an attacker: the network fails and returns, the clock is set, the disk is full, pages reload repeatedly,
the event loop is blocked. They hit the real process while honest participants meet.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import av
import pytest

from sfu.outputs.disk_writer import RESERVE
from tests.attacks.field import Field
from tests.attacks.test_faults import Base
from tests.support import impaired
from tests.support.client import Client

pytestmark = pytest.mark.asyncio(loop_scope="session")

GONE = 10.0
RETURN = 2.0
"""Seconds after which media flow again."""
WINDOW = 0.5
HOUR = 3600
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
ROOM = "field"


@asynccontextmanager
async def opened(*settings: str, **more: Any) -> AsyncIterator[Field]:
    field = Field(*(word for setting in settings for word in ("--set", setting)), **more)
    await field.open()
    try:
        yield field
    finally:
        await field.close()


async def happens(check: Callable[[], Awaitable[object]], seconds: float = 10.0) -> float:
    """Waits until it is true; the seconds that it took."""
    began = time.monotonic()
    while not await check():
        assert time.monotonic() - began < seconds, "this did not happen in time"
        await asyncio.sleep(0.1)
    return time.monotonic() - began


async def api(field: Field, http: aiohttp.ClientSession, method: str, path: str, body: object = None) -> Any:
    token = field.token("operator", ROOM, roomRecord=True, roomEgress=True, roomAdmin=True)
    headers = {"Authorization": f"Bearer {token}"}
    async with http.request(method, f"{field.url}/api/v1/rooms/{ROOM}{path}", json=body, headers=headers) as answer:
        text = await answer.text()
        assert answer.status < 300, (answer.status, text)
        return json.loads(text) if text else None


# -- the network ------------------------------------------------------------------------------------------------------


def interface(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


@pytest.mark.skipif(bool(impaired.possible()), reason=impaired.possible() or "-")
async def test_a_network_that_is_gone_for_ten_seconds() -> None:
    """In a namespace whose only interface goes down: every socket of every process in it has nowhere to send to."""
    with impaired.own_namespace():
        async with opened() as field:
            await field.figures()
            before = field.metrics()
            interface("down")
            await asyncio.sleep(GONE)
            interface("up")
            back = time.monotonic()
            assert field.metrics()["sfu_participant_quality:lost"] == 2
            seen = await field.figures()
            assert seen["received"] < seen["sent"] / 10, "it was not gone"
            while True:
                await asyncio.sleep(WINDOW)
                seen = await field.figures()
                if seen["received"] == seen["sent"]:
                    break
                assert time.monotonic() - back < 3 * RETURN, seen
            took = time.monotonic() - back
            after = field.metrics()
            print(f"media flowed {took:.2f} s after")
            assert took < 2 * WINDOW + RETURN
            for name in ("sfu_participants", "sfu_peers:connected", "sfu_sessions"):
                assert after[name] == before[name], name
            assert not [record for record in field.records() if '"exception"' in record or '"level":"error"' in record]
            said = [record for record in field.records() if '"level":"warning"' in record]
            assert len(said) <= 5, said[:3]


# -- the clock --------------------------------------------------------------------------------------------------------


def length(path: Path) -> float:
    told = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(told.stdout)


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed")
async def test_a_wall_clock_that_is_set_an_hour_forth_and_back(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    offset = tmp_path / "offset"
    offset.write_text("+0\n")
    environment = {
        "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    recordings = tmp_path / "recordings"
    settings = (
        "outputs.renditions=[320x180@200]", f"egress.directory={recordings}", f"outputs.hls.directory={tmp_path}/hls",
    )  # fmt: skip
    async with opened(*settings, environment=environment) as field:
        asked = time.monotonic()
        await api(field, http, "PUT", "/egress", {"recording": True, "live": True})
        await api(field, http, "PUT", "/egress/tracks", {})

        async def recorded() -> bool:
            now = field.metrics()
            return now["sfu_recordings:recording"] == 2 and now["sfu_egress_frames_total"] > 30

        await happens(recorded, 30)
        await asyncio.sleep(1)
        began = time.monotonic()

        async def set_it() -> None:
            for step in (HOUR, -HOUR, 0):
                offset.write_text(f"{step:+d}\n")
                await asyncio.sleep(1.5)
                visitor = Client(http, field.url, field.token("visitor", ROOM))
                await visitor.join()  # or its token is refused as not valid now
                await visitor.close()
                logged = datetime.fromisoformat(json.loads(field.records()[-1])["time"]).timestamp()
                assert abs(logged - time.time() - step) < 60, "the server's clock was not set"

        ticks = field.metrics()["sfu_egress_frames_total"]
        grown = await field.withstands(set_it, tries=8, lines=30, memory=60_000_000)

        async def goes_on() -> bool:
            return field.metrics()["sfu_egress_frames_total"] > ticks + 80

        await happens(goes_on)  # the mixer tells every few seconds
        assert not grown.get("sfu_egress_worker_restarts_total")
        late = Client(http, field.url, field.token("late", ROOM))
        assert (await late.join())["type"] == "joined"
        await field.leave(late)
        passed, most = time.monotonic() - began, time.monotonic() - asked
        await api(field, http, "DELETE", "/egress")
        await api(field, http, "DELETE", "/egress/tracks")
        files: list[Path] = []

        async def finished() -> bool:
            found = list(recordings.rglob("*"))
            files[:] = [path for path in found if path.suffix in (".mp4", ".webm")]
            kinds = [path.suffix for path in files]
            under_way = [path for path in files if path.name.startswith("recording.") and path.stem.count(".")]
            return not under_way and kinds.count(".mp4") == 1 and kinds.count(".webm") == 2

        await happens(finished, 30)
        for path in files:
            assert passed - 1 < length(path) < most + 2, (path.name, length(path), passed, most)


# -- the disk ---------------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(directory: Path, size: int) -> Iterator[Path]:
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(directory)], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def may_mount() -> bool:
    """Whether this process may, in a mount namespace of its own."""
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return (
        os.geteuid() == 0
        and bool(shutil.which("unshare"))
        and not subprocess.run(probe, capture_output=True).returncode
    )


@pytest.mark.skipif(not may_mount(), reason="mounting needs root")
async def test_a_disk_that_is_full_while_two_recordings_run(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    with small_disk(tmp_path / "disk", RESERVE + 40_000_000) as disk:
        settings = ("outputs.renditions=[320x180@200]", f"egress.directory={disk}")
        async with opened(*settings) as field:
            await api(field, http, "PUT", "/egress", {"recording": True})
            await api(field, http, "PUT", "/egress/tracks", {})

            def states() -> tuple[float, float]:
                now = field.metrics()
                return now.get("sfu_recordings:recording", 0), now.get("sfu_recordings:interrupted", 0)

            async def both() -> bool:
                return states() == (2, 0)

            async def neither() -> bool:
                return states() == (0, 2)

            await happens(both)
            await asyncio.sleep(2)

            async def fill() -> None:
                (disk / "filler").unlink(missing_ok=True)  # of the try before
                await happens(both, 15)
                (disk / "filler").write_bytes(bytes(40_000_000))
                await happens(neither)

            grown = await field.withstands(fill, lines=16, memory=60_000_000)
            assert not grown.get("sfu_egress_worker_restarts_total")

            async def said() -> bool:
                return "disk is full" in str(await api(field, http, "GET", "/egress"))

            await happens(said)  # with the worker's next status
            watcher = Client(http, field.url, field.token("watcher", ROOM))
            joined = await watcher.join()
            assert "disk is full" in joined["room"]["egress"]["problem"], joined["room"]
            (disk / "filler").unlink()
            await happens(both, 15)  # and it goes on by itself
            await asyncio.sleep(2)
            await field.leave(watcher)
            await api(field, http, "DELETE", "/egress")
            await api(field, http, "DELETE", "/egress/tracks")

            async def finished() -> bool:
                # Live stream and tracks are two recordings, each finished by a process of its own.
                listed = (await api(field, http, "GET", "/recordings"))["recordings"]
                return len(listed) == 2 and not any(one["recording"] for one in listed)

            await happens(finished, 60)
            made = list(disk.rglob("*.mp4"))
            tracks = list(disk.rglob("*.webm"))
            assert len(tracks) >= 2
            assert min(map(length, [made[0], *tracks])) > 3
            full = [record for record in field.records() if "No space left" in record]
            assert 1 <= len(full) <= 4 * 3, full  # of each try


# -- the mixer --------------------------------------------------------------------------------------------------------


def workers(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


async def test_a_mixer_that_is_killed_again_and_again(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    recordings = tmp_path / "recordings"
    settings = ("outputs.renditions=[320x180@200]", f"egress.directory={recordings}")
    async with opened(*settings) as field:
        await api(field, http, "PUT", "/egress", {"recording": True})

        def begun() -> list[float]:
            """When the media of each worker began."""
            lines = [
                json.loads(line) for path in recordings.rglob("events.jsonl") for line in path.read_text().splitlines()
            ]
            return [line["time"] for line in lines if line["event"] == "media"]

        async def first() -> bool:
            return len(begun()) == 1

        await happens(first)

        async def kill() -> None:
            for _ in range(2):
                count, killed = len(begun()), time.time()
                (worker,) = workers(field.server.pid)
                os.kill(worker, signal.SIGKILL)

                async def goes_on(count: int = count) -> bool:
                    return len(begun()) > count

                await happens(goes_on)
                took.append(begun()[-1] - killed)
                await asyncio.sleep(1.5)

        took: list[float] = []
        await field.withstands(kill, tries=5, lines=12, memory=40_000_000)
        print("seconds without a mixer:", *(round(each, 2) for each in took))
        assert max(took[:2]) < 2.0  # later ones wait longer each time

        async def counted() -> bool:
            return field.metrics()["sfu_egress_worker_restarts_total"] == len(took)

        await happens(counted)
        await api(field, http, "DELETE", "/egress")
        made: list[Path] = []

        async def finished() -> bool:
            made[:] = recordings.rglob("*.mp4")
            return len(made) == 1 and made[0].stem.count(".") == 0

        await happens(finished, 30)
        # In the file's own time base: ffmpeg would round to a mean frame rate that the gaps have lowered.
        played = ["ffmpeg", "-v", "error", "-i", str(made[0]), "-enc_time_base", "-1", "-f", "null", "-"]
        told = await asyncio.to_thread(subprocess.run, played, capture_output=True, check=True)
        assert told.stderr == b""
        with av.open(str(made[0])) as file:
            stamps = [packet.dts for packet in file.demux(video=0) if packet.dts is not None]
        assert len(stamps) > 30
        assert all(before < after for before, after in pairwise(stamps))


# -- pages and the loop -----------------------------------------------------------------------------------------------


async def test_a_page_that_is_reloaded_in_a_loop(http: aiohttp.ClientSession) -> None:
    """No goodbye, the same person again at once: the stay before ends with the new one, and nothing is left of twenty."""
    async with opened("signaling.resume_window=0.5", "rooms.idle_timeout=0.5") as field:
        base = Base(field)

        async def attack() -> None:
            for _ in range(20):
                page = field.attacker(http, "reloader")
                assert (await page.join())["type"] == "joined"
                await page.publish()
                page.send()
                there = field.metrics()["sfu_participants"]
                assert there == 3
                connection = page._socket._response.connection
                assert connection is not None
                assert connection.transport is not None
                connection.transport.abort()
                await page.close()

        await field.withstands(attack, lines=400, memory=25_000_000)
        await base.returns()


BLOCKED = """
import signal, sys, time
from sfu.cli import main
def block_the_loop(*_):
    time.sleep(1.2)
signal.signal(signal.SIGUSR1, block_the_loop)
sys.exit(main())
"""


async def test_a_blocked_loop_is_reported_with_its_place() -> None:
    async with opened(command=(sys.executable, "-c", BLOCKED)) as field:
        field.server.send_signal(signal.SIGUSR1)
        await asyncio.sleep(1.5)
        assert field.metrics()["sfu_loop_stalls_total"] == 1
        (said,) = (json.loads(record) for record in field.records() if "event loop is blocked" in record)
        assert "block_the_loop" in said["where"][-1]
        assert said["seconds"] >= 0.2
        await field.figures()
        await asyncio.sleep(0.5)
        seen = await field.figures()
        assert seen["received"] == seen["sent"], "messages were lost"
