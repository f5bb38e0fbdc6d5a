"""A person with many networks: more ICE candidates than the server reads."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Playwright, async_playwright

from tests.support import impaired
from tests.web.conftest import launch
from tests.web.guest import Meeting
from tests.web.server import ServerProcess, serve

pytestmark = pytest.mark.skipif(bool(impaired.possible()), reason=impaired.possible() or "possible")
NETWORKS = 40
GATHER_FIRST = """(() => {
    // Chromium stops gathering when it is connected: the answer waits for the last candidate.
    const { setRemoteDescription } = RTCPeerConnection.prototype;
    RTCPeerConnection.prototype.setRemoteDescription = async function (description) {
        while (description.type === 'answer' && this.iceGatheringState !== 'complete') {
            await new Promise((resolve) => setTimeout(resolve, 20));
        }
        return setRemoteDescription.call(this, description);
    };
})()"""
CANDIDATES = """() => {
    const { sdp } = sfu.room.publisher.connection.localDescription;
    return Math.max(...sdp.split(/^m=/m).map((section) => section.match(/^a=candidate/gm)?.length ?? 0));
}"""
SHARE = """async () => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 320, height: 180 });
    const draw = canvas.getContext('2d');
    setInterval(() => draw.fillRect(Math.random() * 320, 0, 9, 180), 50);
    return (await sfu.room.publish(canvas.captureStream(20).getTracks()[0], { source: 'unknown' })).id;
}"""
TRICKLE = """() => {
    const lines = sfu.room.publisher.connection.localDescription.sdp.match(/^a=(candidate:.*)/gm) ?? [];
    for (const connection of ['publish', 'subscribe']) {
        for (const line of [...lines, 'a=end-of-candidates', 'a=']) {
            const message = { type: 'candidate', connection, candidate: line.slice(2), mid: '0' };
            watched.sockets.at(-1).send(JSON.stringify(message));
        }
    }
    return lines.length;
}"""


@pytest.fixture(scope="module")
def namespace() -> Iterator[None]:
    with impaired.own_namespace():
        for command in (
            "ip link add many0 type veth peer name many1",
            # An IPv6 address is tentative for seconds. When it settles, Chromium aborts what it loads.
            "ip link set many0 addrgenmode none",
            "ip link set many1 addrgenmode none",
            "ip link set many0 up",
            "ip link set many1 up",
            *(f"ip addr add 10.{number}.0.1/24 dev many0" for number in range(NETWORKS)),
        ):
            subprocess.run(command.split(), check=True)
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def playwright(namespace: None) -> AsyncIterator[Playwright]:
    async with async_playwright() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chromium(playwright: Playwright) -> AsyncIterator[Browser]:
    browser = await launch(playwright, shell=False)
    yield browser
    await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(namespace: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    async with serve(tmp_path_factory.mktemp("server") / "log") as running:
        yield running


async def test_many_networks(meeting: Meeting, tmp_path: Path) -> None:
    ada = await meeting.invite("Ada")
    await ada.page.add_init_script(GATHER_FIRST)
    await ada.enter(meeting.address())
    bob = await meeting.join("Bob")
    await bob.sees(await ada.track())
    await ada.until("all candidates", f"() => ({CANDIDATES})() > 64")

    track = await ada.run(SHARE)
    await bob.until("the page's own settings", "(track) => sfu.room.subscriptionSettings.current.has(track)", track)
    await bob.subscribe({"track": track, "width": 320, "height": 180, "paused": False})
    await bob.sees(track)
    await ada.run("() => sfu.room.publisher.restart()")
    await ada.until("all candidates again", f"() => ({CANDIDATES})() > 64")
    second = await ada.run(SHARE)
    assert second

    # Chromium gathers again after the restart, while other things are negotiated.
    await ada.until("all candidates after the share", f"() => ({CANDIDATES})() > 64")
    assert await ada.run(TRICKLE) > 64
    await ada.run("() => sfu.room.chat('still here')")
    await bob.until("the chat", "() => sfu.room.state.chat.some(({ text }) => text === 'still here')")
    await bob.sees(track)
