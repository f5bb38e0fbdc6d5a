"""A publish that the server refuses, and the ones after it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.web.firefox import Firefox
from tests.web.guest import Meeting, Visitor
from tests.web.server import ServerProcess, serve

PUBLISH = """async ([kind, source]) => {
    let track;
    if (kind === 'audio') {
        [track] = (await navigator.mediaDevices.getUserMedia({ audio: true })).getTracks();
    } else {
        const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 });
        const draw = canvas.getContext('2d');
        let count = 0;
        setInterval(() => {
            draw.fillStyle = `hsl(${(count += 7) % 360} 80% 50%)`;
            draw.fillRect(0, 0, 640, 360);
        }, 50);
        [track] = canvas.captureStream(20).getTracks();
    }
    try {
        await sfu.room.publish(track, { source });
        return 'published';
    } catch (error) {
        return typeof error.code === 'string' ? error.code : String(error);
    }
}"""
UNPUBLISH = """async (source) => {
    for (const publication of [...sfu.room.publications]) {
        if (publication.source === source) await sfu.room.unpublish(publication);
    }
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """One that allows three tracks of each participant: microphone, camera and one more."""
    async with serve(tmp_path_factory.mktemp("server") / "log", {"rooms.max_tracks": 3}) as running:
        yield running


async def refusals(visitor: Visitor, viewer: Visitor) -> None:
    """Everything in turn that is refused, each followed by one that must work."""
    assert await visitor.run(PUBLISH, ["video", "unknown"]) == "published"
    camera = await visitor.track("camera")
    for kind, source in (("audio", "screen_share_audio"), ("video", "screen_share"), ("audio", "unknown")):
        assert await visitor.run(PUBLISH, [kind, source]) == "at_capacity"
        await viewer.sees(camera, frames=3)
        for again in (kind, "video", "audio"):
            await visitor.run(UNPUBLISH, "unknown")
            assert await visitor.run(PUBLISH, [again, "unknown"]) == "published"
            track = await visitor.track("unknown")
            if again == "audio":
                await viewer.hears(track)
            else:
                await viewer.until(
                    "the page's own settings", "(track) => sfu.room.subscriptionSettings.current.has(track)", track
                )
                await viewer.subscribe({"track": track, "width": 640, "height": 360, "paused": False})
                await viewer.sees(track, frames=3)
    lines = await visitor.run("() => sfu.room.publisher.connection.getTransceivers().length")
    assert lines <= 6, "m-lines of refused tracks are used again"


async def test_a_refused_publish_does_not_break_the_next(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera="320x180x15"), await meeting.join("Bob", camera="320x180x15")
    await refusals(ada, bob)


async def test_the_same_in_firefox(meeting: Meeting, fox: Firefox) -> None:
    bob = await meeting.join("Bob", camera="320x180x15")
    await fox.enter(meeting.address(camera="320x180x15"))
    await refusals(fox, bob)
