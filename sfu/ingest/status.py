"""The state of one ingest, for the API, events and metrics."""

from dataclasses import dataclass
from typing import Final, Literal

from sfu.ingest.stream_keys import StreamKey

IngestState = Literal["waiting", "live", "error"]
INGEST_STATES: Final = ("waiting", "live", "error")


@dataclass(frozen=True, slots=True)
class IngestStatus:
    """One stream key with the state of its stream."""

    key: StreamKey
    state: IngestState
    problem: str
    "Why the last stream failed, or what its encoder should change; empty: nothing."
    codec: str
    "Video codec of the live stream; empty: none."
    width: int
    height: int
    received_bytes: int
    url: str = ""
    "Address of the camera without credentials and path; empty: the key is for RTMP."
    room_id: str = ""
    "Of the room that the stream is in; empty: no stream."
