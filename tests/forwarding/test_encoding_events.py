"""Events of encodings: once per change, with the state when they are taken."""

from sfu.forwarding.encoding_events import EncodingChanged, EncodingEvents
from tests.support.wire import Bench


class Owner:
    def reselect(self, now: float) -> int:
        return 0


def test_each_encoding_has_one_event_in_order_of_change() -> None:
    bench, events, owner = Bench(), EncodingEvents(), Owner()
    track = bench.video()
    bench.engine.set_owner(track, owner)
    for rid in ("h", "q", "h"):
        events.add(track.encodings[rid])
    track.encodings["h"].resize(320, 180)
    track.encodings["q"].check_alive(0.0)
    assert events.take() == [
        EncodingChanged(owner, "h", False, True, 0.0, 320, 180),
        EncodingChanged(owner, "q", False, True, 0.0, 0, 0),
    ]
    assert events.take() == []


def test_a_removed_track_has_no_owner() -> None:
    bench, events = Bench(), EncodingEvents()
    track = bench.audio()
    bench.engine.set_owner(track, Owner())
    events.add(track.encodings[""])
    bench.engine.remove_track(track)
    ((event),) = events.take()
    assert (event.owner, event.simulcast) == (None, False)
