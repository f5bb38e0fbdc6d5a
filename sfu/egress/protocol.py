"""What the server and a production's worker say to each other, over a Unix stream socket: msgpack behind a 32-bit length.

Media takes another path (`sfu.transport.plain_transport`). Every message of the server states a whole (all members, all
outputs, the layout), never a difference, so that the server can repeat it to a restarted worker. The worker decodes what
strangers send and is not trusted: these types bound and check what it sends.
"""

import struct
from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from sfu.errors import MalformedPacket
from sfu.rooms.egress_status import LayoutName

LIMIT: Final = 16_777_216
"""Bytes of one message: a part of 0.2 s has a few hundred thousand."""
_LENGTH: Final = struct.Struct("!I")

Name = Annotated[str, Meta(max_length=256)]
TrackKind = Literal["audio", "video"]


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Base of all."""


class MessagePart(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what messages are made of."""


class Rendition(MessagePart, frozen=True, kw_only=True):
    """One picture size of the programme. `bit_rate` in bits per second."""

    name: Name
    width: int
    height: int
    bit_rate: int


class Destination(MessagePart, frozen=True, kw_only=True):
    """Where the programme is pushed to."""

    id: str
    url: str


class Track(MessagePart, frozen=True, kw_only=True):
    """One publication that the worker may be sent."""

    id: str
    ssrc: int
    "Under which its packets come; 0: it is not subscribed to."
    kind: TrackKind
    codec: str
    source: str
    muted: bool = False


class Member(MessagePart, frozen=True, kw_only=True):
    """One participant with its publications."""

    id: str
    identity: str
    "As its token says: the same after it joined again."
    name: str
    tracks: list[Track] = []


# -- server to worker ---------------------------------------------------------------------------------------------------


class Start(Message, frozen=True, kw_only=True, tag="start"):
    """The first message. The canvas has the size of the first rendition."""

    room: str
    renditions: list[Rendition]
    "The largest first."
    fps: int = 30
    audio_bit_rate: int = 128_000
    decoders: int = 2
    "Threads that decode."
    scenes: str = ""
    "Directory of the pictures that scenes name; empty: none."
    rtmp_allow_private: bool = False
    "Whether RTMP may go to addresses of this machine and its private networks."
    plugins: dict[str, dict[str, str]] = {}
    "`sfu.mixer` plug-ins by name, with their options."


class RecordTracks(Message, frozen=True, kw_only=True, tag="record_tracks"):
    """The first message to a keeper (`sfu.egress.track_recorder`): where everybody's tracks are recorded."""

    directory: str


class Members(Message, frozen=True, kw_only=True, tag="members"):
    """Everybody whom the programme may show or let be heard, in the order of their coming."""

    members: list[Member]


class Speakers(Message, frozen=True, kw_only=True, tag="speakers"):
    """Who speaks now: participant id → 0 … 1, and the dominant one (empty: nobody yet)."""

    dominant: str = ""
    levels: dict[str, float] = {}


class Layout(Message, frozen=True, kw_only=True, tag="layout"):
    """How the members are arranged. With `scene`, exactly so (`sfu.mixer.scene`), whatever the layout says."""

    layout: LayoutName = "auto"
    focus: str = ""
    "Participant (or track) id that the large tile shows; empty: whoever speaks."
    scene: str = ""
    "JSON."


class Outputs(Message, frozen=True, kw_only=True, tag="outputs"):
    """Everything that the programme goes to now."""

    live: bool = False
    "Parts of every rendition."
    recording: bool = False
    "Parts of the first rendition, as the rendition `recording`."
    destinations: list[Destination] = []
    video_ssrc: int = 0
    "The programme as a track, RTP under this SSRC; 0: no."
    audio_ssrc: int = 0


class Stop(Message, frozen=True, kw_only=True, tag="stop"):
    """What is encoded goes out, then the worker ends."""


ToWorker = Start | RecordTracks | Members | Speakers | Layout | Outputs | Stop


