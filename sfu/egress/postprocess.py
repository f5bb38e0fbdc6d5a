"""A recording's directory made fit for players: the programme and every track, in a short-lived process; then copied to S3.

`python -m sfu.egress.postprocess DIRECTORY`, with the storage as JSON on its standard input (`settings.S3`). Run again,
it does what is left. One that cannot be read costs itself only.
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
    """What went wrong, one line each: for the log, so without the names of files, which are people's."""
    problems = []
    try:
        while finalize(directory, directory.name) is not None:
            pass
    except (OSError, ValueError, MemoryError) as error:
        problems.append(f"programme: {_why(error)}")
    for index, path in enumerate(sorted(directory.glob("*.mkv")), 1):
        try:
            if finalize_track(path) is None:
                path.unlink()
        except (OSError, ValueError, MemoryError) as error:
            problems.append(f"track {index}: {_why(error)}")
    return problems


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def store(directory: Path, s3: S3) -> list[str]:
    """Copies what is finished to the bucket, if there is one."""
    if not s3.bucket:
        return []
    bucket = Bucket(s3.bucket, s3.endpoint, s3.region, s3.prefix, s3.access_key, s3.secret_key)
    try:
        upload(directory, bucket)
    except SfuError as error:
        return [f"upload: {error}"]
    return []


def tell(problems: list[str]) -> None:
    """To the server; if that has ended meanwhile there is nobody to tell, and nothing may be flushed into its pipe at exit."""
    try:
        print("\n".join(problems), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    found = finish(Path(sys.argv[1]))
    found += store(Path(sys.argv[1]), msgspec.json.decode(sys.stdin.buffer.read() or b"{}", type=S3))
    tell(found)
    sys.exit(1 if found else 0)
