"""sfu.ingest.transcoder_worker: what a transcoder process makes of coded media. In this process, over a socket pair."""

import socket
import threading
from collections.abc import Callable

import av
import numpy as np
import pytest

from sfu.ingest import transcoder_worker
from sfu.ingest.transcoder_worker import SoundTranscoder, VideoTranscoder, Worker
from sfu.ingest.transcoding import (
    LENGTH,
    LIMIT,
    Audio,
    ConfigureAudio,
    ConfigureVideo,
    FromTranscoder,
    LayerSpec,
    Picture,
    Ready,
    RequestKeyframe,
    Sound,
    ToTranscoder,
    Video,
    decode_from_transcoder,
    encode,
)
from sfu.rtp.codecs.avcc import split_units
from sfu.rtp.codecs.h264 import has_b_slice
from tests.support.synthetic_stream import SAMPLES, Beeper
from tests.support.x264 import encode_h264

PICTURES = [np.full((96, 96), value, np.uint8) for value in (40, 90, 140, 190, 220)]
CONFIG, FRAMES = encode_h264(PICTURES, profile="high", b_frames=2)
LAYERS = [
    LayerSpec(rid="q", width=48, height=32, bit_rate=50_000),
    LayerSpec(rid="f", width=0, height=0, bit_rate=90_000),
]


def aac(seconds: float = 0.3) -> tuple[bytes, list[Audio]]:
    """AudioSpecificConfig and frames of a tone."""
    beeper = Beeper()
    frames = [one.data for one in beeper.until(round(seconds * 90_000))]
    return beeper.track.config, [Audio(time=index * SAMPLES / 48_000, data=data) for index, data in enumerate(frames)]


