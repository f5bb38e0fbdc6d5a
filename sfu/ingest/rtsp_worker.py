"""Demuxer process of one camera: `python -m sfu.ingest.rtsp_worker CONTROL_FD MEMORY_BYTES NICE`.

Runs libavformat's RTSP client and sends the coded packets to the server. It parses untrusted data, so it is isolated: no
secrets in its environment, limited address space, no core dumps. It connects to a port of the server, which relays to the
camera. Texts of libavformat contain the URL with its credentials, so they are never logged.
"""

import logging
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from typing import Final, cast

import av
from av.video.codeccontext import VideoCodecContext

from sfu.ingest.demuxing import (
    AUDIO_CODECS,
    VIDEO_CODECS,
    AudioConfig,
    AudioPacket,
    FromDemuxer,
    Opened,
    VideoConfig,
    VideoPacket,
    decode_open,
    encode,
)
from sfu.ingest.transcoding import LENGTH, LIMIT, Failed, Ready
from sfu.outputs.codec_config import nal_units

OPTIONS: Final = {"rtsp_transport": "tcp", "allowed_media_types": "video+audio", "analyzeduration": "2000000"}
MAX_PACKET: Final = 4_194_304
_IDR, _SPS, _PPS = 5, 7, 8
_REASONS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (av.error.HTTPUnauthorizedError, "The camera refused the user name or the password."),
    (av.error.HTTPForbiddenError, "The camera refused access to the stream."),
    (av.error.HTTPNotFoundError, "The camera has no stream with this path."),
    (av.error.HTTPError, "The camera refused the request."),
    (av.error.InvalidDataError, "The camera sent invalid data."),
    (MemoryError, "The camera's stream needs too much memory."),
)
ENDED: Final = "The camera ended the connection."


class H264Packets:
    """Turns Annex B access units into length-prefixed ones, and their parameter sets into avcC records."""

    def __init__(self, extradata: bytes) -> None:
        self._sets: dict[int, list[bytes]] = {_SPS: [], _PPS: []}
        self._sent = b""
        self._learn(nal_units(extradata))

    def convert(self, data: bytes) -> tuple[bytes, bytes, bool]:
        """Returns the avcC record if it has changed, the access unit, and whether it is a keyframe."""
        units = [unit for unit in nal_units(data) if unit]
        self._learn(units)
        config = self._config()
        changed = config if config != self._sent else b""
        self._sent = config
        keyframe = any(unit[0] & 0x1F == _IDR for unit in units)
        return changed, b"".join([len(unit).to_bytes(4, "big") + unit for unit in units]), keyframe

    def _learn(self, units: list[bytes]) -> None:
        for kind, sets in self._sets.items():
            found = [unit for unit in units if unit and unit[0] & 0x1F == kind and len(unit) > 3]
            if found:
                sets[:] = dict.fromkeys(found[:16])

    def _config(self) -> bytes:
        sps, pps = self._sets[_SPS], self._sets[_PPS]
        if not sps or not pps:
            return b""
        head = bytes((1, *sps[0][1:4], 0xFF, 0xE0 | len(sps)))
        return head + _prefixed(sps) + bytes((len(pps),)) + _prefixed(pps)


def _prefixed(units: list[bytes]) -> bytes:
    return b"".join([len(unit).to_bytes(2, "big") + unit for unit in units])


class Demuxer:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._h264: H264Packets | None = None
        self._unsized: VideoCodecContext | None = None
        "The decoder of a stream whose configuration was not sent yet, because its size is unknown."

    def send(self, message: FromDemuxer) -> None:
        self._sock.sendall(encode(message))

    def run(self) -> None:
        """Returns when the camera ends the connection. Raises what PyAV raises."""
        self.send(Ready())
        with self._sock.makefile("rb") as stream:
            (size,) = LENGTH.unpack(stream.read(LENGTH.size))
            if size > LIMIT:
                raise ValueError("message is too long")
            url = decode_open(stream.read(size)).url
        with av.open(url, options=OPTIONS) as container:
            self._demux(container)

    def _demux(self, container: av.container.InputContainer) -> None:
        video = next((one for one in container.streams.video if one.codec_context.name in VIDEO_CODECS), None)
        audio = next((one for one in container.streams.audio if one.codec_context.name in AUDIO_CODECS), None)
        chosen = [one for one in (video, audio) if one is not None]
        ignored = [
            one.codec_context.name[:32]
            for one in (*container.streams.video, *container.streams.audio)
            if one.codec_context.name not in VIDEO_CODECS | AUDIO_CODECS
        ]
        if not chosen:
            names = ", ".join(ignored[:8])
            self.send(Failed(message=f"The camera has no stream that the server supports ({names or 'none at all'})."))
            return
        self.send(Opened(ignored=ignored[:8]))
        if video is not None:
            context = video.codec_context
            codec = VIDEO_CODECS[context.name]
            if codec == "H264":
                self._h264 = H264Packets(bytes(context.extradata or b""))
            else:
                self._unsized = context
        if audio is not None:
            config = AudioConfig(
                codec=AUDIO_CODECS[audio.codec_context.name],  # type: ignore[arg-type]
                config=bytes(audio.codec_context.extradata or b""),
            )
            self.send(config)
        for packet in container.demux(chosen):
            at = packet.pts if packet.pts is not None else packet.dts
            if at is not None and 0 < packet.size <= MAX_PACKET and packet.time_base is not None:
                time = round(at * packet.time_base * 1000) % (1 << 32)
                if packet.stream is video:
                    self._send_picture(time, cast("av.Packet[av.VideoStream]", packet))
                else:
                    self.send(AudioPacket(time=time, data=bytes(packet)))
        self.send(Failed(message=ENDED))

    def _send_picture(self, time: int, packet: "av.Packet[av.VideoStream]") -> None:
        data, keyframe = bytes(packet), packet.is_keyframe
        if self._unsized is not None:
            self._learn_size(self._unsized, packet)
        if self._h264 is not None:
            config, data, keyframe = self._h264.convert(data)
            if config:
                self._configure_video("H264", config, 0, 0)
        self.send(VideoPacket(time=time, keyframe=keyframe, data=data))

    def _learn_size(self, context: VideoCodecContext, packet: "av.Packet[av.VideoStream]") -> None:
        if not context.width:
            with suppress(av.error.InvalidDataError):
                context.decode(packet)
        if context.width:
            self._unsized = None
            config = bytes(context.extradata or b"")
            self._configure_video(VIDEO_CODECS[context.name], config, context.width, context.height)

    def _configure_video(self, codec: str, config: bytes, width: int, height: int) -> None:
        self.send(VideoConfig(codec=codec, config=config, width=width, height=height))  # type: ignore[arg-type]


def main(arguments: list[str]) -> None:
    descriptor, memory, nice = (int(word) for word in arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the server
    logging.getLogger("libav").setLevel(logging.CRITICAL + 1)
    av.logging.set_level(None)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        os.nice(nice)
    demuxer = Demuxer(socket.socket(fileno=descriptor))
    try:
        demuxer.run()
    except Exception as error:
        known = [reason for kind, reason in _REASONS if isinstance(error, kind)]
        with suppress(OSError):
            demuxer.send(
                Failed(message=known[0] if known else ENDED if isinstance(error, OSError) else "The demuxer failed.")
            )
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
