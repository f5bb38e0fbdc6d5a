"""Simulcast of one m-line: rid lines, the simulcast line and the streams that they declare.

RFC 8851 (rid), RFC 8853 5 (simulcast), RFC 9429 5.8.3 (an undeclared rid is an error). Older clients declare simulcast
with an SSRC group (semantics SIM) and no rids.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sfu.errors import BadRequest

RID_LIMIT: Final = 8
"""Maximum number of rids per m-line."""
_LENGTH: Final = 256
"""Maximum length of a rid or simulcast line in characters. Chromium uses 30."""
_ALTERNATIVES: Final = 8
"""Maximum number of alternatives to parse per simulcast stream."""
_RID = re.compile(r"[A-Za-z0-9_-]{1,16}").fullmatch


@dataclass(frozen=True, slots=True)
class Rid:
    name: str
    direction: str
    "`send` or `recv`."
    payload_types: tuple[str, ...]
    "Empty: all payload types of the m-line."


@dataclass(frozen=True, slots=True)
class SendStream:
    """One simulcast stream that the peer sends: its alternative rids in order of preference."""

    alternatives: tuple[Rid, ...]

    def choose(self, payload_type: int) -> str | None:
        """The rid for a payload type. None: the stream is not sent with it."""
        for rid in self.alternatives:
            if not rid.payload_types or str(payload_type) in rid.payload_types:
                return rid.name
        return None


def _check_length(value: str) -> None:
    if len(value) > _LENGTH:
        raise BadRequest(f"A rid or simulcast line is longer than {_LENGTH} characters.")


def read_rid(rids: dict[str, Rid], value: str) -> None:
    """Parses an `a=rid` line into `rids`. Raises BadRequest."""
    _check_length(value)
    name, _, rest = value.partition(" ")
    direction, _, restrictions = rest.partition(" ")
    if not _RID(name):
        raise BadRequest("A rid must have 1 to 16 letters, digits, - or _.")
    if direction not in ("send", "recv"):
        raise BadRequest(f"The direction of the rid {name} must be send or recv.")
    if name in rids:
        raise BadRequest(f"The rid {name} is declared twice in one m-line.")
    if len(rids) >= RID_LIMIT:
        raise BadRequest(f"An m-line has more than {RID_LIMIT} rids.")
    payload_types: tuple[str, ...] = ()
    for restriction in restrictions.split(";", 16)[:16]:
        key, _, listed = restriction.strip().partition("=")
        if key == "pt":
            payload_types = tuple(listed.split(","))
    rids[name] = Rid(name, direction, payload_types)


def check_payload_types(rids: dict[str, Rid], formats: Sequence[str]) -> None:
    """Raises BadRequest if a rid uses a payload type that its m-line does not list (RFC 8851 5)."""
    if not {number for rid in rids.values() for number in rid.payload_types} <= set(formats):
        raise BadRequest("A rid uses a payload type that its m-line does not list.")


def read_simulcast(value: str, rids: dict[str, Rid]) -> tuple[SendStream, ...]:
    """Returns the streams of an `a=simulcast` line that the peer sends. Raises BadRequest."""
    _check_length(value)
    parts = value.split()
    lists = dict(zip(parts[::2], parts[1::2], strict=False))
    if len(parts) not in (2, 4) or not lists.keys() <= {"send", "recv"} or 2 * len(lists) != len(parts):
        raise BadRequest("A simulcast line must have the form `send list`, `recv list` or both.")
    streams: dict[str, SendStream] = {}
    for direction, listed in lists.items():
        # Drafts before RFC 8853 put "rid=" before the list.
        pieces = listed.removeprefix("rid=").split(";", RID_LIMIT)
        if len(pieces) > RID_LIMIT:
            raise BadRequest(f"A simulcast line has more than {RID_LIMIT} streams.")
        for piece in pieces:
            stream = SendStream(tuple([_declared(name, direction, rids) for name in piece.split(",", _ALTERNATIVES)]))
            if direction == "send":
                streams.setdefault(stream.alternatives[0].name, stream)
    return tuple(streams.values())


def _declared(name: str, direction: str, rids: dict[str, Rid]) -> Rid:
    name = name.removeprefix("~")  # RFC 8853 5.1: initially paused
    rid = rids.get(name)
    if rid is None:
        shown = f"the rid {name}" if _RID(name) else "an invalid rid"
        raise BadRequest(f"The simulcast line uses {shown}, which no rid line declares.")
    if rid.direction != direction:
        raise BadRequest(f"The simulcast line uses the rid {name} to {direction}; it is declared to {rid.direction}.")
    return rid


def declared_streams(rids: dict[str, Rid]) -> tuple[SendStream, ...]:
    """The sent streams of an m-line that has rid lines but no simulcast line."""
    return tuple([SendStream((rid,)) for rid in rids.values() if rid.direction == "send"])


@dataclass(frozen=True, slots=True)
class SsrcStreams:
    """SSRCs declared by an m-line (RFC 5576)."""

    streams: tuple[tuple[int, int | None], ...]
    "(SSRC, RTX SSRC) pairs."
    simulcast: bool
    "The streams are the layers of one source, lowest first (`a=ssrc-group:SIM`)."


def ssrc_streams(ssrcs: Sequence[int], groups: Sequence[tuple[str, tuple[int, ...]]]) -> SsrcStreams:
    """Pairs media with RTX (FID, RFC 5576 4.2), drops FEC and orders simulcast layers (SIM)."""
    retransmissions: dict[int, int] = {}
    secondary: set[int] = set()
    layers: tuple[int, ...] = ()
    for semantics, members in groups:
        if semantics == "FID" and len(members) == 2:
            retransmissions[members[0]] = members[1]
            secondary.add(members[1])
        elif semantics == "FEC-FR":
            secondary.update(members[1:])
        elif semantics == "SIM" and not layers:
            layers = tuple(dict.fromkeys(members))[:RID_LIMIT]
    if len(layers) > 1 and not secondary.intersection(layers):
        return SsrcStreams(tuple([(ssrc, retransmissions.get(ssrc)) for ssrc in layers]), True)
    media = [ssrc for ssrc in ssrcs if ssrc not in secondary]
    return SsrcStreams(tuple([(ssrc, retransmissions.get(ssrc)) for ssrc in media]), False)