def decoded(sounds: list[Sound]) -> np.ndarray:
    decoder = av.CodecContext.create("opus", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    frames = [frame for sound in sounds for frame in decoder.decode(av.Packet(sound.data))]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def test_sound_becomes_opus_with_level_and_continuous_positions() -> None:
    config, frames = aac()
    found: list[FromTranscoder] = []
    transcoder = SoundTranscoder("AAC", config, found.append)
    for frame in frames:
        transcoder.receive(frame)
    sounds = [one for one in found if isinstance(one, Sound)]
    assert [one.pts for one in sounds] == [sounds[0].pts + 960 * number for number in range(len(sounds))]
    assert 0 < min(one.level for one in sounds) < 40
    assert sounds[-1].level > 60  # the tone lasts 100 ms
    assert np.abs(decoded(sounds)).max() > 0.1


def test_g711_needs_no_configuration() -> None:
    found: list[FromTranscoder] = []
    transcoder = SoundTranscoder("PCMU", b"", found.append)
    for number in range(10):
        transcoder.receive(Audio(time=number * 0.02, data=b"\xff" * 160))
    sounds = [one for one in found if isinstance(one, Sound)]
    assert len(sounds) in (8, 9)
    assert {one.level for one in sounds} == {127}


def test_a_gap_in_the_sound_begins_at_its_time() -> None:
    found: list[FromTranscoder] = []
    transcoder = SoundTranscoder("PCMA", b"", found.append)
    for time in (0.0, 0.02, 0.04, 2.0, 2.02, 2.04):
        transcoder.receive(Audio(time=time, data=b"\xd5" * 160))
    positions = [one.pts for one in found if isinstance(one, Sound)]
    assert len([each for each in positions if each < 48_000]) >= 2
    assert min(each for each in positions if each > 48_000) >= 2 * 48_000


class Pictures:
    """Pictures of a VideoTranscoder, which sends them from its thread."""

    def __init__(self, *layers: LayerSpec, config: bytes = CONFIG, codec: str = "H264") -> None:
        self.found: list[Picture] = []
        self.failures: list[str] = []
        self._changed = threading.Condition()
        self.transcoder = VideoTranscoder(
            ConfigureVideo(codec=codec, config=config, layers=list(layers)), self._add, self._failed
        )

    def _add(self, message: FromTranscoder) -> None:
        assert isinstance(message, Picture)
        with self._changed:
            self.found.append(message)
            self._changed.notify_all()

    def _failed(self, reason: str) -> None:
        with self._changed:
            self.failures.append(reason)
            self._changed.notify_all()

    def wait(self, reached: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(reached, 20)

    def send(self, frames: list[bytes], first: int = 0) -> None:
        for number, frame in enumerate(frames, first):
            self.transcoder.receive(Video(pts=3000 * number, keyframe=number == first, data=frame))

    def layer(self, rid: str) -> list[Picture]:
        return [one for one in self.found if one.rid == rid]


def size_of(pictures: list[Picture]) -> tuple[int, int]:
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.extradata, decoder.thread_count = pictures[0].config, 1
    frames = [frame for one in pictures for frame in decoder.decode(av.Packet(one.data))] + decoder.decode(None)
    return frames[0].width, frames[0].height


def test_pictures_become_layers_without_b_frames() -> None:
    pictures = Pictures(*LAYERS)
    pictures.send(FRAMES)
    pictures.wait(lambda: len(pictures.layer("f")) >= 3)
    pictures.transcoder.close()
    assert size_of(pictures.layer("q")[:3]) == (48, 32)
    assert size_of(pictures.layer("f")[:3]) == (96, 64)
    for rid in "qf":
        layer = pictures.layer(rid)
        assert [one.pts for one in layer] == sorted({one.pts for one in layer})
        assert [one.keyframe for one in layer][:3] == [True, False, False]
        assert [bool(one.config) for one in layer] == [one.keyframe for one in layer]
        assert not any(has_b_slice(unit) for one in layer for unit in split_units(one.data) if unit[0] & 31 == 1)


def test_a_keyframe_request_concerns_its_layer() -> None:
    pictures = Pictures(*LAYERS)
    pictures.send(FRAMES)
    pictures.wait(lambda: len(pictures.layer("f")) >= 3)
    count = {rid: len(pictures.layer(rid)) for rid in "qf"}
    pictures.transcoder.request_keyframe("q")
    pictures.send(FRAMES, len(FRAMES))
    pictures.wait(lambda: len(pictures.layer("f")) >= count["f"] + 3)
    pictures.transcoder.close()
    assert any(one.keyframe for one in pictures.layer("q")[count["q"] :])
    assert not any(one.keyframe for one in pictures.layer("f")[count["f"] :])


def test_pictures_wait_for_a_keyframe_and_damage_is_skipped() -> None:
    pictures = Pictures(LAYERS[1])
    pictures.transcoder.receive(Video(pts=0, keyframe=False, data=FRAMES[1]))
    pictures.transcoder.receive(Video(pts=0, keyframe=True, data=b"\0\0\0\1damaged"))
    pictures.send(FRAMES, 1)
    pictures.wait(lambda: len(pictures.found) >= 3)
    pictures.transcoder.close()
    assert pictures.found[0].pts == 3000
    assert pictures.failures == []


def test_pictures_beyond_the_queue_are_dropped_up_to_a_keyframe(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = transcoder_worker.VIDEO_QUEUE
    blocked, released, done = threading.Event(), threading.Event(), threading.Event()
    seen: list[int] = []

    def transcode(self: VideoTranscoder, frame: Video) -> None:
        seen.append(frame.pts)
        blocked.set()
        assert released.wait(20)
        if len(seen) == limit + 1:
            done.set()

    monkeypatch.setattr(VideoTranscoder, "_transcode", transcode)
    transcoder = Pictures(LAYERS[1]).transcoder
    receive = transcoder.receive
    receive(Video(pts=0, keyframe=True, data=b""))
    assert blocked.wait(20)
    for number in range(1, limit + 10):
        receive(Video(pts=number, keyframe=False, data=b""))
    released.set()
    assert done.wait(20)
    done.clear()
    limit += 1  # the last picture
    receive(Video(pts=1000, keyframe=False, data=b""))
    receive(Video(pts=1001, keyframe=True, data=b""))
    assert done.wait(20)
    transcoder.close()
    assert seen == [*range(limit), 1001]


def test_too_large_a_picture_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcoder_worker, "MAX_PIXELS", 96 * 64 - 1)
    pictures = Pictures(LAYERS[1])
    pictures.send(FRAMES)
    pictures.wait(lambda: bool(pictures.failures))
    assert pictures.failures == ["ValueError in the video transcoder."]


class ThreadWorker(Worker):
    """A worker that does not end this process."""

    def fail(self, reason: str) -> None:
        """The video thread may still send when the socket is closed."""


class Server:
    """The server's end of a Worker."""

    def __init__(self) -> None:
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(20)
        self.errors: list[BaseException] = []
        self.worker = ThreadWorker(theirs)
        self.theirs = theirs
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        self.stream = self.sock.makefile("rb")

    def _run(self) -> None:
        try:
            self.worker.run()
        except Exception as error:
            self.errors.append(error)
        self.theirs.close()

    def send(self, *messages: ToTranscoder) -> None:
        self.sock.sendall(b"".join(map(encode, messages)))

    def receive(self) -> FromTranscoder:
        (size,) = LENGTH.unpack(self.stream.read(LENGTH.size))
        message: FromTranscoder = decode_from_transcoder(self.stream.read(size))
        return message

    def close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)
        self.thread.join(20)
        self.stream.close()
        self.sock.close()


def test_a_worker_serves_until_the_server_closes_the_socket() -> None:
    server = Server()
    assert server.receive() == Ready()
    video = ConfigureVideo(codec="H264", config=CONFIG, layers=LAYERS[1:])
    config, frames = aac(0.1)
    server.send(AUDIO, VIDEO, RequestKeyframe(rid="f"))  # without a configuration
    server.send(ConfigureAudio(codec="AAC", config=config), AUDIO, *frames, video)
    server.send(*[Video(pts=3000 * number, keyframe=not number, data=data) for number, data in enumerate(FRAMES)])
    kinds: set[type[FromTranscoder]] = set()
    while len(kinds) < 2:
        kinds.add(type(server.receive()))
    assert kinds == {Sound, Picture}
    server.close()
    assert server.errors == []


AUDIO = Audio(time=0.0, data=b"damaged")
VIDEO = Video(pts=0, keyframe=True, data=b"damaged")


def test_a_worker_refuses_a_message_that_is_too_long() -> None:
    server = Server()
    server.receive()
    server.sock.sendall(LENGTH.pack(LIMIT + 1))
    server.thread.join(20)
    assert isinstance(server.errors[0], ValueError)
    server.close()
