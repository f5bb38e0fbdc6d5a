import pytest

from sfu.forwarding.resend_limits import (
    LOSSY_LINK_LIMIT,
    MAX_RESEND_PAUSE,
    MIN_RESEND_PAUSE,
    RESEND_LIMIT,
    RESEND_PAUSE,
    RESENDS_KEPT,
    RTT_RATIO,
    ResendLimits,
)


@pytest.mark.parametrize(
    ("rtt", "is_lossy_link", "pause"),
    [
        (None, None, RESEND_PAUSE),
        (None, False, RESEND_PAUSE),
        (None, True, RESEND_PAUSE),
        (0.01, False, RESEND_PAUSE),
        (0.05, True, RTT_RATIO * 0.05),
        (0.001, True, MIN_RESEND_PAUSE),
        (0.2, False, RTT_RATIO * 0.2),
        (3.0, False, MAX_RESEND_PAUSE),
        (3.0, True, MAX_RESEND_PAUSE),
    ],
)
def test_the_pause_follows_the_round_trip_within_limits(
    rtt: float | None, is_lossy_link: bool | None, pause: float
) -> None:
    limits = ResendLimits()
    assert limits.admits(7, 10.0, rtt, is_lossy_link=is_lossy_link)
    limits.count(7, 10.0)
    assert not limits.admits(7, 10.0 + 0.99 * pause, rtt, is_lossy_link=is_lossy_link)
    assert limits.admits(7, 10.0 + 1.01 * pause, rtt, is_lossy_link=is_lossy_link)
    assert limits.admits(8, 10.0, rtt, is_lossy_link=is_lossy_link), "each packet has its own pause"


@pytest.mark.parametrize(
    ("is_lossy_link", "limit"), [(None, RESEND_LIMIT), (False, RESEND_LIMIT), (True, LOSSY_LINK_LIMIT)]
)
def test_each_packet_is_retransmitted_a_few_times(is_lossy_link: bool | None, limit: int) -> None:
    limits, sent = ResendLimits(), 0
    for second in range(20):
        if limits.admits(7, float(second), 0.05, is_lossy_link=is_lossy_link):
            limits.count(7, float(second))
            sent += 1
    assert sent == limit


def test_only_the_newest_packets_are_counted() -> None:
    limits = ResendLimits()
    for number in range(RESENDS_KEPT + 1):
        limits.count(number, 1.0)
    assert limits.admits(0, 1.0, None, is_lossy_link=None), "the oldest count is forgotten"
    assert not limits.admits(1, 1.0, None, is_lossy_link=None)
