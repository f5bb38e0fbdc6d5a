"""Settings of egress jobs: number, resources of a worker, directory of recordings. See `sfu.outputs.settings` for HLS."""

from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class S3:
    bucket: str = ""
    "S3 bucket that finished recordings are copied to (requires the extra `s3`); empty: recordings stay local."
    endpoint: str = ""
    "Endpoint URL of the storage; empty: Amazon S3."
    region: str = "us-east-1"
    "Region of the bucket."
    prefix: str = ""
    "Prefix of all object keys, without a trailing slash."
    access_key: str = ""
    "Access key; empty: the default credential chain of boto3."
    secret_key: str = field(default="", repr=False, metadata={"secret": True})
    "Secret access key."


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    s3: S3 = field(default_factory=S3)
    "Copies of recordings in object storage."
    max_jobs: Annotated[int, Meta(ge=0)] = 4
    "Maximum concurrent egress jobs, each in its own process; 0 disables egress."
    audio_bit_rate: Annotated[int, Meta(ge=16_000, le=512_000)] = 128_000
    "Audio bit rate of the mix (AAC), in bits per second."
    decoder_threads: Annotated[int, Meta(ge=1, le=4)] = 2
    "Decoder threads per worker."
    directory: str = "recordings"
    "Directory of recordings; each recording gets a subdirectory."
    scenes: str = "scenes"
    "Directory of the background and logo images that JSON scenes refer to."
    max_destinations: Annotated[int, Meta(ge=0, le=64)] = 8
    "Maximum RTMP destinations of one egress job."
    rtmp_allow_private: bool = False
    "Allow RTMP push to private and loopback addresses. The default protects the internal network from requests by users."
    plugins: dict[str, dict[str, str]] = field(default_factory=dict)
    "`sfu.mixer` plug-ins that every egress job loads, by name, each with its options."
    worker_memory: Annotated[int, Meta(ge=268_435_456)] = 4_294_967_296
    "Address space limit of a worker, in bytes."
    worker_nice: Annotated[int, Meta(ge=0, le=19)] = 5
    "Nice value of a worker; a higher value gives way to the server."
    heartbeat_timeout: Seconds = 1.5
    "Seconds without a heartbeat after which a worker is replaced."
