"""Send time history: lookup of sent packets by transport-wide number, once each."""

from sfu.bandwidth.send_time_history import LARGEST, SMALLEST, SendTimeHistory


def history(*batches: tuple[int, list[int], float]) -> SendTimeHistory:
    made = SendTimeHistory()
    for first, sizes, now in batches:
        made.sent(first, sizes, now)
    made.process_batches()
    return made


def test_batches_come_back_as_times_and_sizes() -> None:
    sent = history((10, [100, 200], 1.0), (12, [300], 2.0))
    assert sent.find(10, 3) == (0x1000A, [1.0, 1.0, 2.0], [100, 200, 300])
    assert sent.find(11, 1) == (0x1000B, [1.0], [200])


def test_process_batches_counts_bytes_once() -> None:
    sent = SendTimeHistory()
    sent.sent(0, [100, 200], 1.0)
    assert sent.process_batches() == 300
    assert sent.process_batches() == 0


def test_sequence_numbers_may_wrap() -> None:
    sent = history((0xFFFE, [1, 2, 3, 4], 1.0))
    assert sent.find(0xFFFF, 2)[2] == [2, 3]
    assert sent.find(0, 2)[2] == [3, 4]


def test_unsent_numbers_are_not_found() -> None:
    sent = history((10, [100] * 5, 1.0))
    assert sent.find(13, 1000)[2] == [100, 100]
    assert sent.find(40_000, 5)[2] == []
    assert sent.find(9, 1)[2] == [0]
    assert SendTimeHistory().find(0, 5) == (0, [], [])


def test_acknowledged_packets_count_once() -> None:
    sent = history((10, [100] * 4, 1.0))
    first, _, _ = sent.find(10, 4)
    sent.acknowledge(first, [5, None, 6, None], all_of_them=False)
    assert sent.find(10, 4)[2] == [0, 100, 0, 100]
    sent.acknowledge(first, [5, 5, 6, 7], all_of_them=True)
    assert sent.find(10, 4)[2] == [0, 0, 0, 0]


def test_skipped_numbers_are_unknown() -> None:
    sent = history((10, [100], 1.0), (13, [200], 2.0), (12, [300], 3.0))
    assert sent.find(10, 4)[2] == [100, 0, 0, 200]


def test_the_ring_wraps_and_grows_for_old_feedback() -> None:
    sent = SendTimeHistory()
    for number in range(0, 3 * SMALLEST, 8):
        sent.sent(number & 0xFFFF, [number] * 8, 1.0)
        sent.process_batches()
    number = 3 * SMALLEST - 100
    assert sent.find(number, 1)[2] == [number & ~7]
    assert sent.find(number - SMALLEST, 1)[2] == [0]  # overwritten, but the ring has grown
    for number in range(3 * SMALLEST, 5 * SMALLEST, 8):
        sent.sent(number & 0xFFFF, [number] * 8, 1.0)
    sent.process_batches()
    number = 5 * SMALLEST - 3 * SMALLEST // 2
    assert sent.find(number, 1)[2] == [number & ~7]
    sent.find(5 * SMALLEST - LARGEST + 1 & 0xFFFF, 1)
    assert len(sent._sizes) <= LARGEST


def test_a_skipped_number_has_no_stale_send_time() -> None:
    """The send time of an older packet in the same ring entry would look like a delay of seconds."""
    sent = SendTimeHistory()
    for number in range(0, SMALLEST, 8):
        sent.sent(number, [100] * 8, 1.0)
    sent.sent(SMALLEST + 8, [100], 9.0)
    sent.process_batches()
    assert sent.find(SMALLEST, 9)[1] == [0.0] * 8 + [9.0]
