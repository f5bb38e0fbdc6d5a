"""Two nodes and a Redis on hosts of their own, which are cut off from each other."""

import asyncio
import time
from pathlib import Path

import pytest

from sfu.cluster.lease import VERIFY_TIME
from sfu.cluster.ports import LEASE
from tests.cluster.redis_nodes import GRANTS, redis_nodes
from tests.cluster.test_workers import media_flow
from tests.support.partitions import hosts, possible

CUT_OFF = "sfu_cluster_cut_off"


@pytest.mark.skipif(bool(possible()), reason=possible() or "-")
async def test_no_room_has_two_homes_that_decide(tmp_path: Path) -> None:
    async with hosts("a", "b", "redis") as network, redis_nodes(tmp_path, "a", "b", hosts=network) as nodes:
        ada = await nodes.join("a", "call", "ada", *GRANTS)
        bob = await nodes.join("a", "call", "bob")
        eve = await nodes.join("b", "other", "eve", *GRANTS)
        await ada.publish()
        await media_flow(ada, bob)
        await ada.request("chat", text="hello")
        await nodes.all_nodes("sfu_cluster_unsaved_rooms", 0)
        # A node helps another one only after it has claimed its rooms again.
        await asyncio.sleep(nodes.up_at + VERIFY_TIME + 1.5 - time.monotonic())

        # The nodes do not reach each other, but Redis: nothing moves.
        await network.cut("a", "b")
        lost = await nodes.connect("b", "call", "lost")
        assert (await lost.join())["code"] == "directory_unavailable"
        assert await nodes.homes("call", "other") == {"call": "a", "other": "b"}
        await network.heal()

        # The node does not reach Redis, but its peer, which renews its lease.
        await network.cut("a", "redis")
        cut_at = time.monotonic()
        while time.monotonic() < cut_at + LEASE + 1.0:
            assert (await ada.request("chat", text="still here"))["type"] == "ok"
            assert await nodes.metric("a", CUT_OFF) == 0
            await media_flow(ada, bob)
        assert await nodes.metric("a", "sfu_cluster_directory_reachable") == 0
        assert await nodes.homes("call") == {"call": "a"}
        assert (await (await nodes.connect("b", "call", "cat")).join())["type"] == "joined"

        # It reaches neither: it stops deciding before its peer takes the room over.
        await network.cut("a", "b")

        async def cut_off() -> bool:
            return await nodes.metric("a", CUT_OFF) == 1

        await nodes.until(cut_off)
        assert await nodes.homes("call") == {"call": "a"}
        assert (await ada.request("chat", text="into the void"))["code"] == "cut_off"
        assert (await ada.request("room", locked=True))["code"] == "cut_off"
        assert (await (await nodes.connect("a", "call", "newcomer")).join())["code"] == "cut_off"
        status, problem, retry_after = await nodes.api("a", "PATCH", "/rooms/call", "call", json={"locked": True})
        assert (status, problem["code"], bool(retry_after)) == (503, "cut_off", True)
        status, _, _ = await nodes.api("a", "GET", "/rooms/call/participants", "call")
        assert status == 200
        track = next(iter(ada.tracks.values()))
        for muted in (True, False):
            assert (await ada.request("mute", track=track, muted=muted))["type"] == "ok"
        await media_flow(ada, bob)

        async def taken_over() -> bool:
            dan = await nodes.connect("b", "call", "dan")
            return bool((await dan.join())["type"] == "joined")

        await nodes.until(taken_over)
        assert await nodes.homes("call") == {"call": "b"}
        assert await nodes.metric("a", CUT_OFF) == 1
        await media_flow(ada, bob)
        assert not ada.closed.is_set()

        # Healed: the old home gives its copy up, and its participants continue at the new one.
        await network.heal()
        for client in (ada, bob):
            assert (await client.event("leave"))["reason"] == "moved"
        assert await nodes.served("a") == set()

        async def back() -> bool:
            again = await nodes.connect("a", "call", "ada")
            again.state = await again.join(resume=ada.state["resume_key"])
            return bool(again.state["type"] == "joined")

        await nodes.until(back)
        # What changed while the node did not reach Redis is lost, and nothing before.
        joined = nodes.clients[-1].state
        assert joined["participant"]["id"] == ada.state["participant"]["id"]
        assert [entry["text"] for entry in joined["chat"]] == ["hello"]
        assert await nodes.served("b") == {"call", "other"}
        assert not eve.closed.is_set()
