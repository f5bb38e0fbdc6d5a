"""SDP fragments with ICE information: `application/trickle-ice-sdpfrag` (RFC 8840 9), for trickle ICE and ICE restarts over
HTTP (RFC 9725 4.3).

The server is an ICE-lite agent and does not use the candidates of its peers: it only checks that they are well-formed.
"""

import re
from dataclasses import dataclass
from typing import Final

from sfu.errors import BadRequest
from sfu.sdp.attributes import is_ice_password, is_ice_ufrag
from sfu.sdp.description import CANDIDATE_LIMIT

FRAGMENT_LIMIT: Final = 16_384
"""Maximum number of characters. A fragment with 20 candidates has 2,500."""
LINE_LIMIT: Final = 512

_LINE = re.compile(r"[a-z]=[^\x00-\x1f\x7f]*").fullmatch
_CANDIDATE = re.compile(r"candidate:\S{1,32} \d{1,5} \S{1,8} \d{1,10} \S{1,256} \d{1,5} typ \S{1,16}(?: .*)?").fullmatch
_KEPT = ("a=ice-lite", "a=ice-ufrag:", "a=ice-pwd:", "a=candidate:", "a=end-of-candidates")


@dataclass(frozen=True, slots=True)
class IceFragment:
    ufrag: str
    "Empty: the fragment belongs to the current ICE session."
    pwd: str
    candidates: int
    "Number of candidates."


def parse_fragment(text: str) -> IceFragment:
    """Raises BadRequest with a description of the problem."""
    if len(text) > FRAGMENT_LIMIT:
        raise BadRequest(f"The SDP fragment is longer than {FRAGMENT_LIMIT} characters.")
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    if len(lines) > LINE_LIMIT:
        raise BadRequest(f"The SDP fragment has more than {LINE_LIMIT} lines.")
    found = {"ice-ufrag": "", "ice-pwd": ""}
    candidates = 0
    for line in lines:
        if not _LINE(line):
            raise BadRequest("The SDP fragment has a line that is not of the form x=value.")
        key, _, value = line[2:].partition(":")
        if line[0] != "a":
            continue
        if key in found:
            if found[key] not in ("", value):
                raise BadRequest("The SDP fragment has two different ICE credentials; all m-lines share one transport.")
            found[key] = value
        elif key == "candidate":
            candidates += 1
            if candidates > CANDIDATE_LIMIT or not _CANDIDATE(line[2:]):
                raise BadRequest("The SDP fragment has an invalid candidate, or too many of them.")
    ufrag, pwd = found["ice-ufrag"], found["ice-pwd"]
    if ufrag and not is_ice_ufrag(ufrag):
        raise BadRequest("An ice-ufrag must have 4 to 256 ICE characters.")
    if pwd and not is_ice_password(pwd):
        raise BadRequest("An ice-pwd must have 22 to 256 ICE characters.")
    if bool(ufrag) != bool(pwd):
        raise BadRequest("The SDP fragment must have both ice-ufrag and ice-pwd, or neither.")
    if not ufrag and not candidates and "a=end-of-candidates" not in lines:
        raise BadRequest("The SDP fragment has no ICE information.")
    return IceFragment(ufrag, pwd, candidates)


def fragment_of(answer: str) -> str:
    """The ICE part of an answer of this server: its credentials and candidates, which are the same for all m-lines."""
    lines = dict.fromkeys(line for line in answer.split("\r\n") if line.startswith(_KEPT))
    credentials = [line for line in lines if line.startswith("a=ice-")]
    media = next((line for line in answer.split("\r\n") if line.startswith("m=") and line.split()[1] != "0"), "")
    mid = next((line for line in answer.split("\r\n") if line.startswith("a=mid:")), "")
    candidates = [line for line in lines if not line.startswith("a=ice-")]
    return "\r\n".join(filter(None, [*credentials, media, mid, *candidates])) + "\r\n"
