"""sfu.ingest.picture_pacer: slices by time, in order, within a bound."""

from sfu.ingest.picture_pacer import BURST, MAX_SLICES, QUEUE_LIMIT, SLICE_INTERVAL, PicturePacer


def picture(count: int, first: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(first, first + count)]


def drain(pacer: PicturePacer, now: float, interval: float) -> tuple[list[bytes], float]:
    """Packets that leave, and the time of the last one, with a timer of this interval."""
    found: list[bytes] = []
    while pacer.waiting:
        now += interval
        found += pacer.due(now)
    return found, now


def test_a_small_picture_leaves_at_once() -> None:
    pacer = PicturePacer()
    assert pacer.push(picture(BURST), 1.0) == picture(BURST)
    assert not pacer.waiting


def test_a_large_picture_leaves_in_slices_and_the_next_one_behind_it() -> None:
    pacer = PicturePacer()
    packets = picture(5 * BURST + 1)
    found = pacer.push(packets, 1.0)
    assert len(found) == BURST
    assert pacer.push(picture(3, 1000), 1.001) == []
    rest, at = drain(pacer, 1.0, SLICE_INTERVAL)
    assert found + rest == packets + picture(3, 1000)
    assert round(at - 1.0, 6) == 5 * SLICE_INTERVAL


def test_late_timers_do_not_add_up() -> None:
    """Eleven slices with a timer that fires 30 ms late: 40 ms in all, and not eleven times 34 ms."""
    pacer = PicturePacer()
    pacer.push(picture(11 * BURST), 1.0)
    _, at = drain(pacer, 1.0, SLICE_INTERVAL + 0.030)
    assert at - 1.0 < 2.5 * (SLICE_INTERVAL + 0.030)


def test_a_hung_loop_causes_no_unbounded_burst() -> None:
    pacer = PicturePacer()
    pacer.push(picture(100 * BURST), 1.0)
    assert len(pacer.due(10.0)) == MAX_SLICES * BURST


def test_waiting_packets_are_bounded() -> None:
    pacer = PicturePacer()
    pacer.push(picture(QUEUE_LIMIT), 1.0)
    pacer.push(picture(QUEUE_LIMIT, 10_000), 1.0)
    rest, _ = drain(pacer, 1.0, SLICE_INTERVAL)
    assert rest == picture(QUEUE_LIMIT, 10_000)
