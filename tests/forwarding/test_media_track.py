"""The part of a track that does not depend on its encodings."""

from tests.support.wire import Bench, Wire


def test_payload_types_are_numbered_by_codec() -> None:
    bench = Bench()
    assert bench.audio(red=True).payload_types == {111: 0, 63: 1}
    assert bench.video().payload_types == {96: 0}
    assert bench.video().rtx == {97: 96}


def test_the_level_is_taken_once() -> None:
    track = Bench().audio()
    assert track.take_level() is None
    track.level = 0
    assert track.take_level() == 0
    assert track.take_level() is None


def test_a_removed_down_track_gets_no_redundant_audio() -> None:
    bench = Bench()
    track = bench.audio()
    down_track = bench.down_track(track, bench.peer(Wire()), red=True)
    track.remove_down_track(down_track)
    track.lossy_down_tracks.add(down_track)
    track.remove_down_track(down_track)
    assert track.lossy_down_tracks == set()
