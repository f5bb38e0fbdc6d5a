"""Sound with two channels stays what it is on the way to viewers."""

import pytest

from tests.web.firefox import Firefox
from tests.web.guest import Meeting, Visitor

PUBLISH = """async ([source, left, right]) => {
    const context = new AudioContext({ sampleRate: 48000 });
    void context.resume();
    const merger = context.createChannelMerger(2);
    [left, right].forEach((frequency, channel) => {
        if (!frequency) return;
        const tone = new OscillatorNode(context, { frequency });
        tone.connect(new GainNode(context, { gain: 0.3 })).connect(merger, 0, channel);
        tone.start();
    });
    const destination = new MediaStreamAudioDestinationNode(context, { channelCount: 2 });
    merger.connect(destination);
    window.tones = [context, destination];
    return (await sfu.room.publish(destination.stream.getAudioTracks()[0], { source })).id;
}"""
LOUDNESS = """async (id) => {
    const listen = async () => {
        const track = sfu.room.subscriber?.media.get(id);
        if (!track) return null;
        const context = new AudioContext({ sampleRate: 48000 });
        void context.resume();
        const splitter = context.createChannelSplitter(2);
        context.createMediaStreamSource(new MediaStream([track])).connect(splitter);
        const ears = [0, 1].map((channel) => {
            const ear = new AnalyserNode(context, { fftSize: 4096 });
            splitter.connect(ear, channel);
            return ear;
        });
        return { ears, samples: new Float32Array(4096) };
    };
    window.listening ??= {};
    const heard = (window.listening[id] ??= await listen());
    if (!heard) { delete window.listening[id]; return null; }
    return heard.ears.map((ear) => {
        ear.getFloatTimeDomainData(heard.samples);
        return Math.sqrt(heard.samples.reduce((sum, sample) => sum + sample * sample, 0) / 4096);
    });
}"""


async def heard(viewer: Visitor, track: str, louder: int) -> None:
    """Waits until one channel (0: left) is heard and the other one is not."""
    await viewer.until(
        f"channel {louder} of {track} alone",
        f"async ([id, louder]) => {{ const now = await ({LOUDNESS})(id); window.loudness = now;"
        " return now && now[louder] > 0.05 && now[1 - louder] < now[louder] / 10; }",
        [track, louder],
    )


@pytest.mark.parametrize(("tones", "louder"), [((440, 0), 0), ((0, 440), 1)], ids=["left", "right"])
async def test_the_sound_of_a_screen(meeting: Meeting, tones: tuple[int, int], louder: int) -> None:
    ada, bob = await meeting.join("Ada", camera="320x180x15"), await meeting.join("Bob", camera="320x180x15")
    track = await ada.run(PUBLISH, ["screen_share_audio", *tones])
    await heard(bob, track, louder)
    late = await meeting.join("Late", camera="320x180x15")
    await heard(late, track, louder)


async def test_mono_and_stereo_at_once(meeting: Meeting) -> None:
    """Two kinds of Opus in one bundle: neither harms the other."""
    ada, bob = await meeting.join("Ada", camera="320x180x15"), await meeting.join("Bob", camera="320x180x15")
    track = await ada.run(PUBLISH, ["screen_share_audio", 440, 0])
    await heard(bob, track, 0)
    await bob.hears(await ada.track("microphone"))
    await ada.hears(await bob.track("microphone"))


async def test_firefox_is_sent_two_channels(meeting: Meeting, fox: Firefox) -> None:
    """Its decoded sound is not accessible: without a sound card the audio graph does not run."""
    ada = await meeting.join("Ada", camera="320x180x15")
    await fox.enter(meeting.address(camera="320x180x15"))
    track = await ada.run(PUBLISH, ["screen_share_audio", 440, 0])
    await fox.hears(track)
    await fox.until(
        "an answer with stereo",
        "() => /^a=fmtp:110 .*stereo=1/m.test(sfu.room.subscriber.connection.localDescription.sdp)",
    )
    await ada.hears(await fox.track("microphone"))