# -- worker to server ---------------------------------------------------------------------------------------------------


class Started(Message, frozen=True, kw_only=True, tag="started"):
    """Programme time began to run."""

    at: float
    "Seconds since 1970 of programme time 0."


class Init(Message, frozen=True, kw_only=True, tag="init"):
    """The initialization segment of a rendition, before its first part."""

    rendition: Name
    data: bytes


class Part(Message, frozen=True, kw_only=True, tag="part"):
    """One fragment, as `sfu.outputs.segmenter.Part`."""

    rendition: Name
    msn: Annotated[int, Meta(ge=0)]
    index: Annotated[int, Meta(ge=0, le=1000)]
    independent: bool
    duration: Annotated[float, Meta(ge=0, le=60)]
    pts: Annotated[int, Meta(ge=0)]
    data: bytes


class TileSize(MessagePart, frozen=True, kw_only=True):
    """Pixels of the tile that shows a track."""

    width: Annotated[int, Meta(ge=0, le=16_384)]
    height: Annotated[int, Meta(ge=0, le=16_384)]


class VisibleTracks(Message, frozen=True, kw_only=True, tag="visible_tracks"):
    """The tracks whose pictures are shown, by id; the others' pictures are not needed now."""

    tracks: Annotated[dict[str, TileSize], Meta(max_length=256)]


class Event(Message, frozen=True, kw_only=True, tag="event"):
    """For the programme's event log and its chapters."""

    at: float
    "Programme time, seconds."
    kind: Name
    text: Annotated[str, Meta(max_length=4096)] = ""
    chapter: bool = False
    fields: dict[str, str] = {}


class Caption(Message, frozen=True, kw_only=True, tag="caption"):
    """What a plug-in says for the viewers' caption track."""

    language: Annotated[str, Meta(max_length=35, pattern="^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}$")]
    text: Annotated[str, Meta(max_length=500)]
    start: Annotated[float, Meta(ge=0)]
    "Programme time, seconds."
    end: Annotated[float, Meta(ge=0)]


class Alive(Message, frozen=True, kw_only=True, tag="alive"):
    """The heartbeat, from a thread that does nothing else."""


class DestinationState(MessagePart, frozen=True, kw_only=True):
    """How a push does. `detail` never holds the stream key."""

    id: str
    state: Literal["connecting", "live", "waiting", "failed"]
    sent_bytes: int = 0
    dropped: int = 0
    detail: Annotated[str, Meta(max_length=1024)] = ""


class Status(Message, frozen=True, kw_only=True, tag="status"):
    """What was done since the start."""

    ticks: int
    dropped_ticks: int = 0
    tiles: int = 0
    decoded: int = 0
    "Pictures."
    layout: Name = ""
    "Chosen now."
    cpu: float = 0.0
    "Seconds of processor time."
    memory: int = 0
    "Resident bytes."
    overloaded: dict[str, int] = {}
    "What queues dropped, by name."
    destinations: list[DestinationState] = []


class Failed(Message, frozen=True, kw_only=True, tag="failed"):
    """The worker cannot go on, and why, in one sentence."""

    message: Annotated[str, Meta(max_length=1024)]


ToServer = Started | Init | Part | VisibleTracks | Event | Caption | Status | Alive | Failed

_encoder = msgspec.msgpack.Encoder()
decode_to_worker: Final = msgspec.msgpack.Decoder(ToWorker).decode
decode_to_server: Final = msgspec.msgpack.Decoder(ToServer).decode


def encode(message: ToWorker | ToServer) -> bytes:
    """One message with its length in front."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Cuts the stream into messages."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: bytes) -> Iterator[bytes]:
        """The messages that are complete now. Raises MalformedPacket for one that is too long."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            size = _LENGTH.unpack_from(self._buffer)[0]
            if size > LIMIT:
                raise MalformedPacket("a message of a production's worker is too long")
            end = _LENGTH.size + size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield body
