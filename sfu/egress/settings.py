"""Settings of productions: how many, what a worker may take, where recordings lie. Pictures and HLS: `sfu.outputs.settings`."""

from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class S3:
    bucket: str = ""
    "S3 bucket that finished recordings are copied to (extra `s3`); empty: they stay in the directory only."
    endpoint: str = ""
    "URL of the storage; empty: Amazon's."
    region: str = "us-east-1"
    "Region of the bucket."
    prefix: str = ""
    "Of all keys, without a slash at its end."
    access_key: str = ""
    "Access key; empty: wherever boto3 finds one."
    secret_key: str = field(default="", repr=False, metadata={"secret": True})
    "Secret of the access key."


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    s3: S3 = field(default_factory=S3)
    "Where recordings are copied to."
    max_jobs: Annotated[int, Meta(ge=0)] = 4
    "Rooms that are composed at once, each in a process of its own; 0 turns the feature off."
    audio_bit_rate: Annotated[int, Meta(ge=16_000, le=512_000)] = 128_000
    "Bits per second of the programme's sound (AAC)."
    decoder_threads: Annotated[int, Meta(ge=1, le=4)] = 2
    "Threads that decode what participants send."
    directory: str = "recordings"
    "Where programmes are recorded, one directory each."
    scenes: str = "scenes"
    "Where backgrounds and logos lie that JSON scenes name."
    max_destinations: Annotated[int, Meta(ge=0, le=64)] = 8
    "RTMP destinations of one programme."
    rtmp_allow_private: bool = False
    "Whether RTMP may be pushed to private and loopback addresses; if not, nobody reaches the inner network with it."
    plugins: dict[str, dict[str, str]] = field(default_factory=dict)
    "`sfu.mixer` plug-ins that every programme loads, by name, each with its options."
    worker_memory: Annotated[int, Meta(ge=268_435_456)] = 4_294_967_296
    "Bytes of address space that a worker may take."
    worker_nice: Annotated[int, Meta(ge=0, le=19)] = 5
    "How far a worker stands back behind the server for processor time."
    heartbeat_timeout: Seconds = 1.5
    "Seconds without a sign of life after which a worker is replaced."
