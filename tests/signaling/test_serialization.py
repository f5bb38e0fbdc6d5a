import json

import pytest

from sfu.ids import ParticipantId
from sfu.rooms.events import Delivery, ParticipantLeft
from sfu.rooms.permissions import Permissions
from sfu.signaling.serialization import payload_of, permissions_state


def test_a_delivery_is_encoded_once() -> None:
    delivery = Delivery(7, ParticipantLeft(ParticipantId("PA_1"), "left"))
    payload = payload_of(delivery)
    assert json.loads(payload) == {"type": "participant_left", "n": 7, "participant": "PA_1", "reason": "left"}
    assert payload_of(delivery) is payload


@pytest.mark.parametrize(
    ("sources", "told"),
    [
        ((), []),
        (("camera", "microphone"), ["camera", "microphone"]),
        (("hologram", "camera"), ["camera"]),
        (("hologram",), ["unknown"]),
    ],
)
def test_an_unknown_source_never_means_every_source(sources: tuple[str, ...], told: list[str]) -> None:
    assert permissions_state(Permissions(sources=sources)).sources == told
