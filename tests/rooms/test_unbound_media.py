"""The media of a publication without a publisher: no track, no consumers, no level."""

import pytest

from sfu.rooms.unbound_media import UnboundMedia


def test_it_describes_the_publication_without_a_track() -> None:
    media = UnboundMedia("video", "VP8")
    media.touch()
    media.set_muted(True)
    assert (media.kind, media.codec, media.stream, media.screen) == ("video", "VP8", "", False)
    assert (media.declared, media.limitation, media.max_height(720), media.take_level()) == ({}, "none", 720, None)


def test_a_subscription_that_reaches_it_is_a_fault() -> None:
    media = UnboundMedia("audio", "opus")
    with pytest.raises(RuntimeError, match="no track"):
        _ = media.track
