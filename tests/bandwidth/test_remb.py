"""REMB: which values are limits, and which only follow the send rate."""

from sfu.bandwidth.remb import GROUP_LIMIT, HOLD_TIME, RembLimit

INFINITE = float("inf")


class Path:
    """Sends one stream and receives a REMB every half second."""

    def __init__(self) -> None:
        self.limit, self.now, self.octets = RembLimit(), 0.0, 0.0

    def run(self, seconds: float, sent: float, remb: float, *, growth: float = 1.0, uncongested: bool = True) -> float:
        for _ in range(round(2 * seconds)):
            self.now += 0.5
            self.octets += sent / 16
            self.limit.receive(remb, [7], {7: int(self.octets)}, self.now, uncongested=uncongested)
            remb *= growth
        return self.limit.rate


def test_a_remb_below_the_rate_is_a_limit() -> None:
    path = Path()
    path.run(5, 1e6, 1.2e6)
    assert path.run(1, 1e6, 0.3e6) == 0.3e6


def test_a_remb_before_the_first_packet_is_a_limit() -> None:
    limit = RembLimit()
    limit.receive(0.4e6, [7], {7: 0}, 1.0, uncongested=True)
    assert limit.rate == 0.4e6
    limit.receive(0.3e6, [], {}, 1.5, uncongested=True)
    assert limit.rate == 0.3e6


def test_a_remb_that_follows_the_rate_is_not_a_limit() -> None:
    """Like aiortc: the arrival rate, slightly raised with each REMB."""
    path = Path()
    assert path.run(4, 0.8e6, 0.75e6, growth=1.04) > 1.0e6
    assert path.run(10, 0.2e6, 0.31e6) > 1.5e6


def test_a_remb_that_follows_is_a_limit_while_packets_are_lost() -> None:
    path = Path()
    path.run(4, 0.8e6, 0.75e6, growth=1.04)
    assert path.run(1, 0.8e6, 0.7e6, uncongested=False) == 0.7e6


def test_a_configured_limit_is_kept() -> None:
    path = Path()
    path.run(4, 0.95e6, 1e6)
    assert path.run(10, 0.95e6, 1e6) == 1e6


def test_the_next_try_waits_longer() -> None:
    path = Path()
    waits = []
    for _ in range(3):
        path.run(2, 0.5e6, 0.5e6, uncongested=False)
        began = path.now
        remb = 0.5e6
        while path.limit.rate <= remb:
            remb *= 1.01
            path.run(0.5, 0.5e6, remb)
        waits.append(path.now - began)
        path.run(1, 0.5e6, 0.5e6, growth=1.01)
    assert waits[1] >= HOLD_TIME - 2
    assert waits[2] > 1.5 * waits[1]


def test_limits_of_several_streams_add_up_and_expire() -> None:
    limit = RembLimit()
    octets = {7: 0, 8: 0}
    limit.receive(0.3e6, [7], octets, 1.0, uncongested=False)
    limit.receive(0.5e6, [8], octets, 1.0, uncongested=False)
    assert limit.rate == 0.8e6
    limit.receive(0.4e6, [7, 8], octets, 2.0, uncongested=False)
    assert limit.rate == 0.4e6
    limit.handle_timer(13.0)
    assert limit.rate == INFINITE


def test_groups_are_bounded() -> None:
    limit = RembLimit()
    octets = dict.fromkeys(range(1000), 0)
    for ssrc in range(1000):
        limit.receive(1e5, [ssrc], octets, 1.0, uncongested=False)
    assert len(limit._groups) <= GROUP_LIMIT
