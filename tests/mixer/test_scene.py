"""sfu.mixer.scene: valid JSON scenes are accepted; errors state location and cause."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import BadRequest
from sfu.mixer.scene import Artwork, Fit, Rectangle, Scene, SceneTemplate, Slot, Tile, parse_template

AREA = {"x": 0, "y": 0, "width": 960, "height": 720}
FULL = {
    "width": 1920,
    "height": 1080,
    "background": "#ff8000",
    "background_picture": "studio.png",
    "logo": {"picture": "data:image/png;base64,AAAA", "x": 8, "y": 8, "width": 64, "height": 32},
    "tiles": [
        {"show": "stage", **AREA, "fit": "fit", "z": 3, "label": False, "border": False, "muted": False},
        {"show": "participant:anna", **AREA, "label": "Anna"},
        {"show": "share", **AREA},
    ],
}


def test_a_whole_scene() -> None:
    area = Rectangle(0, 0, 960, 720)
    expected = SceneTemplate(
        1920,
        1080,
        (
            Slot("stage", area, Fit.FIT, 3, "", False, False),
            Slot("participant:anna", area, Fit.CROP, 0, "Anna"),
            Slot("share", area, Fit.FIT),
        ),
        (255, 128, 0),
        "studio.png",
        Artwork("data:image/png;base64,AAAA", Rectangle(8, 8, 64, 32)),
    )
    assert parse_template(json.dumps(FULL)) == expected
    assert parse_template(expected.as_json()) == expected
    assert parse_template("{}") == SceneTemplate(1280, 720)
    assert parse_template(SceneTemplate(640, 360).as_json()) == SceneTemplate(640, 360)


def tile(**fields: object) -> dict[str, object]:
    return {"tiles": [{"show": "stage", **AREA, **fields}]}


@pytest.mark.parametrize(
    ("scene", "message"),
    [
        ([], "The scene must be an object."),
        ({"colour": 1}, "has no field 'colour'"),
        ({"width": 8}, "The scene.width must be an integer from 16 to 4096."),
        ({"width": True}, "width must be an integer"),
        ({"background": "red"}, "Background must be a colour such as #101418."),
        ({"background": 5}, "background must be a string"),
        ({"background_picture": "../etc/passwd"}, "background_picture must be a file name"),
        ({"background_picture": ".."}, "background_picture must be a file name"),
        ({"logo": {**AREA}}, "Logo.picture must be a file name"),
        ({"tiles": {}}, "Tiles must be a list of at most 64."),
        ({"tiles": [{}] * 65}, "Tiles must be a list of at most 64."),
        ({"tiles": [5]}, "Tiles[0] must be an object."),
        (tile(show="other"), "Tiles[0].show must be stage, share, member:1 to member:99 or participant:IDENTITY."),
        (tile(show="member:0"), "Tiles[0].show"),
        (tile(x=-2), "Tiles[0].x must be an integer from 0 to 1278."),
        (tile(width=1282), "Tiles[0].width must be an integer from 2 to 1280."),
        (tile(x=1000, width=300), "Tiles[0].width must be an integer from 2 to 280."),
        (tile(height=None), "Tiles[0].height must be"),
        (tile(fit="stretch"), "Tiles[0].fit must be crop or fit."),
        (tile(z=1.5), "Tiles[0].z must be"),
        (tile(label=7), "Tiles[0].label must be true, false or a string of at most 128 characters."),
        (tile(label="x" * 129), "Tiles[0].label"),
        (tile(border="yes"), "Tiles[0].border must be true or false."),
    ],
)
def test_errors_state_location_and_cause(scene: object, message: str) -> None:
    with pytest.raises(BadRequest) as found:
        parse_template(json.dumps(scene))
    assert message in found.value.message
    assert found.value.code == "bad_scene"


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, b"\xff\xfe", " " * 4_000_001])
def test_invalid_json_is_rejected(text: str | bytes) -> None:
    with pytest.raises(BadRequest):
        parse_template(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FULL, *AREA, "show"]), inner),
)


@given(JSON)
def test_any_json_results_in_a_template_or_bad_request(value: object) -> None:
    try:
        found = parse_template(json.dumps(value))
    except BadRequest:
        return
    assert isinstance(found, SceneTemplate)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (Rectangle(10, 10, 10, 10), True),
        (Rectangle(0, 0, 100, 100), True),
        (Rectangle(20, 0, 5, 20), False),
        (Rectangle(0, 20, 20, 5), False),
        (Rectangle(19, 19, 5, 5), True),
    ],
)
def test_overlap(other: Rectangle, expected: bool) -> None:
    assert Rectangle(0, 0, 20, 20).overlaps(other) is expected
    assert other.overlaps(Rectangle(0, 0, 20, 20)) is expected


def test_a_scene_is_converted_to_json() -> None:
    scene = Scene(1280, 720, (Tile(Rectangle(0, 0, 2, 4), "track", "Änne", z=1, border=True),))
    (written,) = json.loads(scene.as_json())["tiles"]
    assert written == {
        "source": "track", "name": "Änne", "x": 0, "y": 0, "width": 2, "height": 4, "z": 1, "fit": "crop",
        "label": "", "border": True, "muted": False,
    }  # fmt: skip
