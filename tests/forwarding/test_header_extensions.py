"""Actions of inbound header extensions by negotiated id."""

import pytest

from sfu.forwarding.header_extensions import (
    DEPENDENCY,
    IGNORE,
    LEVEL,
    MID,
    NO_ACTIONS,
    PASS,
    REPAIRED_RID,
    RID,
    SEND_TIME,
    TWCC,
    negotiated_actions,
)
from sfu.sdp import capabilities as caps


@pytest.mark.parametrize(
    ("uri", "action"),
    [
        (caps.URI_MID, MID),
        (caps.URI_RID, RID),
        (caps.URI_REPAIRED_RID, REPAIRED_RID),
        (caps.URI_TRANSPORT_CC, TWCC),
        (caps.URI_AUDIO_LEVEL, LEVEL),
        (caps.URI_DEPENDENCY_DESCRIPTOR, DEPENDENCY),
        (caps.URI_ABS_SEND_TIME, SEND_TIME),
        (caps.URI_VIDEO_ORIENTATION, PASS + caps.OUT_EXTENSION_IDS[caps.URI_VIDEO_ORIENTATION]),
        (caps.URI_PLAYOUT_DELAY, PASS + caps.OUT_EXTENSION_IDS[caps.URI_PLAYOUT_DELAY]),
        ("urn:example:unknown", IGNORE),
    ],
)
@pytest.mark.parametrize("number", [1, 14, 15, 255])
def test_each_extension_has_its_action(uri: str, action: int, number: int) -> None:
    actions = negotiated_actions(NO_ACTIONS, {uri: number})
    assert actions[number] == action
    assert sum(actions) == action, "the other ids are ignored"


def test_the_shared_table_stays_empty() -> None:
    actions = negotiated_actions(NO_ACTIONS, {caps.URI_MID: 4})
    assert actions is not NO_ACTIONS
    assert NO_ACTIONS == [IGNORE] * 256


def test_a_later_negotiation_extends_the_table_of_the_peer() -> None:
    first = negotiated_actions(NO_ACTIONS, {caps.URI_MID: 4, caps.URI_RID: 5})
    second = negotiated_actions(first, {caps.URI_TRANSPORT_CC: 3, caps.URI_MID: 5})
    assert second is first, "streams hold a reference to it"
    assert second[3:6] == [TWCC, MID, MID]


def test_actions_that_change_no_outbound_packet_come_first() -> None:
    assert max(IGNORE, TWCC, MID, RID, REPAIRED_RID) == REPAIRED_RID
    assert min(LEVEL, DEPENDENCY, SEND_TIME) > REPAIRED_RID
    assert max(LEVEL, DEPENDENCY, SEND_TIME) < PASS
