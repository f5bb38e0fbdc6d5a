"""File responses with validators, conditional requests, byte ranges (RFC 9110 8.8, 13, 14) and download names (RFC 6266).

Replaces aiohttp's FileResponse, which returns 206 although `If-Range` names another entity tag, rejects requests for
several ranges, and logs an error when a client resets its connection during a transfer with TLS.
"""

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import quote

from aiohttp import ETag, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import ETAG_ANY

from sfu.api import ranges
from sfu.api.middleware import RETRY_AFTER
from sfu.resources.disk_executor import DiskBusyError

T = TypeVar("T")

CHUNK_BYTES = 131_072
"""Size of one read and write; the transport buffers up to twice as much."""


class RunInThread(Protocol):
    """Runs a function in another thread: `asyncio.to_thread` or a DiskExecutor."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


class File(web.StreamResponse):
    """Response with a regular file or a range of it."""

    def __init__(
        self,
        path: Path,
        headers: dict[str, str],
        run: RunInThread = asyncio.to_thread,
        run_on: RunInThread = asyncio.to_thread,
    ) -> None:
        """`run`: opens the file, may raise DiskBusyError. `run_on`: reads it, never refuses."""
        super().__init__(headers=headers)
        self._path = path
        self._run, self._run_on = run, run_on

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        try:
            file, facts = await self._run(partial(_opened, self._path))
        except OSError as error:
            self.set_status(404)
            if isinstance(error, DiskBusyError):
                self.set_status(503)
                self.headers[hdrs.RETRY_AFTER] = str(RETRY_AFTER)
            self.headers[hdrs.CACHE_CONTROL] = "no-store"
            self.headers.popall(hdrs.CONTENT_DISPOSITION, None)
            self.content_length = 0
            return await super().prepare(request)
        try:
            part = self._respond(request, facts)
            writer = await super().prepare(request)
            if part is not None:
                position, end = part
                await self._run_on(partial(file.seek, position))
                while position < end:
                    chunk = await self._run_on(partial(file.read, min(CHUNK_BYTES, end - position)))
                    if not chunk:
                        raise ConnectionResetError("the file was truncated during the transfer")
                    position += len(chunk)
                    await self.write(chunk)
            return writer
        finally:
            file.close()

    def _respond(self, request: web.BaseRequest, facts: os.stat_result) -> tuple[int, int] | None:
        """Sets status and headers. Returns the first byte to send and the end (exclusive), or None for no body."""
        size, modified = facts.st_size, facts.st_mtime
        tag = f"{facts.st_mtime_ns:x}-{size:x}"
        self.etag = tag
        self.last_modified = int(modified)
        self.headers[hdrs.ACCEPT_RANGES] = "bytes"
        if status := _condition(request, tag, modified):
            self.set_status(status)
            self.content_length = 0 if status == 412 else None
            return None
        headers = request.headers
        try:
            part = ranges.parse_range(
                request.method,
                headers.get(hdrs.RANGE),
                headers.get(hdrs.IF_RANGE),
                size,
                etag=f'"{tag}"',
                modified=modified,
            )
        except ranges.Unsatisfiable:
            self.set_status(416)
            self.headers[hdrs.CONTENT_RANGE] = f"bytes */{size}"
            self.content_length = 0
            return None
        first, last = part or (0, size - 1)
        if part is not None:
            self.set_status(206)
            self.headers[hdrs.CONTENT_RANGE] = ranges.content_range(part, size)
        self.content_length = last + 1 - first
        return None if request.method == "HEAD" else (first, last + 1)


def attachment(name: str) -> str:
    """`Content-Disposition` of a download (RFC 6266, RFC 8187)."""
    plain = "".join(char if " " <= char <= "~" and char not in '"\\%' else "_" for char in name)
    if plain == name:
        return f'attachment; filename="{plain}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _opened(path: Path) -> tuple[BufferedReader, os.stat_result]:
    """Opens a file. Raises OSError, also for anything that is not a regular file."""
    file = path.open("rb")
    facts = os.fstat(file.fileno())
    if not stat.S_ISREG(facts.st_mode):
        file.close()
        raise FileNotFoundError(path)
    return file, facts


def _condition(request: web.BaseRequest, tag: str, modified: float) -> int:
    """Evaluates preconditions (RFC 9110 13.2.2). Returns 304, 412, or 0 to proceed."""
    assert isinstance(request, web.Request)
    if (match := request.if_match) is not None:
        if not _matches(match, tag, weak=False):
            return 412
    elif (since := request.if_unmodified_since) is not None and int(modified) > since.timestamp():
        return 412
    if (none_match := request.if_none_match) is not None:
        return 304 if _matches(none_match, tag, weak=True) else 0
    since = request.if_modified_since
    return 304 if since is not None and int(modified) <= since.timestamp() else 0


def _matches(tags: tuple[ETag, ...], tag: str, *, weak: bool) -> bool:
    return any(one.value == ETAG_ANY or (one.value == tag and (weak or not one.is_weak)) for one in tags)
