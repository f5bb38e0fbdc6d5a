"""Finishes the files of a recording, both the mix and the tracks, in a short-lived process, then copies them to S3.

`python -m sfu.egress.postprocess DIRECTORY` reads the storage settings (`settings.S3`) as JSON from standard input. It
can be repeated and continues where it stopped. An unreadable file does not affect the others.
"""

import os
import sys
from pathlib import Path

import msgspec

from sfu.egress.settings import S3
from sfu.errors import SfuError
from sfu.outputs.finalize import finalize
from sfu.outputs.s3_upload import Bucket, upload
from sfu.outputs.track_writer import finalize_track


def finish(directory: Path) -> list[str]:
    """Returns one line per problem, for the log. The lines contain no file names, because those contain names of people."""
    problems = []
    try:
        while finalize(directory, directory.name) is not None:
            pass
    except (OSError, ValueError, MemoryError) as error:
        problems.append(f"mix: {_reason(error)}")
    for index, path in enumerate(sorted(directory.glob("*.mkv")), 1):
        try:
            if finalize_track(path) is None:
                path.unlink()
        except (OSError, ValueError, MemoryError) as error:
            problems.append(f"track {index}: {_reason(error)}")
    return problems


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def store(directory: Path, s3: S3) -> list[str]:
    """Copies finished files to the bucket, if one is configured. Returns problems."""
    if not s3.bucket:
        return []
    bucket = Bucket(s3.bucket, s3.endpoint, s3.region, s3.prefix, s3.access_key, s3.secret_key)
    try:
        upload(directory, bucket)
    except SfuError as error:
        return [f"upload: {error}"]
    return []


def print_problems(problems: list[str]) -> None:
    """Prints the problems for the server. If the server is gone, redirects stdout, so that the flush at exit does not
    fail.
    """
    try:
        print("\n".join(problems), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    found = finish(Path(sys.argv[1]))
    found += store(Path(sys.argv[1]), msgspec.json.decode(sys.stdin.buffer.read() or b"{}", type=S3))
    print_problems(found)
    sys.exit(1 if found else 0)
