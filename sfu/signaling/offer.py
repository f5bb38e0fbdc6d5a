"""The outline of a publishing offer: enough to refuse it before anything changes, and to know a new connection.

RFC 8866 (SDP), RFC 8122 5 (fingerprint), RFC 5888 (mid). The whole of it is parsed by the media edge.
"""

from dataclasses import dataclass


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
    for line in sdp.splitlines():
        if line.startswith("m="):
            kind = line[2:].partition(" ")[0]
        elif line.startswith("a=mid:"):
            kinds[line[6:].strip()] = kind
        elif line.startswith("a=fingerprint:"):
            fingerprints.add(line[14:].strip().lower())
    return Outline(frozenset(fingerprints), kinds)
