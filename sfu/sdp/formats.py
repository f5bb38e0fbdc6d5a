"""Parses the codec and header extension lines of an m-line, which make up most of a browser's SDP.

These lines are the same for all browsers of one kind, so the results are cached by their exact text. RFC 8866 6.6 and
6.15 (rtpmap, fmtp), RFC 4585 4.2 (rtcp-fb), RFC 4588 8 (rtx), RFC 8285 5 (extmap).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from sfu.errors import BadRequest

SECTION_LIMIT = 64
"""Maximum number of SSRCs and of extensions per m-line. Real offers need less than half."""
DISTINCT_LIMIT = 1_024
"""Maximum number of format lines to parse per description; identical sets count once. Chromium's offers need 110 for
microphones and cameras, and 300 with hardware codecs.
"""
_FEEDBACKS = 16
_REMEMBERED = 64
"""Maximum number of cached sets of lines."""
_REMEMBERED_LENGTH = 16_384
"""Maximum length of a cached set in characters. With the parsed results, the cache takes at most 3 MB."""

TOKEN = re.compile(r"[!#-'*+\-.0-9A-Z^-~]{1,32}").fullmatch


@dataclass(frozen=True, slots=True)
class Codec:
    """One payload type of an m-line."""

    name: str
    payload_type: int
    clock_rate: int
    channels: int
    parameters: str
    "Unparsed fmtp value."
    feedback: tuple[str, ...]
    "rtcp-fb values, such as `nack pli`."


@dataclass(slots=True)
class _Formats:
    """Codecs and header extensions of the session or of an m-line during parsing."""

    maps: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    parameters: dict[int, str] = field(default_factory=dict)
    feedback: dict[str, list[str]] = field(default_factory=dict)
    extensions: dict[str, int] = field(default_factory=dict)


def decimal(text: str, limit: int, what: str) -> int:
    """Parses a decimal number up to `limit`. int() would also accept signs, spaces and underscores."""
    if len(text) > 20 or not (text.isascii() and text.isdigit()) or (number := int(text)) > limit:
        raise BadRequest(f"{what} is not a number between 0 and {limit}.")
    return number


def check_limit(size: int, limit: int, what: str) -> None:
    if size >= limit:
        raise BadRequest(f"An m-line has more than {limit} {what}.")


def _rtpmap(draft: _Formats, value: str) -> None:
    number, _, codec = value.partition(" ")
    name, _, rest = codec.strip().partition("/")
    rate, _, channels = rest.partition("/")
    payload_type = decimal(number, 127, "A payload type")
    if not TOKEN(name):
        raise BadRequest("A codec's name is not a token.")
    clock_rate = decimal(rate, 0xFFFFFFFF, "A clock rate")
    draft.maps[payload_type] = name, clock_rate, decimal(channels, 255, "A channel count") if channels else 1


def _fmtp(draft: _Formats, value: str) -> None:
    number, _, parameters = value.partition(" ")
    draft.parameters[decimal(number, 127, "A payload type")] = parameters.strip()


def _rtcp_fb(draft: _Formats, value: str) -> None:
    number, _, feedback = value.partition(" ")
    if number != "*":
        decimal(number, 127, "A payload type")
    known = draft.feedback.setdefault(number, [])
    if feedback not in known and len(known) < _FEEDBACKS:
        known.append(feedback)


def _extmap(draft: _Formats, value: str) -> None:
    parts = value.split(" ", 2)
    number, _, direction = parts[0].partition("/")
    identifier = decimal(number, 4351, "A header extension's id")  # RFC 8285 6: above 255 only during negotiation
    if len(parts) < 2:
        raise BadRequest("A header extension has no URI.")
    if 0 < identifier <= 255 and identifier != 15 and direction != "inactive":
        check_limit(len(draft.extensions), SECTION_LIMIT, "header extensions")
        draft.extensions.setdefault(parts[1], identifier)


_READERS: dict[str, Callable[[_Formats, str], None]] = {
    "rtpmap": _rtpmap,
    "fmtp": _fmtp,
    "rtcp-fb": _rtcp_fb,
    "extmap": _extmap,
}
_FORMATTING = re.compile(rf"\na=((?:{'|'.join(_READERS)}):.*)").findall

Formats = tuple[tuple[Codec, ...], dict[int, int], dict[str, int]]
"""Codecs, RTX payload types and header extensions. Shared between peers with the same lines, so read-only."""


class FormatReader:
    """Parses the format lines of one description, each distinct set once."""

    __slots__ = ("_count", "_known")

    def __init__(self) -> None:
        self._count = 0
        self._known: dict[tuple[str, tuple[str, ...], str], Formats] = {}

    def read(self, kind: str, formats: tuple[str, ...], lines: str) -> Formats:
        """Raises BadRequest for malformed lines, and for more distinct lines than any browser needs."""
        found = _FORMATTING(lines)
        key = kind, formats, "\n".join(found)
        known = self._known.get(key)
        if known is None:
            self._count += len(found) + len(formats)
            if self._count > DISTINCT_LIMIT:
                raise BadRequest(f"The SDP has more than {DISTINCT_LIMIT} different format lines.")
            read = _remembered if len(key[2]) <= _REMEMBERED_LENGTH else _read
            known = self._known[key] = read(*key)
        return known


def _read(kind: str, formats: tuple[str, ...], lines: str) -> Formats:
    draft = _Formats()
    for line in lines.split("\n") if lines else ():
        key, _, value = line.partition(":")
        _READERS[key](draft, value)
    rtx: dict[int, int] = {}
    return () if kind == "application" else _codecs(draft, formats, rtx), rtx, draft.extensions


_remembered = lru_cache(_REMEMBERED)(_read)


def _codecs(draft: _Formats, formats: tuple[str, ...], rtx: dict[int, int]) -> tuple[Codec, ...]:
    codecs: list[Codec] = []
    everywhere = draft.feedback.get("*", [])
    seen: set[int] = set()
    for text in formats:
        if not text.isdigit():
            continue  # not a payload type, so not a supported format
        payload_type = decimal(text, 127, "A payload type")
        mapped = draft.maps.get(payload_type)
        if mapped is None or payload_type in seen:
            continue  # static payload types (RFC 3551) need no rtpmap; none is supported
        seen.add(payload_type)
        name, clock_rate, channels = mapped
        parameters = draft.parameters.get(payload_type, "")
        if name.lower() == "rtx":
            apt = parameters.partition("apt=")[2].partition(";")[0].strip()
            if apt:
                rtx[payload_type] = decimal(apt, 127, "The apt of an rtx payload type")
            continue
        feedback = draft.feedback.get(text, everywhere)
        if everywhere and feedback is not everywhere:
            feedback = list(dict.fromkeys(feedback + everywhere))
        codecs.append(Codec(name, payload_type, clock_rate, channels, parameters, tuple(feedback)))
    return tuple(codecs)
