"""SSRCs of one connection: never used twice, and freed late."""

import pytest

from sfu.transport.outbound_ssrcs import ENDED_FOR, ENDED_KEPT, OutboundSsrcs


def test_no_ssrc_is_used_twice() -> None:
    ssrcs = OutboundSsrcs(0xFFFFFFF1)
    taken = [ssrcs.take() for _ in range(1000)]
    assert len(set(taken)) == 1000
    assert all(0 < ssrc <= 0xFFFFFFFF for ssrc in taken)


@pytest.mark.parametrize(
    ("ended", "passed", "freed"),
    [
        (ENDED_KEPT + 3, ENDED_FOR - 1, 0),
        (ENDED_KEPT, ENDED_FOR + 1, 0),
        (ENDED_KEPT + 3, ENDED_FOR + 1, 3),
    ],
)
def test_old_streams_are_freed_beyond_the_limit(ended: int, passed: float, freed: int) -> None:
    ssrcs = OutboundSsrcs(1)
    for number in range(ended):
        ssrcs.end(number + 1, 0, now=0.0)
    assert list(ssrcs.expired(passed)) == list(range(1, freed + 1))
    assert list(ssrcs.expired(passed)) == []
