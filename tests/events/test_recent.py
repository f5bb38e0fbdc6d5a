"""The newest events in memory: bounds, reading on, waiting."""

import asyncio
from typing import cast

import pytest

from sfu.events.event import Content, Event
from sfu.events.recent import EVENT_OVERHEAD, RecentEvents


def event(number: int, size: int = 10) -> Event:
    content = cast("Content", None)  # readers get it unread
    return Event(number, f"EV_{number}", number, "room_started", "den", 0.0, content, None, bytes(size))


def recent(count: int = 100, size: int = 1_000_000, events: range = range(0)) -> RecentEvents:
    made = RecentEvents(count, size)
    for number in events:
        made.accept(event(number))
    return made


def numbers(made: RecentEvents, after: int, count: int = 100) -> list[int]:
    return [each.number for each in made.after(after, count)]


def test_readers_continue_after_their_last_event() -> None:
    made = recent(events=range(1, 6))
    assert numbers(made, 0) == [1, 2, 3, 4, 5]
    assert numbers(made, 3) == [4, 5]
    assert numbers(made, 3, 1) == [4]
    assert numbers(made, 5) == numbers(made, 9) == []


def test_the_oldest_events_are_dropped_by_count() -> None:
    made = recent(count=3, events=range(1, 6))
    assert (made.oldest, made.newest) == (3, 5)
    assert numbers(made, 0) == [3, 4, 5]


def test_the_oldest_events_are_dropped_by_size_except_the_newest() -> None:
    made = recent(size=2 * (EVENT_OVERHEAD + 10), events=range(1, 6))
    assert numbers(made, 0) == [4, 5]
    made.accept(event(6, 1_000_000))
    assert numbers(made, 0) == [6]
    made.accept(event(7))
    assert numbers(made, 0) == [7]


def test_transient_events_are_not_kept() -> None:
    made = recent(events=range(1, 3))
    made.accept(event(0))
    assert (made.newest, numbers(made, 0)) == (2, [1, 2])


def test_without_events_the_next_one_is_the_oldest() -> None:
    assert (recent().oldest, recent().newest) == (1, 0)
    assert numbers(recent(), 0) == []


async def test_all_readers_wake_at_the_next_event() -> None:
    made = recent()
    readers = [asyncio.ensure_future(made.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    readers[0].cancel()
    await asyncio.sleep(0)
    assert not readers[1].done()
    made.accept(event(1))
    await asyncio.gather(*readers[1:])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(made.wait(), 0.01)


async def test_closing_wakes_readers_and_ends_waiting() -> None:
    made = recent()
    reader = asyncio.ensure_future(made.wait())
    await asyncio.sleep(0)
    made.close()
    await reader
    await made.wait()
    assert made.closed
