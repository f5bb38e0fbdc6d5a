"""Translation of permissions to messages."""

import pytest

from sfu.rooms.permissions import Permissions
from sfu.signaling.serialization import permissions_state


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
