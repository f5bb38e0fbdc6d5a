"""A connection with many consecutive screen shares."""

import os

from tests.web.firefox import Firefox
from tests.web.guest import Meeting, Visitor

SHARES = int(os.environ.get("SHARES", "20"))
"""`make soak` asks for 210. tests/transport/test_negotiation.py makes 250 with a client of its own."""
SHARE = """async (last) => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 });
    const draw = canvas.getContext('2d');
    const timer = setInterval(() => {
        draw.fillStyle = `hsl(${Math.random() * 360} 80% 50%)`;
        draw.fillRect(0, 0, 640, 360);
    }, 50);
    const [track] = canvas.captureStream(20).getTracks();
    const publication = await sfu.room.publish(track, { source: 'unknown' });
    const sent = async () => {
        const report = await publication.transceiver.sender.getStats();
        return [...report.values()].some((one) => one.type === 'outbound-rtp' && one.framesSent > 0);
    };
    for (let waited = 0; waited < 100 && !(await sent()); waited++) await new Promise((resolve) => setTimeout(resolve, 50));
    if (last) return publication.id;
    await sfu.room.unpublish(publication);
    track.stop();
    clearInterval(timer);
    return publication.id;
}"""


async def seen(visitor: Visitor, viewer: Visitor) -> None:
    track = await visitor.track("unknown")
    await viewer.until("the page's own settings", "(track) => sfu.room.subscriptionSettings.current.has(track)", track)
    await viewer.subscribe({"track": track, "width": 640, "height": 360, "paused": False})
    await viewer.sees(track, frames=5, within=30)


async def shares(visitor: Visitor, viewer: Visitor, count: int) -> None:
    for number in range(1, count):
        assert await visitor.run(SHARE, number % 30 == 0), f"share {number}"
        if number % 30 == 0:
            await seen(visitor, viewer)
            await visitor.run(
                "async () => { for (const one of [...sfu.room.publications])"
                " if (one.source === 'unknown') await sfu.room.unpublish(one); }"
            )
    await visitor.run(SHARE, True)
    await seen(visitor, viewer)
    await viewer.hears(await visitor.track("microphone"))
    assert await visitor.run("() => sfu.room.publisher.connection.getTransceivers().length") < 10
    lines = await viewer.run("() => sfu.room.subscriber.connection.getTransceivers().length")
    assert lines < 10, "m-lines are used again"


async def test_hundreds_of_shares_on_one_connection(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera="320x180x15"), await meeting.join("Bob", camera="320x180x15")
    await shares(ada, bob, SHARES)


async def test_the_same_of_firefox(meeting: Meeting, fox: Firefox) -> None:
    bob = await meeting.join("Bob", camera="320x180x15")
    await fox.enter(meeting.address(camera="320x180x15"))
    await shares(fox, bob, SHARES)
