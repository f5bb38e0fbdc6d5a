"""A socket drops, as on a train: the media goes on, and nothing that was said meanwhile is missed."""

import asyncio

from tests.web.guest import Meeting
from tests.web.link import link
from tests.web.server import ServerProcess
from tests.web.steady import steady


async def test_a_dropped_socket_resumes_without_the_media_stopping(meeting: Meeting, server: ServerProcess) -> None:
    async with link(server.port) as way:
        ada, bob = await meeting.join("Ada", url=way.url), await meeting.join("Bob")
        tracks = await ada.track(), await bob.track()
        # what is still being negotiated when the socket goes has to wait for it
        await asyncio.gather(ada.sees(tracks[1]), bob.sees(tracks[0]))
        me, (joined,) = await ada.id(), await ada.marks("joined")
        lines: list[str] = []

        async def drop() -> None:
            way.cut()
            await ada.until("the loss", "() => sfu.room.state.phase === 'reconnecting'")
            assert await ada.part("banner").get_attribute("data-kind") == "reconnecting"
            lines.append(f"said in the tunnel {len(lines)}")
            await bob.run("(text) => sfu.room.chat(text)", lines[-1])
            # Long enough for several attempts to come back, and for anything that dies with the socket to die.
            await asyncio.gather(ada.sees(tracks[1], frames=30), bob.sees(tracks[0], frames=30))
            await ada.hears(await bob.track("microphone"))
            way.mend()
            await ada.until("the way back", "() => sfu.room.state.phase === 'joined'", within=20)
            await asyncio.gather(ada.sees(tracks[1]), bob.sees(tracks[0]))

        await steady(ada, tracks[1], drop)

        for again in (await ada.marks("joined"))[1:]:
            assert again["detail"] == {"resumed": True, "session": joined["detail"]["session"]}
        assert await ada.id() == me
        assert await ada.until("all lines", "(n) => sfu.room.state.chat.length === n", len(lines))
        assert await ada.run("() => sfu.room.state.chat.map(({ text }) => text)") == lines
        assert await bob.marks("participant_left") == []
        assert await ada.run("() => watched.connections.length") == 2
        assert await bob.received(tracks[0]) != {}
