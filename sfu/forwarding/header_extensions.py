"""Actions for the RTP header extensions of inbound packets, by negotiated id (RFC 8285).

The table has one action per id, so that the packet path looks up a number instead of comparing URIs. The C part reads the
same table.
"""

from collections.abc import Mapping
from typing import Final

from sfu.sdp import capabilities as caps

IGNORE, TWCC, MID, RID, REPAIRED_RID, LEVEL, DEPENDENCY, SEND_TIME = range(8)
"""Up to `REPAIRED_RID`: actions that do not change the outbound packet."""
PASS: Final = 16
"""`actions[id] − PASS` is the outbound id of an extension that is forwarded unchanged."""

NO_ACTIONS: Final = [IGNORE] * 256
"""The shared table of peers that publish nothing. Never modified."""
_ACTIONS: Final = {
    caps.URI_TRANSPORT_CC: TWCC,
    caps.URI_MID: MID,
    caps.URI_RID: RID,
    caps.URI_REPAIRED_RID: REPAIRED_RID,
    caps.URI_AUDIO_LEVEL: LEVEL,
    caps.URI_DEPENDENCY_DESCRIPTOR: DEPENDENCY,
    caps.URI_ABS_SEND_TIME: SEND_TIME,
}


def negotiated_actions(actions: list[int], extensions: Mapping[str, int]) -> list[int]:
    """`actions` extended by the negotiated ids (URI → id); a new table if `actions` is the shared one."""
    if actions is NO_ACTIONS:
        actions = list(NO_ACTIONS)
    for uri, number in extensions.items():
        action = _ACTIONS.get(uri)
        if action is None:
            out = caps.OUT_EXTENSION_IDS.get(uri)
            action = IGNORE if out is None else PASS + out
        actions[number] = action
    return actions
