"""An operator restarts the server: pages get a notice, the old process ends in time, and all rejoin at the new one."""

import signal
from pathlib import Path

from playwright.async_api import Browser

from tests.web.guest import gathering
from tests.web.server import KEYS, serve, token

SMALL = "320x180x15"


async def test_all_clients_move_to_the_new_process(chromium: Browser, tmp_path: Path) -> None:
    settings = {"http.host": "localhost", "rtc.include_loopback": "true"}
    async with serve(tmp_path / "old", settings, KEYS) as old, gathering(chromium, old.url, "move") as meeting:
        guests = []
        for name in ("Ada", "Bob"):
            guests.append(await meeting.invite(name))
            address = meeting.address(camera=SMALL, token=await token("move", name.lower()))
            await guests[-1].enter(address)
        ada, bob = guests
        before = [await guest.id() for guest in guests]
        await ada.sees(await bob.track())

        assert await old.terminate() == 0

        for guest in guests:
            (told,) = [mark["detail"] for mark in await guest.marks("leave")]
            assert told["reason"] == "draining"
            assert told["action"] == "reconnect"
            assert await guest.part("banner").get_attribute("data-kind") == "draining"
        assert old.errors() == []

        async with serve(tmp_path / "new", settings, KEYS, port=old.port) as new:
            for guest, gone in zip(guests, before, strict=True):
                await guest.until(
                    "the way back",
                    "(gone) => sfu.room.state.phase === 'joined' && sfu.room.state.me.id !== gone",
                    gone,
                    within=30,
                )
            await ada.sees(await bob.track())
            await bob.sees(await ada.track())
            await bob.hears(await ada.track("microphone"))
            assert new.errors() == []
        assert [guest.failures for guest in guests] == [[], []]


async def test_participants_and_newcomers_are_notified_and_the_meeting_goes_on(
    chromium: Browser, tmp_path: Path
) -> None:
    """A drain that lets the meeting end by itself: a notice, the way back in for those inside, and no new room."""
    settings = {"http.host": "localhost", "rtc.include_loopback": "true", "node.drain_timeout": 600}
    async with serve(tmp_path / "log", settings, KEYS) as server, gathering(chromium, server.url, "goes") as meeting:
        ada, bob = await meeting.invite("Ada"), await meeting.invite("Bob")
        await ada.enter(meeting.address(camera=SMALL, token=await token("goes", "ada")))
        assert await ada.part("restart-notice").count() == 0

        server.process.send_signal(signal.SIGTERM)
        await ada.part("restart-notice").wait_for()
        assert "You will be reconnected" in await ada.part("restart-notice").inner_text()
        before = await ada.id()
        await ada.run("() => sfu.room.renew()")
        await ada.until("the session again", "() => sfu.room.state.phase === 'joined' && sfu.room.state.drainedBy > 0")
        assert await ada.id() == before

        await bob.enter(meeting.address(camera=SMALL, token=await token("goes", "bob")))
        await bob.part("restart-notice").wait_for()
        await ada.sees(await bob.track())
        assert server.errors() == []
        assert [guest.failures for guest in (ada, bob)] == [[], []]
        server.process.send_signal(signal.SIGTERM)  # at once
