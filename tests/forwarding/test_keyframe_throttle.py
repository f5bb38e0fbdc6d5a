from sfu.forwarding.keyframe_throttle import KeyframeThrottle


def test_at_most_two_requests_a_second_go_upstream_whatever_is_asked() -> None:
    throttle = KeyframeThrottle()
    sent = sum(throttle.request(step / 1000) or throttle.due(step / 1000) for step in range(1000))
    assert sent == 2
    assert throttle.merged > 900


def test_a_request_within_the_pause_is_sent_at_its_end_unless_a_keyframe_came() -> None:
    throttle = KeyframeThrottle()
    assert throttle.request(0.0)
    assert not throttle.request(0.1)
    assert not throttle.due(0.4)
    assert throttle.due(0.5)
    assert not throttle.due(1.1)
    assert not throttle.request(0.6)
    throttle.satisfied()
    assert not throttle.due(2.0)
