"""sfu.events.outbox: queued webhooks on disk, bounded per receiver."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sfu.errors import ConfigurationError
from sfu.events.outbox import FILE, Dropped, Outbox

A, B = "a", "b"


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    one = opened(tmp_path)
    yield one
    one.close()


def opened(folder: Path, receivers: tuple[str, ...] = (A, B), *, rows: int = 1000, size: int = 1_000_000) -> Outbox:
    return Outbox(folder, receivers, max_rows=rows, max_bytes=size)


def rows(receiver: str, *bodies: bytes, room: str = "hall") -> list[tuple[str, str, float, bytes]]:
    return [(receiver, room, float(number), body) for number, body in enumerate(bodies)]


def bodies(outbox: Outbox, receiver: str, after: int = 0, count: int = 1000) -> list[bytes]:
    return [row.body for row in outbox.read(receiver, after, count)]


def test_rows_are_read_in_order_and_by_receiver(outbox: Outbox) -> None:
    assert outbox.append([*rows(A, b"1", b"2", b"3"), *rows(B, b"4")]) == []
    assert (bodies(outbox, A), bodies(outbox, B)) == ([b"1", b"2", b"3"], [b"4"])
    first, second = outbox.read(A, 0, 2)
    assert (first.room, first.at, first.body) == ("hall", 0.0, b"1")
    assert bodies(outbox, A, after=second.position) == [b"3"]


def test_delivered_rows_are_removed_once(outbox: Outbox) -> None:
    outbox.append(rows(A, b"one", b"three"))
    found = outbox.read(A, 0, 1)
    for _ in range(2):
        outbox.remove(A, found)
    assert bodies(outbox, A) == [b"three"]
    assert (outbox.sizes[A].rows, outbox.sizes[A].bytes) == (1, 5)


def test_rows_survive_the_process(tmp_path: Path) -> None:
    before = opened(tmp_path)
    before.append([*rows(A, b"1", b"22"), *rows(B, b"3")])
    before.close()
    after = opened(tmp_path)
    assert bodies(after, A) == [b"1", b"22"]
    assert (after.sizes[A].rows, after.sizes[A].bytes, after.sizes[B].rows) == (2, 3, 1)
    (last,) = after.read(B, 0, 9)
    after.append(rows(B, b"4"))
    assert after.read(B, last.position, 9)[0].position > last.position
    after.close()


def test_rows_of_removed_receivers_are_deleted(tmp_path: Path) -> None:
    before = opened(tmp_path)
    before.append([*rows(A, b"1"), *rows(B, b"2")])
    before.close()
    opened(tmp_path, (A,)).close()
    after = opened(tmp_path)
    assert (bodies(after, A), bodies(after, B)) == ([b"1"], [])
    after.close()


def test_a_full_queue_drops_its_oldest_rows(tmp_path: Path) -> None:
    outbox = opened(tmp_path, rows=128)
    outbox.append(rows(B, b"kept"))
    assert outbox.append(rows(A, *[b"%d" % number for number in range(128)])) == []
    (dropped,) = outbox.append(rows(A, b"128"))
    assert dropped == Dropped(A, outbox.read(A, 0, 1)[0].position - 1, 3)  # one too many, and a share of 1/64
    assert bodies(outbox, A)[0] == b"3"
    assert outbox.sizes[A].rows == 126
    assert bodies(outbox, B) == [b"kept"]
    outbox.close()


def test_the_bytes_of_a_queue_are_bounded(tmp_path: Path) -> None:
    outbox = opened(tmp_path, size=1000)
    (dropped,) = outbox.append(rows(A, bytes(600), bytes(600)))
    assert (dropped.count, outbox.sizes[A].rows, outbox.sizes[A].bytes) == (1, 1, 600)
    (dropped,) = outbox.append(rows(A, bytes(2000)))
    assert (dropped.count, outbox.sizes[A].rows, outbox.sizes[A].bytes) == (2, 0, 0)
    outbox.close()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        opened(tmp_path / "file" / "events")


def test_a_damaged_file_is_kept_aside(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database" * 1000)
    outbox = opened(tmp_path)
    outbox.append(rows(A, b"1"))
    assert bodies(outbox, A) == [b"1"]
    assert [path.read_bytes()[:14] for path in tmp_path.glob(f"{FILE}.damaged-*")] == [b"not a database"]
    outbox.close()


def test_only_the_servers_user_reads_the_file(tmp_path: Path, outbox: Outbox) -> None:
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
