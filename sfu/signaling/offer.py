"""The outline of a publishing offer: enough to refuse it before anything changes, and to know a new connection.

RFC 8866 (SDP), RFC 8122 5 (fingerprint), RFC 5888 (mid). The whole of it is parsed by the media edge.
"""

import re
from dataclasses import dataclass

_LINES = re.compile(r"^(m=|a=mid:|a=fingerprint:)(.*)", re.MULTILINE).findall


@dataclass(frozen=True, slots=True)
class Outline:
    fingerprints: frozenset[str]
    "DTLS certificates; others than before mean another connection."
    kinds: dict[str, str]
    "`audio` or `video` of each m-line by its mid."


def outline(sdp: str) -> Outline:
    """Never fails: what is not there is not found."""
    fingerprints: set[str] = set()
    kinds: dict[str, str] = {}
    kind = ""
    for name, value in _LINES(sdp):
        if name == "m=":
            kind = value.partition(" ")[0]
        elif name == "a=mid:":
            kinds[value.strip()] = kind
        else:
            fingerprints.add(value.strip().lower())
    return Outline(frozenset(fingerprints), kinds)
