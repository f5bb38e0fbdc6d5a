"""Delivery directives in a playlist request: blocking reload and delta updates (RFC 8216bis 6.2.5). Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from sfu.errors import BadRequest
from sfu.outputs.hls.playlist import TARGET_DURATION

LONGEST_HOLD = 3.0 * TARGET_DURATION
"""Seconds after which a blocked playlist request is answered with 503 (6.2.5.2)."""
MAX_SEGMENTS_AHEAD = 2
"""Maximum segments ahead of the newest one that a request may wait for."""
_MAX_DIGITS = 10


@dataclass(frozen=True, slots=True)
class DeliveryDirectives:
    """The delivery directives of one request."""

    msn: int | None = None
    part: int | None = None
    skip: bool = False

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> "DeliveryDirectives":
        """Raises BadRequest."""
        msn, part = _number(query, "_HLS_msn"), _number(query, "_HLS_part")
        if part is not None and msn is None:
            raise BadRequest("_HLS_part requires _HLS_msn.")
        return cls(msn, part, query.get("_HLS_skip") in ("YES", "v2"))

    def check(self, last_msn: int) -> None:
        """Raises BadRequest if the requested segment is too far ahead to wait for."""
        if self.msn is not None and self.msn > last_msn + MAX_SEGMENTS_AHEAD:
            raise BadRequest("_HLS_msn is too far ahead of the live edge.")


def _number(query: Mapping[str, str], name: str) -> int | None:
    word = query.get(name)
    if word is None:
        return None
    if not (word.isascii() and word.isdigit() and len(word) <= _MAX_DIGITS):
        raise BadRequest(f"{name} is not a number.")
    return int(word)
