"""Bounds of an edge's cache, and what it reads from playlists."""

import pytest

from sfu.api import edge_cache
from sfu.api.edge_cache import IDLE, CachedFile, EdgeCache
from sfu.cluster.ports import NodeInfo
from sfu.outputs.hls.delivery_directives import DeliveryDirectives
from tests.outputs.hls.test_live_stream import live_stream

A = NodeInfo(id="a", instance="a1", url="")


def file(size: int, at: float = 0.0) -> CachedFile:
    return CachedFile(b"." * size, at)


def held(cache: EdgeCache, *names: tuple[str, str]) -> list[bool]:
    return [cache.get(room, (path, False), 0.0) is not None for room, path in names]


def test_a_room_loses_its_least_recently_used_file() -> None:
    cache = EdgeCache(room_limit_bytes=100)
    for path in ("0", "1"):
        cache.put("hall", (path, False), file(40), A)
    cache.get("hall", ("0", False), 0.0)
    cache.put("hall", ("2", False), file(40), A)
    assert held(cache, ("hall", "0"), ("hall", "1"), ("hall", "2")) == [True, False, True]
    cache.put("hall", ("2", False), file(20), A)
    assert cache.size == 60, "a newer file replaces the older one"


def test_all_rooms_share_a_limit() -> None:
    cache = EdgeCache(room_limit_bytes=100, total_limit_bytes=150)
    cache.put("old", ("0", False), file(80), A)
    cache.put("new", ("0", False), file(80), A)
    assert held(cache, ("old", "0"), ("new", "0")) == [False, True]
    assert (len(cache), cache.size) == (1, 80)


def test_the_number_of_rooms_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_cache, "ROOMS_LIMIT", 2)
    cache = EdgeCache()
    for room in ("a", "b", "c"):
        cache.put(room, ("state", False), file(1), A)
    assert (len(cache), cache.size, "a" in cache) == (2, 2, False)


def test_rooms_without_viewers_are_dropped() -> None:
    cache = EdgeCache()
    cache.put("idle", ("0", False), file(10), A)
    cache.put("watched", ("0", False), file(10), A)
    cache.get("watched", ("0", False), 1.0)
    cache.expire(IDLE)
    assert (cache.origin_of("idle"), cache.origin_of("watched"), cache.size) == (None, A, 10)


@pytest.mark.parametrize("parts", range(1, 12))
def test_directives_are_answered_as_by_the_origin(parts: int) -> None:
    stream = live_stream(parts).streams["720p"]
    playlist = CachedFile.playlist(stream.playlist((), skip=False), 0.0, 1)
    assert (playlist.last, playlist.next) == (stream.last, stream.next)
    for msn in range(4):
        for part in (None, *range(8)):
            assert playlist.answers(DeliveryDirectives(msn, part)) == stream.has(msn, part), (msn, part)


def test_the_end_answers_everything() -> None:
    made = live_stream(7)
    made.end(0.0)
    assert CachedFile.playlist(made.media("720p", skip=False), 0.0, 1).answers(DeliveryDirectives(99, 0))


def test_parts_of_a_segment() -> None:
    playlist = CachedFile.playlist(live_stream(12).media("720p", skip=False), 0.0, 1)
    assert playlist.parts_of("720p/1.m4s") == [f"720p/1.{index}.m4s" for index in range(5)]
    assert playlist.parts_of("720p/2.m4s") == [], "it is not complete"
    assert playlist.parts_of("720p/7.m4s") == []
    old = CachedFile.playlist(live_stream(40).media("720p", skip=False), 0.0, 1)
    assert old.parts_of("720p/1.m4s") == [], "it is not listed by part"


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"#EXT-X-PART:", b'#EXT-X-PART:URI="x"\n#EXT-X-PRELOAD-HINT:'])
def test_malformed(body: bytes) -> None:
    playlist = CachedFile.playlist(body, 0.0, 1)
    assert (playlist.last, playlist.next, playlist.parts_of("x")) == ((-1, -1), (0, 0), [])
