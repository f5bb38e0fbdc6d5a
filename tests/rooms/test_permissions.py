"""Permissions from the grants of a token."""

import pytest

from sfu.auth.grants import VideoGrants
from sfu.rooms.permissions import Permissions

GRANTS = [
    (VideoGrants(), Permissions()),
    (VideoGrants(room_admin=True), Permissions(admin=True)),
    (VideoGrants(can_publish=False, can_publish_data=False), Permissions(publish=False, data=False)),
    (VideoGrants(can_subscribe=False), Permissions(subscribe=False)),
    (VideoGrants(can_publish_sources=("camera",)), Permissions(sources=("camera",))),
    (VideoGrants(hidden=True, recorder=True), Permissions(publish=False, data=False, hidden=True, recorder=True)),
]


@pytest.mark.parametrize(("grants", "permissions"), GRANTS)
def test_from_grants(grants: VideoGrants, permissions: Permissions) -> None:
    assert Permissions.from_grants(grants) == permissions


@pytest.mark.parametrize(
    ("permissions", "passes"),
    [
        (Permissions(), False),
        (Permissions(admin=True), True),
        (Permissions(hidden=True), True),
        (Permissions(recorder=True), True),
    ],
)
def test_permissions_that_bypass_the_lobby(permissions: Permissions, passes: bool) -> None:
    assert permissions.bypasses_lobby is passes
