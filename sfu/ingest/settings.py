"""Settings of ingest: RTMP ports, stream keys, cameras, limits."""

import re
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from sfu.errors import ConfigurationError

Port = Annotated[int, Meta(ge=0, le=65_535)]
_LAYER = re.compile(r"([1-9]\d{1,3})x([1-9]\d{1,3})@([1-9]\d{1,5})")


@dataclass(frozen=True, slots=True)
class Layer:
    """A simulcast layer that the server encodes. `bit_rate` in bits per second."""

    width: int
    height: int
    bit_rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    rtmp_port: Port | None = None
    "TCP port of RTMP, usually 1935; 0: any free port; null: no RTMP."
    rtmps_port: Port | None = None
    "TCP port of RTMP over TLS, usually 1936, with `http.tls_certificate`; 0: any free port; null: no RTMPS."
    keys_file: str = "ingest-keys.json"
    "File that stores stream keys as hashes. The server creates it with the first key."
    pulls_file: str = "ingest-pulls.json"
    """File that stores the cameras with their credentials, so that a restart resumes them. Only the server's user can read it.
    The server creates it with the first camera. Empty: cameras are forgotten at the end of the server."""
    rtsp_ca: str = ""
    "Path of the CA certificates (PEM) of cameras with `rtsps://`; empty: those of the system."
    max_keys: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    "Maximum stream keys."
    max_streams: Annotated[int, Meta(ge=0)] = 32
    "Maximum streams at the same time, and maximum cameras; 0 disables ingest."
    max_bit_rate: Annotated[int, Meta(ge=100_000)] = 25_000_000
    "Maximum bit rate of one stream in bits per second; a stream above it is ended."
    renditions: tuple[str, ...] = ()
    """Lower simulcast layers that the server encodes for each stream, as WIDTHxHEIGHT@KBPS, lowest first, at most two. Each
    costs CPU time; without them, every viewer gets the encoder's bit rate."""
    private: bool = False
    "Whether cameras may have private, loopback and link-local addresses."
    publish_timeout: Annotated[float, Meta(gt=0)] = 10.0
    "Seconds from connecting to publishing with a valid stream key."
    reconnect_timeout: Annotated[float, Meta(ge=0)] = 10.0
    "Seconds that a stream stays in its room after its encoder disconnected."
    idle_timeout: Annotated[float, Meta(gt=0)] = 20.0
    "Seconds without data after which a connection is closed."
    connections_per_address: Annotated[int, Meta(ge=1)] = 8
    "Maximum connections without a valid stream key per client address (IPv6: per /64)."
    worker_memory: Annotated[int, Meta(ge=268_435_456)] = 2_147_483_648
    "Address space limit of a transcoder process, in bytes."
    worker_nice: Annotated[int, Meta(ge=0, le=19)] = 5
    "Nice value of a transcoder process; a higher value gives way to the server."

    def __post_init__(self) -> None:
        if len(self.layers) > 2:
            raise ConfigurationError("ingest.renditions: at most two layers are possible.")

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The lower layers. Raises ConfigurationError."""
        return tuple([_layer(text) for text in self.renditions])


def _layer(text: str) -> Layer:
    found = _LAYER.fullmatch(text.strip())
    width, height, rate = (int(word) for word in found.groups()) if found else (0, 0, 0)
    if not rate or width % 2 or height % 2:
        raise ConfigurationError(
            f"ingest.renditions: {text!r} is not a layer; use even width and height and kbit/s, as in 640x360@600."
        )
    return Layer(width, height, rate * 1000)
