"""Byte ranges of one representation (RFC 9110 13.1.5, 14). Pure.

Requests for several ranges, with another unit, or with a method other than GET get the whole representation, which
RFC 9110 14.2 permits or requires.
"""

import re
from email.utils import parsedate_to_datetime

_ONE = re.compile(r"bytes=[ \t]*(\d{0,19})-(\d{0,19})[ \t]*", re.ASCII | re.IGNORECASE)


class Unsatisfiable(ValueError):
    """The range is outside the representation. The response is 416 with `Content-Range: bytes */size`."""


def parse_range(
    method: str, wanted: str | None, condition: str | None, size: int, *, etag: str, modified: float | None = None
) -> tuple[int, int] | None:
    """First and last byte to send with 206; None: the whole representation with 200. Raises Unsatisfiable.

    `wanted` and `condition`: the headers Range and If-Range. `etag`: strong, with quotes. `modified`: Unix time.
    """
    if wanted is None or method != "GET" or not _unchanged(condition, etag, modified):
        return None
    found = _ONE.fullmatch(wanted)
    if found is None:
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        length = min(int(last), size)
        if not length:
            raise Unsatisfiable
        return size - length, size - 1
    begin, end = int(first), int(last) if last else size - 1
    if last and end < begin:
        return None
    if begin >= size:
        raise Unsatisfiable
    return begin, min(end, size - 1)


def content_range(part: tuple[int, int], size: int) -> str:
    return f"bytes {part[0]}-{part[1]}/{size}"


def _unchanged(condition: str | None, etag: str, modified: float | None) -> bool:
    """Evaluates If-Range with strong comparison (RFC 9110 13.1.5)."""
    if condition is None:
        return True
    condition = condition.strip()
    if condition.startswith(('"', "W/")):
        return condition == etag
    if modified is None:
        return False
    try:
        return int(parsedate_to_datetime(condition).timestamp()) == int(modified)
    except (ValueError, OverflowError):
        return False
