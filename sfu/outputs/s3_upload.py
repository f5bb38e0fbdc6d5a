"""Uploads finished recordings to S3-compatible storage. Needs the extra `aiosfu[s3]`; runs in its own thread or process.

boto3 uploads large files in parts and retries each part. On top of that, a whole file is retried with backoff; it
counts as stored when the storage reports its size. Files that are already stored with the same size are skipped, so an
upload can be repeated after any interruption. Amazon S3 API (2006-03-01), also implemented by MinIO, Ceph, Garage and
R2.
"""

import logging
import mimetypes
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from sfu.errors import ConfigurationError, SfuError

if TYPE_CHECKING:
    from botocore.client import BaseClient

log = logging.getLogger(__name__)

PART: Final = 16 * 1024 * 1024
"""Bytes per part of a large file; S3 accepts at most 10,000 parts."""
_UNFINISHED: Final = (".part", ".mkv")
_TYPES: Final = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".jsonl": "application/x-ndjson",
    ".m4s": "video/iso.segment",
}


class UploadFailed(SfuError):
    """A file could not be uploaded. The local file is unchanged."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Destination bucket. Without keys, boto3 uses its default sources: environment, files, instance role."""

    name: str
    endpoint: str = ""
    "Endpoint URL of the storage; empty: Amazon S3."
    region: str = "us-east-1"
    prefix: str = ""
    "Prefix of all object keys, without a trailing slash."
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.endpoint and urlsplit(self.endpoint).scheme not in ("http", "https"):
            raise ConfigurationError("the S3 endpoint must begin with https:// or http://")
        if bool(self.access_key) != bool(self.secret_key):
            raise ConfigurationError("the S3 access key and secret key must be set together")
        if not self.name:
            raise ConfigurationError("the S3 bucket requires a name")


@dataclass(frozen=True, slots=True)
class Uploaded:
    keys: list[str]
    size: int
    "Total bytes stored, including files that were already there."
    sent: int
    "Bytes sent by this call."


def upload(
    directory: Path,
    bucket: Bucket,
    *,
    attempts: int = 6,
    progress: Callable[[str, int], None] | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Uploaded:
    """Uploads the finished files of a recording as `prefix/directory/file`. Blocks on the network.

    `progress` is called with the file name and the number of bytes sent since its last call. Raises UploadFailed if a
    file fails `attempts` times, and ConfigurationError if the extra is not installed.
    """
    client = _client(bucket)
    keys: list[str] = []
    size = sent = 0
    for path in sorted(directory.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.suffix in _UNFINISHED or path.name.startswith("."):
            continue
        key = "/".join(
            part for part in (bucket.prefix.strip("/"), directory.name, *path.relative_to(directory).parts) if part
        )
        sent += _store(client, bucket, path, key, attempts, progress, pause)
        size += path.stat().st_size
        keys.append(key)
    return Uploaded(keys, size, sent)


def _client(bucket: Bucket) -> "BaseClient":
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise ConfigurationError("uploading to S3 requires boto3: pip install aiosfu[s3]") from error
    return boto3.client(
        "s3",
        endpoint_url=bucket.endpoint or None,
        region_name=bucket.region,
        aws_access_key_id=bucket.access_key or None,
        aws_secret_access_key=bucket.secret_key or None,
        config=Config(
            retries={"mode": "standard", "max_attempts": 5},
            connect_timeout=10,
            read_timeout=60,
            # Self-hosted storage rarely has a host name per bucket.
            s3={"addressing_style": "path" if bucket.endpoint else "auto"},
            # Not every compatible storage supports these checksums: send them only where required.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _store(
    client: "BaseClient",
    bucket: Bucket,
    path: Path,
    key: str,
    attempts: int,
    progress: Callable[[str, int], None] | None,
    pause: Callable[[float], None],
) -> int:
    from boto3.exceptions import Boto3Error
    from boto3.s3.transfer import TransferConfig
    from botocore.exceptions import BotoCoreError, ClientError

    size = path.stat().st_size
    config = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=2)
    problem: Exception | None = None
    for attempt in range(attempts):
        try:
            if attempt == 0 and _stored_size(client, bucket, key) == size:
                return 0
            client.upload_file(
                str(path),
                bucket.name,
                key,
                ExtraArgs={"ContentType": _content_type(path)},
                Config=config,
                Callback=None if progress is None else lambda more: progress(path.name, more),
            )
            if _stored_size(client, bucket, key) == size:
                return size
            problem = UploadFailed("the stored size differs")
        except (BotoCoreError, Boto3Error, ClientError) as error:
            problem = error
        log.warning("upload attempt failed", extra={"file": path.name, "attempt": attempt + 1})
        if attempt + 1 < attempts:
            pause(min(60.0, 2.0**attempt) * random.uniform(0.75, 1.25))
    raise UploadFailed(f"{path.name} could not be uploaded: {type(problem).__name__}") from problem


def _stored_size(client: "BaseClient", bucket: Bucket, key: str) -> int:
    """−1: not stored."""
    from botocore.exceptions import ClientError

    try:
        return int(client.head_object(Bucket=bucket.name, Key=key)["ContentLength"])
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey", "NotFound"):
            return -1
        raise


def _content_type(path: Path) -> str:
    return _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
