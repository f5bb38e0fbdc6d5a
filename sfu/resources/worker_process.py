"""Environment of worker processes, which decode untrusted media and must not see secrets of the server."""

import os
from typing import Final

from sfu.resources.media_clock import OFFSET, OFFSET_VARIABLE

INHERITED: Final = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ", "HOME", "LD_LIBRARY_PATH", "XDG_DATA_DIRS")
"""Environment variables that a worker inherits; others may hold secrets of the server."""


def worker_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | {OFFSET_VARIABLE: repr(OFFSET)}
