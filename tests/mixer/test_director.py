"""sfu.mixer.director: automatic and manual choice of layout and stage; short noises change nothing."""

import pytest

from sfu.mixer.director import HOLD, PATIENCE, Decision, Director
from sfu.mixer.layout import Layout, Member
from sfu.mixer.scene import Rectangle, SceneTemplate, Slot


def people(*identities: str, sharing: str = "") -> list[Member]:
    return [Member(name, name, f"cam-{name}", f"screen-{name}" if name in sharing else "") for name in identities]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (people(), Decision(Layout.SINGLE)),
        (people("a"), Decision(Layout.SINGLE, "a")),
        (people("a", "b"), Decision(Layout.GRID, "a")),
        (people("a", "b", "c"), Decision(Layout.SPEAKER, "a")),
        (people("a", "b", sharing="b"), Decision(Layout.PRESENTATION, "a", "b")),
        ([Member("a", "a"), *people("b", "c")], Decision(Layout.SPEAKER, "b")),
        ([Member("a", "a"), Member("b", "b")], Decision(Layout.GRID, "a")),
    ],
)
def test_automatic(members: list[Member], expected: Decision) -> None:
    assert Director().direct(members, "", 0.0) == expected


def stages(director: Director, script: list[tuple[float, str]]) -> list[str]:
    members = people("a", "b", "c")
    return [director.direct(members, dominant, now).stage for now, dominant in script]


def test_a_new_speaker_takes_the_stage_after_hold_and_patience() -> None:
    script = [(0, "a"), (HOLD, "b"), (HOLD + PATIENCE - 0.1, "b"), (HOLD + PATIENCE + 0.01, "b")]
    assert stages(Director(), script) == ["a", "a", "a", "b"]


def test_a_cough_does_not_change_the_stage() -> None:
    assert set(stages(Director(), [(0, "a"), (10, "b"), (10.5, "a"), (10.9, "b"), (11.5, "b"), (11.6, "")])) == {"a"}


def test_the_stage_is_held_for_the_minimum_time() -> None:
    director = Director(patience=0.1, hold=5.0)
    assert stages(director, [(0, "a"), (1, "b"), (4.9, "b"), (5.0, "b"), (6, "c"), (9.9, "c"), (10, "c")]) == [
        "a", "a", "a", "b", "b", "b", "c",
    ]  # fmt: skip


def test_a_participant_that_leaves_is_replaced_at_once() -> None:
    director = Director()
    director.direct(people("a", "b", "c"), "a", 0.0)
    assert director.direct(people("b", "c"), "c", 0.1).stage == "c"
    assert director.direct(people("b"), "", 0.2).stage == "b"
    assert director.direct([], "", 0.3).stage == ""


def test_a_pin_holds_while_its_participant_is_present() -> None:
    director = Director()
    director.pin("b")
    assert stages(director, [(0, "a"), (1, "a"), (9, "c")]) == ["b", "b", "b"]
    assert director.direct(people("a", "c"), "c", 10.0).stage == "c"
    director.pin("")
    assert director.direct(people("a", "b", "c"), "c", 11.0).stage == "c"


def test_the_operator_chooses_a_layout_and_returns_to_automatic() -> None:
    director = Director()
    members = people("a", "b", "c", sharing="a")
    director.choose(Layout.GRID)
    assert director.direct(members, "", 0.0).layout is Layout.GRID
    director.use_template(SceneTemplate(1280, 720, (Slot("share", Rectangle(0, 0, 640, 360)),)))
    assert director.direct(members, "", 0.1).layout is Layout.CUSTOM
    assert [tile.source for tile in director.scene(members, 1280, 720).tiles] == ["screen-a"]
    director.choose(None)
    assert director.direct(members, "", 0.2).layout is Layout.PRESENTATION
    with pytest.raises(ValueError, match="template"):
        director.choose(Layout.CUSTOM)


def test_the_latest_screen_share_is_shown_and_stays() -> None:
    director = Director()
    assert director.direct(people("a", "b", sharing="a"), "", 0.0).presenter == "a"
    assert director.direct(people("a", "b", sharing="ab"), "", 0.1).presenter == "a"
    assert director.direct(people("a", "b", sharing="b"), "", 0.2).presenter == "b"
    assert director.direct(people("a", "b"), "", 0.3) == Decision(Layout.GRID, "a")


def test_recent_speakers_are_shown_when_there_are_too_many() -> None:
    director = Director()
    members = people(*"abcdefghij", sharing="j")
    director.choose(Layout.SPEAKER)
    director.direct(members, "a", 0.0)
    for now, dominant in enumerate("ihg"):
        director.direct(members, dominant, 0.1 + now / 10)
    shown = [tile.source for tile in director.scene(members, 1280, 720).tiles]
    assert shown == ["cam-a", "cam-b", "cam-g", "cam-h", "cam-i"]
    director.choose(None)
    director.direct(members, "", 1.0)
    shown = [tile.source for tile in director.scene(members, 1280, 720).tiles]
    assert shown == ["screen-j", "cam-a", "cam-b", "cam-g", "cam-h", "cam-i"]
