"""The server refuses, drops or limits media: the sender's page soon shows the state of the server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import aiohttp
import pytest
import pytest_asyncio

from tests.web.guest import Guest, Meeting
from tests.web.server import ServerProcess, serve

T = TypeVar("T")
SMALL = "320x180x15"
SAME = """() => {
    // The own tracks as the other participant's server events tell them, against what this page shows.
    const { microphone, camera, screen } = sfu.local.state;
    return { microphone: microphone.wanted, camera: camera.wanted, screen_share: Boolean(screen) };
}"""
OTHERS = """(id) => {
    const tracks = sfu.room.state.participants.get(id).tracks;
    const on = (source) => tracks.some((track) => track.source === source && !track.muted);
    return { microphone: on('microphone'), camera: on('camera'), screen_share: on('screen_share') };
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """Allows few messages, and four tracks per participant."""
    settings = {
        "signaling.message_rate": 4,
        "signaling.message_burst": 24,
        "rooms.max_tracks": 4,
    }
    async with serve(tmp_path_factory.mktemp("server") / "log", settings) as running:
        yield running


async def settled(one: Callable[[], Awaitable[T]], other: Callable[[], Awaitable[T]], within: float = 20) -> T:
    """Waits until both pages show the same, and still do a moment later."""
    for _ in range(int(within * 5)):
        if await one() == await other():
            await asyncio.sleep(0.7)
            shown = await one()
            if shown == await other():
                return shown
        await asyncio.sleep(0.2)
    raise AssertionError(f"{await one()} != {await other()}")


async def agree(owner: Guest, other: Guest) -> dict[str, bool]:
    """Waits until the other participant knows what the owner's page shows."""
    identifier = await owner.id()
    return await settled(lambda: owner.run(SAME), lambda: other.run(OTHERS, identifier))


async def test_rapid_toggles_end_in_the_state_that_the_page_shows(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera=SMALL), await meeting.join("Bob", camera=SMALL)
    await bob.sees(await ada.track())
    for number in range(13):
        await ada.page.keyboard.press("s")
        await ada.until("the toggle", "(on) => Boolean(sfu.local.state.screen) === on", number % 2 == 0)
    shown = await agree(ada, bob)
    assert shown["screen_share"]
    await bob.sees(await ada.track("screen_share"), frames=2)

    for _ in range(15):
        await ada.page.keyboard.press("m")
        await ada.page.keyboard.press("v")
    await agree(ada, bob)


async def test_bursts_of_other_requests_arrive_in_order(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera=SMALL), await meeting.join("Bob", camera=SMALL)
    await ada.run("() => { for (let line = 0; line < 40; line++) sfu.act.chat(`line ${line}`); }")
    for _ in range(9):
        await ada.page.keyboard.press("h")
    await bob.until("all lines", "() => sfu.room.state.chat.length === 40", within=30)
    assert await bob.run("() => sfu.room.state.chat.map(({ text }) => text)") == [f"line {line}" for line in range(40)]
    hand = "(id) => Boolean((id ? sfu.room.state.participants.get(id) : sfu.room.state.me).attributes.hand)"
    identifier = await ada.id()
    await settled(lambda: ada.run(hand), lambda: bob.run(hand, identifier))
    await bob.run(
        """() => {
            const [track] = [...sfu.room.subscriptionSettings.current.keys()];
            for (let width = 40; width < 80; width++) setTimeout(() => sfu.room.chat(`${width}`), 0);
            for (let width = 0; width < 12; width++) {
                const demand = { width: 320 + width, height: 180, visible: true, main: true };
                setTimeout(() => sfu.room.subscriptionSettings.demand(track, sfu, demand), width * 170);
            }
        }"""
    )
    await bob.until(
        "the last settings",
        "() => [...sfu.room.subscriptionSettings.current.values()].some(({ width }) => width >= 331)",
        within=30,
    )
    await bob.sees(await ada.track(), within=30)
    assert await ada.run("() => sfu.room.state.phase") == "joined"


async def test_a_share_beyond_the_limit_is_taken_back_with_the_reason(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera=SMALL), await meeting.join("Bob", camera=SMALL)
    await bob.sees(await ada.track())
    await ada.track("microphone")
    await ada.run(
        """async () => {
            for (const name of ['slides', 'whiteboard']) {
                const canvas = document.createElement('canvas');
                canvas.getContext('2d');
                await sfu.room.publish(canvas.captureStream(5).getVideoTracks()[0], { source: 'unknown', name });
            }
        }"""
    )
    await ada.part("share").click()
    toast = ada.part("toast").filter(has_text="Your screen")
    await toast.first.wait_for()
    assert "could not be shared" in await toast.first.inner_text()
    await ada.until("no share", "() => !sfu.local.state.screen && !document.querySelector('[data-kind=sharing]')")
    shown = await agree(ada, bob)
    assert shown == {"microphone": True, "camera": True, "screen_share": False}
    await bob.sees(await ada.track())


async def test_a_screen_whose_sound_is_refused_is_still_shared(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera=SMALL), await meeting.join("Bob", camera=SMALL)
    await ada.track("microphone")
    await ada.track()
    await ada.run(
        """async () => {
            const canvas = document.createElement('canvas');
            canvas.getContext('2d');
            await sfu.room.publish(canvas.captureStream(5).getVideoTracks()[0], { source: 'unknown', name: 'slides' });
        }"""
    )
    await ada.part("share").click()
    await ada.part("toast").filter(has_text="Your screen audio could not be shared").first.wait_for()
    assert await ada.run("() => Boolean(sfu.local.state.screen.video) && sfu.local.state.screen.audio === null")
    await bob.sees(await ada.track("screen_share"), frames=2)
    assert (await agree(ada, bob))["screen_share"]


async def permit(server: ServerProcess, room: str, identity: str, permissions: dict[str, object]) -> None:
    async with aiohttp.ClientSession() as client:
        async with client.post(f"{server.url}/api/dev/token", json={"room": room, "admin": True}) as answer:
            key = (await answer.json())["token"]
        path = f"{server.url}/api/v1/rooms/{room}/participants/{identity}"
        headers = {"Authorization": f"Bearer {key}"}
        async with client.patch(path, json={"permissions": permissions}, headers=headers) as answer:
            assert answer.status == 200, await answer.text()


async def test_a_share_that_an_operator_forbids_ends_on_the_senders_page(
    meeting: Meeting, server: ServerProcess
) -> None:
    ada, bob = await meeting.join("Ada", camera=SMALL, identity="ada"), await meeting.join("Bob", camera=SMALL)
    await ada.part("share").click()
    await bob.sees(await ada.track("screen_share"), frames=2)
    await permit(server, meeting.room, "ada", {"sources": ["camera", "microphone"]})
    await ada.until("no share", "() => !sfu.local.state.screen", within=10)
    await ada.part("toast").filter(has_text="Your screen could not be shared").first.wait_for()
    shown = await agree(ada, bob)
    assert shown == {"microphone": True, "camera": True, "screen_share": False}
    await bob.sees(await ada.track())
    await bob.hears(await ada.track("microphone"))

    await permit(server, meeting.room, "ada", {"publish": False})
    await ada.until("all off", "() => !sfu.local.state.camera.wanted && !sfu.local.state.microphone.wanted", within=10)
    await agree(ada, bob)


async def test_tracks_that_the_server_forgot_are_published_again(meeting: Meeting) -> None:
    """A resumed session whose publishing connection ended meanwhile: the event did not arrive, the snapshot shows it."""
    ada, bob = await meeting.join("Ada", camera=SMALL), await meeting.join("Bob", camera=SMALL)
    before = await ada.track()
    await bob.sees(before)
    await ada.run(
        """() => {
            // The event that would tell is lost.
            const [camera] = [...sfu.room.publications].filter(({ source }) => source === 'camera');
            camera.id = 'TR_gone';
            sfu.room.renew();
        }"""
    )
    await ada.until("another id", "() => [...sfu.room.publications].every(({ id }) => id && id !== 'TR_gone')")
    await bob.sees(await ada.track())
    await agree(ada, bob)
