"""Requested keyframes: limited in rate, and without effect on segment boundaries."""

import time

import numpy as np

from sfu.egress.composite_outputs import CompositeOutputs
from sfu.egress.protocol import Init, Outputs, Part, Rendition, Start, ToServer

START = Start(
    room="room",
    renditions=[
        Rendition(name="180p", width=320, height=180, bit_rate=300_000),
        Rendition(name="90p", width=160, height=90, bit_rate=100_000),
    ],
)
WANTED = Outputs(live=True, video_ssrc=11, audio_ssrc=12)


def test_keyframe_requests_of_track_subscribers() -> None:
    messages: list[ToServer] = []
    sent: list[bytes] = []
    outputs = CompositeOutputs(START, messages.append, sent.extend)
    outputs.prepare(WANTED)
    outputs.change(WANTED, 0)
    keyframes = []
    canvas = np.full((270, 320), 128, np.uint8)
    for number in range(90):
        if number in (2, 12, 14, 27, 58, 70, 85):
            outputs.keyframe()
        begun = len(sent)
        outputs.video(canvas, 3000 * number)
        while not outputs._canvases.empty():  # real ticks are 33 ms apart, so that the lower rendition keeps up
            time.sleep(0.001)
        media = [packet for packet in sent[begun:] if not 191 < packet[1] < 224]
        # a keyframe begins with its parameter sets, aggregated (STAP-A)
        if media[0][12] & 0x1F == 24:
            keyframes.append(number)
    outputs.close()
    assert keyframes == [0, 6, 30, 60, 70]
    parts = [message for message in messages if isinstance(message, Part)]
    begins = {
        name: [part.pts for part in parts if part.rendition == name and not part.index] for name in ("180p", "90p")
    }
    assert outputs.overloaded() == {"lower": 0, "packaging": 0}
    assert begins["180p"] == begins["90p"] == [0, 90_000, 180_000]
    assert len([message for message in messages if isinstance(message, Init)]) == 2
