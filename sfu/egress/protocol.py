"""Messages between the server and an egress worker over a Unix stream socket: msgpack with a 32-bit length prefix.

Media uses another socket (`sfu.transport.plain_transport`). Each message of the server carries complete state (all
members, all outputs, the layout), never a difference, so that the server can repeat it to a restarted worker. The
worker decodes untrusted media and is not trusted itself: these types bound and validate its messages.
"""

import struct
from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from sfu.errors import MalformedPacket
from sfu.rooms.egress_status import LayoutName

LIMIT: Final = 16_777_216
"""Maximum bytes of a message. A part of 0.2 s has a few hundred thousand."""
_LENGTH: Final = struct.Struct("!I")

Name = Annotated[str, Meta(max_length=256)]
TrackKind = Literal["audio", "video"]


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Base class of messages."""


class MessagePart(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base class of structures within messages."""


class Rendition(MessagePart, frozen=True, kw_only=True):
    """One size of the mix. `bit_rate` in bits per second."""

    name: Name
    width: int
    height: int
    bit_rate: int


class Destination(MessagePart, frozen=True, kw_only=True):
    """RTMP destination of the mix."""

    id: str
    url: str


class Track(MessagePart, frozen=True, kw_only=True):
    """A publication that the worker may receive."""

    id: str
    ssrc: int
    "SSRC of its packets; 0: not subscribed."
    kind: TrackKind
    codec: str
    source: str
    muted: bool = False


class Member(MessagePart, frozen=True, kw_only=True):
    """A participant and its publications."""

    id: str
    identity: str
    "Identity from the token; it stays the same when the participant rejoins."
    name: str
    tracks: list[Track] = []


# -- server to worker ---------------------------------------------------------------------------------------------------


class Start(Message, frozen=True, kw_only=True, tag="start"):
    """First message. The canvas has the size of the first rendition."""

    room: str
    renditions: list[Rendition]
    "Largest first."
    fps: int = 30
    audio_bit_rate: int = 128_000
    decoders: int = 2
    "Number of decoder threads."
    scenes: str = ""
    "Directory of the images that scenes name; empty: none."
    rtmp_allow_private: bool = False
    "Whether RTMP may connect to loopback and private addresses."
    plugins: dict[str, dict[str, str]] = {}
    "Names of `sfu.mixer` plug-ins, with their options."


class RecordTracks(Message, frozen=True, kw_only=True, tag="record_tracks"):
    """First message to a track recorder (`sfu.egress.track_recorder`): the directory of the recording."""

    directory: str


class Members(Message, frozen=True, kw_only=True, tag="members"):
    """All participants that the mix may include, in order of joining."""

    members: list[Member]


class Speakers(Message, frozen=True, kw_only=True, tag="speakers"):
    """Audio levels (0 … 1) by participant id, and the dominant speaker (empty: none yet)."""

    dominant: str = ""
    levels: dict[str, float] = {}


class Layout(Message, frozen=True, kw_only=True, tag="layout"):
    """Layout of the mix. A `scene` (`sfu.mixer.scene`) overrides `layout`."""

    layout: LayoutName = "auto"
    focus: str = ""
    "Participant or track id of the large tile; empty: the dominant speaker."
    scene: str = ""
    "JSON; empty: none."


class Outputs(Message, frozen=True, kw_only=True, tag="outputs"):
    """All outputs of the mix."""

    live: bool = False
    "Send parts of every rendition."
    recording: bool = False
    "Send parts of the first rendition, under the rendition name `recording`."
    destinations: list[Destination] = []
    video_ssrc: int = 0
    "Send the mix back as RTP with this SSRC; 0: do not."
    audio_ssrc: int = 0


class Stop(Message, frozen=True, kw_only=True, tag="stop"):
    """Flush the outputs and exit."""


ToWorker = Start | RecordTracks | Members | Speakers | Layout | Outputs | Stop


# -- worker to server ---------------------------------------------------------------------------------------------------


