"""Scenes, tile requests and events for members and layout commands."""

from collections.abc import Iterator

import pytest

from sfu.egress import protocol
from sfu.egress.protocol import Member, Speakers, VisibleTracks
from sfu.egress.scene_selection import SceneSelection
from sfu.rooms.egress_status import LayoutName
from tests.egress.mix_inputs import MixInputs, camera, member, microphone, screen

ADA, BEN, CYD = (member(name, camera(name), microphone(name)) for name in ("ada", "ben", "cyd"))


class Selecting:
    """A SceneSelection with what it sends and logs."""

    def __init__(self) -> None:
        self.mix = MixInputs()
        self.visible: list[VisibleTracks] = []
        self.events: list[tuple[str, str, dict[str, str]]] = []
        self.scenes = SceneSelection(320, 180, self.mix.inputs, self.visible.append, self.log_event)

    def log_event(self, kind: str, text: str, *, chapter: bool = False, **fields: str) -> None:
        self.events.append((kind, text, fields))

    def select(self, *members: Member, dominant: str = "", at: float = 100.0) -> set[str]:
        """The sources of the tiles."""
        self.mix.inputs.apply(list(members))
        self.mix.inputs.set_speakers(Speakers(dominant=dominant))
        return {tile.source for tile in self.scenes.select(at).tiles}


@pytest.fixture
def selecting() -> Iterator[Selecting]:
    made = Selecting()
    yield made
    made.mix.close()


@pytest.mark.parametrize(
    ("command", "members", "layout", "sources"),
    [
        ("auto", [], "single", set[str]()),
        ("auto", [ADA], "single", {"ada-camera"}),
        ("auto", [ADA, BEN], "grid", {"ada-camera", "ben-camera"}),
        ("auto", [ADA, BEN, CYD], "speaker", {"ada-camera", "ben-camera", "cyd-camera"}),
        ("auto", [ADA, member("ben", screen("ben"))], "presentation", {"ada-camera", "ben-screen", ""}),
        ("single", [ADA, BEN, CYD], "single", {"ada-camera"}),
        ("grid", [ADA, member("ben", camera("ben", muted=True))], "grid", {"ada-camera", ""}),
    ],
)
def test_layouts(
    selecting: Selecting, command: LayoutName, members: list[Member], layout: str, sources: set[str]
) -> None:
    selecting.scenes.apply(protocol.Layout(layout=command))
    assert selecting.select(*members) == sources
    assert selecting.scenes.layout == layout


def test_the_scene_stays_the_same_object_until_something_changes(selecting: Selecting) -> None:
    selecting.mix.inputs.apply([ADA, BEN])
    first = selecting.scenes.select(100.0)
    assert selecting.scenes.select(100.1) is first
    selecting.mix.inputs.apply([ADA, BEN, CYD])
    assert selecting.scenes.select(100.2) is not first


def test_visible_tracks_are_sent_when_they_change(selecting: Selecting) -> None:
    selecting.select(ADA, BEN)
    selecting.select(ADA, BEN, at=100.1)
    (visible,) = selecting.visible
    assert {track: (size.width, size.height) for track, size in visible.tracks.items()} == {
        "ada-camera": (160, 90),
        "ben-camera": (160, 90),
    }
    assert wanted(selecting) == {"ada": True, "ben": True}
    selecting.scenes.apply(protocol.Layout(layout="single", focus="PA_ben"))
    selecting.select(ADA, BEN, at=100.2)
    assert {track: (size.width, size.height) for track, size in selecting.visible[-1].tracks.items()} == {
        "ben-camera": (320, 180)
    }
    assert wanted(selecting) == {"ada": False, "ben": True}


def wanted(selecting: Selecting) -> dict[str, bool]:
    """Whether keyframes of the cameras are requested."""
    streams = selecting.mix.receiver.streams
    return {name: streams[camera(name).ssrc].wanted for name in ("ada", "ben")}


def test_decisions_are_chapters(selecting: Selecting) -> None:
    for at in (100.0, 101.0, 103.0, 104.0):
        selecting.select(ADA, BEN, CYD, dominant="PA_ben" if at > 100 else "", at=at)
    assert selecting.events == [
        ("layout", "speaker", {"stage": "ada", "presenter": ""}),
        ("layout", "speaker", {"stage": "ben", "presenter": ""}),
    ]


def test_an_invalid_scene_is_logged_and_the_layout_stays(selecting: Selecting) -> None:
    selecting.scenes.apply(protocol.Layout(layout="grid"))
    selecting.scenes.apply(protocol.Layout(scene="{"))
    selecting.select(ADA, BEN, CYD)
    assert selecting.scenes.layout == "grid"
    assert [kind for kind, _, _ in selecting.events] == ["scene-refused", "layout"]


def test_a_custom_scene(selecting: Selecting) -> None:
    tile = '{"show": "participant:ben", "x": 0, "y": 0, "width": 320, "height": 180}'
    selecting.scenes.apply(protocol.Layout(scene=f'{{"width": 320, "height": 180, "tiles": [{tile}]}}'))
    assert selecting.select(ADA, BEN) == {"ben-camera"}
    assert selecting.scenes.layout == "custom"


def test_the_largest_picture_leads_the_clock(selecting: Selecting) -> None:
    assert selecting.scenes.waited(100.0) is None
    selecting.select(ADA)
    selecting.mix.inputs.sources["ada-camera"].picture_at(100.0)  # visible from now on
    selecting.mix.show("ada", 60)
    selecting.mix.inputs.sources["ada-camera"].picture_at(100.02)
    waited = selecting.scenes.waited(100.02)
    assert waited is not None
    assert 0 <= waited <= 0.02
