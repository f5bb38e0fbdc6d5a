"""The network changes under a connection: new ICE credentials, the same DTLS session, and the pictures go on."""

import asyncio

from tests.web.guest import Guest, Meeting
from tests.web.steady import steady

CREDENTIALS = """(number) => {
    const { currentLocalDescription, currentRemoteDescription } = watched.connections[number];
    return [currentLocalDescription, currentRemoteDescription].map(({ sdp }) => /a=ice-ufrag:(.*)/.exec(sdp)[1].trim());
}"""


async def credentials(guest: Guest, connection: int) -> list[str]:
    found: list[str] = await guest.run(CREDENTIALS, connection)
    return found


async def renewed(guest: Guest, connection: int, before: list[str]) -> None:
    await guest.until(
        "new credentials on both sides",
        f"""([number, before]) => {{
            const now = ({CREDENTIALS})(number);
            return now[0] !== before[0] && now[1] !== before[1] && watched.connections[number].connectionState === 'connected';
        }}""",
        [connection, before],
    )


async def test_both_connections_restart_while_the_media_goes_on(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada"), await meeting.join("Bob")
    hers, his = await ada.track(), await bob.track()
    await asyncio.gather(ada.sees(his), bob.sees(hers))
    publishing, subscribing = 0, 1

    async def restart_publishing() -> None:
        before = await credentials(ada, publishing)
        await ada.run("() => sfu.room.publisher.restart()")
        await renewed(ada, publishing, before)
        await bob.sees(hers, frames=30)

    async def restart_subscribing() -> None:
        before = await credentials(ada, subscribing)
        await ada.run("() => sfu.room.subscriber.restart()")
        await renewed(ada, subscribing, before)
        await ada.sees(his, frames=30)

    await steady(bob, hers, restart_publishing)
    await steady(ada, his, restart_subscribing)
    await ada.hears(await bob.track("microphone"))
    await bob.hears(await ada.track("microphone"))
    assert await ada.run("() => watched.connections.length") == 2