class Started(Message, frozen=True, kw_only=True, tag="started"):
    """Mix time has started."""

    at: float
    "Unix time, in seconds, of mix time 0."


class Init(Message, frozen=True, kw_only=True, tag="init"):
    """Initialization segment of a rendition; precedes its first part."""

    rendition: Name
    data: bytes


class Part(Message, frozen=True, kw_only=True, tag="part"):
    """One fragment; see `sfu.outputs.segmenter.Part`."""

    rendition: Name
    msn: Annotated[int, Meta(ge=0)]
    index: Annotated[int, Meta(ge=0, le=1000)]
    independent: bool
    duration: Annotated[float, Meta(ge=0, le=60)]
    pts: Annotated[int, Meta(ge=0)]
    data: bytes


class TileSize(MessagePart, frozen=True, kw_only=True):
    """Size, in pixels, of the tile that shows a track."""

    width: Annotated[int, Meta(ge=0, le=16_384)]
    height: Annotated[int, Meta(ge=0, le=16_384)]


class VisibleTracks(Message, frozen=True, kw_only=True, tag="visible_tracks"):
    """Tile sizes of the visible tracks, by track id. Other video tracks are not needed now."""

    tracks: Annotated[dict[str, TileSize], Meta(max_length=256)]


class Event(Message, frozen=True, kw_only=True, tag="event"):
    """Entry of the event log; a chapter mark if `chapter` is set."""

    at: float
    "Mix time, in seconds."
    kind: Name
    text: Annotated[str, Meta(max_length=4096)] = ""
    chapter: bool = False
    fields: dict[str, str] = {}


class Caption(Message, frozen=True, kw_only=True, tag="caption"):
    """Caption cue from a plug-in, for the live stream."""

    language: Annotated[str, Meta(max_length=35, pattern="^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}$")]
    text: Annotated[str, Meta(max_length=500)]
    start: Annotated[float, Meta(ge=0)]
    "Mix time, in seconds."
    end: Annotated[float, Meta(ge=0)]


class Alive(Message, frozen=True, kw_only=True, tag="alive"):
    """Heartbeat, from a dedicated thread."""


class DestinationState(MessagePart, frozen=True, kw_only=True):
    """State of an RTMP push. `detail` never contains the stream key."""

    id: str
    state: Literal["connecting", "live", "waiting", "failed"]
    sent_bytes: int = 0
    dropped: int = 0
    detail: Annotated[str, Meta(max_length=1024)] = ""


class Status(Message, frozen=True, kw_only=True, tag="status"):
    """Counters since the worker started, and its current state."""

    ticks: int
    dropped_ticks: int = 0
    tiles: int = 0
    decoded: int = 0
    "Decoded pictures; of a track recorder: recorded frames."
    layout: Name = ""
    "Current layout; of a track recorder: its problem."
    cpu: float = 0.0
    "Processor time, in seconds."
    memory: int = 0
    "Resident memory, in bytes."
    overloaded: dict[str, int] = {}
    "Items dropped per queue."
    destinations: list[DestinationState] = []


class Failed(Message, frozen=True, kw_only=True, tag="failed"):
    """The worker cannot continue; `message` is one sentence with the reason."""

    message: Annotated[str, Meta(max_length=1024)]


ToServer = Started | Init | Part | VisibleTracks | Event | Caption | Status | Alive | Failed

_encoder = msgspec.msgpack.Encoder()
decode_to_worker: Final = msgspec.msgpack.Decoder(ToWorker).decode
decode_to_server: Final = msgspec.msgpack.Decoder(ToServer).decode


def encode(message: ToWorker | ToServer) -> bytes:
    """Encodes a message with its length prefix."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Splits the byte stream into messages."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: bytes) -> Iterator[bytes]:
        """Yields the complete messages. Raises MalformedPacket for a message above `LIMIT`."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            size = _LENGTH.unpack_from(self._buffer)[0]
            if size > LIMIT:
                raise MalformedPacket("egress worker message is too long")
            end = _LENGTH.size + size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield body
