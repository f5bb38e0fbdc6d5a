"""One person with as many cameras as a participant may have."""

import pytest

from tests.web.guest import Meeting

CAMERAS = 14
PUBLISH = """async ([count, together]) => {
    const add = async (number) => {
        const canvas = Object.assign(document.createElement('canvas'), { width: 960, height: 540 });
        const draw = canvas.getContext('2d');
        setInterval(() => {
            draw.fillStyle = `hsl(${Math.random() * 360} 80% 50%)`;
            draw.fillRect(0, 0, 960, 540);
        }, 500);
        const [track] = canvas.captureStream(2).getTracks();
        return (await sfu.room.publish(track, { source: 'unknown', name: `camera ${number}` })).id;
    };
    const numbers = [...Array(count).keys()];
    if (together) return Promise.all(numbers.map(add));
    const ids = [];
    for (const number of numbers) ids.push(await add(number));
    return ids;
}"""


@pytest.mark.parametrize("together", [True, False], ids=["at once", "one by one"])
async def test_sixteen_tracks(meeting: Meeting, together: bool) -> None:
    """The default of `rooms.max_tracks`: microphone, camera and 14 more in three layers each."""
    ada, bob = await meeting.join("Ada", camera="320x180x15"), await meeting.join("Bob", camera="320x180x15")
    await ada.track()
    await ada.track("microphone")
    tracks = await ada.run(PUBLISH, [CAMERAS, together])
    assert len(set(tracks)) == CAMERAS
    assert await ada.run("() => sfu.room.publisher.connection.localDescription.sdp.length") > 50_000
    last = tracks[-1]
    await bob.until("the page's own settings", "(track) => sfu.room.subscriptionSettings.current.has(track)", last)
    await bob.subscribe({"track": last, "width": 960, "height": 540, "paused": False})
    await bob.sees(last, frames=3, within=60)
    refused = await ada.run(
        "() => sfu.room.publish(new MediaStreamTrackGenerator({ kind: 'video' }), { source: 'unknown' })"
        ".catch((error) => error.code)"
    )
    assert refused == "at_capacity"
    await bob.sees(last, frames=2, within=30)
