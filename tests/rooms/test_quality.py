"""Connection quality of one link."""

import pytest

from sfu.rooms.quality import Quality, quality_of
from tests.rooms.fakes import FakeLink

JUDGEMENTS: list[tuple[FakeLink, Quality]] = [
    (FakeLink(), "excellent"),
    (FakeLink(rtt=None), "excellent"),
    (FakeLink(rtt=0.149, loss=0.019), "excellent"),
    (FakeLink(rtt=0.15), "good"),
    (FakeLink(loss=0.02), "good"),
    (FakeLink(rtt=0.299, loss=0.049), "good"),
    (FakeLink(rtt=0.3), "poor"),
    (FakeLink(loss=0.05), "poor"),
    (FakeLink(silent_for=6.5), "excellent"),
    (FakeLink(silent_for=6.6), "lost"),
    (FakeLink(connected=False), "lost"),
]


@pytest.mark.parametrize(("link", "quality"), JUDGEMENTS)
def test_one_link(link: FakeLink, quality: Quality) -> None:
    assert quality_of(link) == quality
