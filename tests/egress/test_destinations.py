"""The mix pushed by RTMP, and published into the room."""

import asyncio
from pathlib import Path

from tests.egress.support import ROOM, bots, egress_server, until
from tests.egress.test_live_stream import probe
from tests.support.ports import free_port
from tests.support.wire import Rtp


async def test_a_push_and_an_unreachable_destination(tmp_path: Path) -> None:
    port = free_port()
    async with egress_server(tmp_path, egress__rtmp_allow_private="true") as here:
        guest = here.client("guest")
        await guest.join()
        server = await asyncio.create_subprocess_exec(
            "ffmpeg", "-v", "error", "-y", "-listen", "1", "-i", f"rtmp://127.0.0.1:{port}/app/key",
            "-t", "2", "-c", "copy", str(tmp_path / "pushed.mp4"),
        )  # fmt: skip
        await asyncio.sleep(0.5)
        body = {"url": f"rtmp://127.0.0.1:{port}/app/key"}
        answer = await here.ask("POST", "/egress/destinations", json=body)
        assert (answer["destinations"][0]["host"], answer["live"]) == (f"127.0.0.1:{port}", False)
        dead = await here.ask("POST", "/egress/destinations", json={"url": f"rtmp://127.0.0.1:{free_port()}/a/secret"})
        assert "secret" not in str(dead)
        assert await asyncio.wait_for(server.wait(), 30) == 0
        assert {"h264", "aac"} <= set(probe(tmp_path / "pushed.mp4"))
        await until(lambda: "waiting" in {one.state for one in here.job.destinations})
        for destination in here.job.destinations:
            await here.ask("DELETE", f"/egress/destinations/{destination.id}")
        await until(lambda: not len(here.server.egress_jobs))
        await guest.close()


async def test_the_mix_is_published_as_a_participant(tmp_path: Path) -> None:
    async with egress_server(tmp_path) as here, bots(here.server, 1):
        rooms = here.server.rooms
        await until(lambda: len(rooms.list()) == 1 and len(rooms.find(ROOM).publications) == 2)
        await here.ask("PUT", "/egress", json={"track": True})
        job = here.job
        guest = here.client("guest")
        joined = await guest.join()
        mix = next(one for one in joined["participants"] if one["name"] == "Live mix")
        assert {track["codec"] for track in mix["tracks"]} == {"H264", "opus"}
        assert mix["id"] in job.recorder.excluded
        wanted = {track["id"] for track in mix["tracks"]}
        await guest.request("unsubscribe", tracks=[
            track["id"] for one in joined["participants"] for track in one["tracks"] if track["id"] not in wanted
        ])  # fmt: skip
        packets: list[Rtp] = []
        kinds: set[int] = set()

        def look() -> bool:
            packets.extend(guest.media())
            kinds.update(packet.payload_type for packet in packets)
            return len(kinds) >= 2 and len(packets) > 60

        await guest.until(look)
        await here.ask("DELETE", "/egress")
        await guest.event("participant_left")
        await until(lambda: len(rooms.find(ROOM).publications) == 2)
        await guest.close()
