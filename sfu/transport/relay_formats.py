"""The format of media between two nodes: fixed payload types and header extension ids, since nothing is negotiated."""

from typing import Final

from sfu.sdp.capabilities import (
    CLOCK_RATES as CLOCK_RATES,
)
from sfu.sdp.capabilities import (
    OUT_EXTENSION_IDS,
    URI_MID,
    URI_REPAIRED_RID,
    URI_RID,
    URI_TRANSPORT_CC,
)

PAYLOAD_TYPES: Final[dict[str, int]] = {"opus": 111, "red": 63, "VP8": 96, "VP9": 98, "H264": 102, "AV1": 45}
RTX_PAYLOAD_TYPES: Final[dict[str, int]] = {"VP8": 97, "VP9": 99, "H264": 103, "AV1": 46}
EXTENSIONS: Final = {
    uri: number
    for uri, number in OUT_EXTENSION_IDS.items()
    if uri not in (URI_MID, URI_RID, URI_REPAIRED_RID, URI_TRANSPORT_CC)
}
"""Streams are bound by SSRC, and the path has no bandwidth estimation."""
