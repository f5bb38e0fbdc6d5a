"""Finished recordings to S3-compatible storage: an extra (`pip install aiosfu[s3]`), called in a thread or process of its own.

boto3 does the transfer: large files in parts, each tried again; a whole file is tried again on top of that, with back-off,
and counts as stored when the storage names its size. What is there already with that size is not sent again, so that an
upload may be repeated after any end. Amazon S3 API (2006-03-01), as MinIO, Ceph, Garage and R2 speak it.
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
"""Bytes of a part of a large file; 10,000 of them are the most that S3 takes."""
_UNFINISHED: Final = (".part", ".mkv")
_TYPES: Final = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".jsonl": "application/x-ndjson",
    ".m4s": "video/iso.segment",
}


class UploadFailed(SfuError):
    """A file could not be stored; the local one is untouched."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where recordings go. Without keys boto3 looks where it always does: environment, files, instance role."""

    name: str
    endpoint: str = ""
    "URL of the storage; empty: Amazon's."
    region: str = "us-east-1"
    prefix: str = ""
    "Of all keys, without a slash at its end."
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.endpoint and urlsplit(self.endpoint).scheme not in ("http", "https"):
            raise ConfigurationError("the S3 endpoint begins with https:// or http://")
        if bool(self.access_key) != bool(self.secret_key):
            raise ConfigurationError("an S3 access key and its secret key come together")
        if not self.name:
            raise ConfigurationError("the S3 bucket has no name")


@dataclass(frozen=True, slots=True)
class Uploaded:
    keys: list[str]
    size: int
    "Bytes that are stored, what was there already included."
    sent: int
    "Bytes that were sent by this call."


def upload(
    directory: Path,
    bucket: Bucket,
    *,
    attempts: int = 6,
    progress: Callable[[str, int], None] | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Uploaded:
    """Stores the finished files of a recording's directory as `prefix/directory/file`. Waits for the network.

    `progress` is told (file, bytes more). Raises UploadFailed when a file was tried `attempts` times, ConfigurationError
    when the extra is not installed.
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
        raise ConfigurationError("uploading to S3 needs boto3: pip install aiosfu[s3]") from error
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
            # Storages of one's own seldom have a name per bucket.
            s3={"addressing_style": "path" if bucket.endpoint else "auto"},
            # Checksums that not every compatible storage knows are sent only where they are required.
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
            problem = UploadFailed("the storage has another size")
        except (BotoCoreError, Boto3Error, ClientError) as error:
            problem = error
        log.warning("upload failed, to be tried again", extra={"file": path.name, "attempt": attempt + 1})
        if attempt + 1 < attempts:
            pause(min(60.0, 2.0**attempt) * random.uniform(0.75, 1.25))
    raise UploadFailed(f"{path.name} could not be stored: {type(problem).__name__}") from problem


def _stored_size(client: "BaseClient", bucket: Bucket, key: str) -> int:
    """−1: not there."""
    from botocore.exceptions import ClientError

    try:
        return int(client.head_object(Bucket=bucket.name, Key=key)["ContentLength"])
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey", "NotFound"):
            return -1
        raise


def _content_type(path: Path) -> str:
    return _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
