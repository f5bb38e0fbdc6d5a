"""Viewers by token holder and by resource."""

from dataclasses import dataclass, field

import pytest

from sfu.auth.tokens import Claims
from sfu.errors import RateLimited
from sfu.signaling.whep_resource import WhepResource
from sfu.signaling.whep_viewers import WhepViewers
from tests.signaling.fakes import claims

CAMERA = WhepResource("standup", "ada")


@dataclass(eq=False)
class FakeViewer:
    claims: Claims = field(default_factory=lambda: claims("viewer"))
    resource: WhepResource = CAMERA
    counts: list[int] = field(default_factory=list)

    def count_changed(self, count: int) -> None:
        self.counts.append(count)


def test_viewers_of_one_resource_see_their_number() -> None:
    viewers, first, second = WhepViewers(9), FakeViewer(), FakeViewer(claims("other"))
    elsewhere = FakeViewer(resource=WhepResource("standup", "ada", "screen_share"))
    for viewer in (first, second, elsewhere):
        viewers.add(viewer)
    viewers.remove(second)
    assert (first.counts, second.counts, elsewhere.counts) == ([1, 2, 1], [2], [1])
    assert viewers.count(WhepResource("standup", "ada")) == 1
    assert viewers.count(WhepResource("standup", "bob")) == 0


def test_a_token_holder_has_a_limit_per_room() -> None:
    viewers = WhepViewers(2)
    many = [FakeViewer(), FakeViewer(resource=WhepResource("standup"))]
    for viewer in many:
        viewers.admit(viewer.claims)
        viewers.add(viewer)
    with pytest.raises(RateLimited) as refused:
        viewers.admit(claims("viewer"))
    assert (refused.value.code, refused.value.retry_after) == ("too_many_viewers", 5.0)
    viewers.admit(claims("other"))
    viewers.admit(claims("viewer", room="elsewhere"))
    viewers.remove(many[0])
    viewers.admit(claims("viewer"))


def test_removal_is_idempotent_and_leaves_nothing() -> None:
    viewers, viewer = WhepViewers(1), FakeViewer()
    viewers.remove(viewer)
    viewers.add(viewer)
    viewers.remove(viewer)
    viewers.remove(viewer)
    viewers.admit(viewer.claims)
    assert viewers.count(CAMERA) == 0
    assert viewer.counts == [1]
