"""sfu.mixer.labels: names in many scripts, initials, and overlays that change only the pixels they cover."""

import numpy as np
import pytest
from PIL import ImageFont

from sfu.mixer import labels
from sfu.mixer.labels import Overlay, avatar, initials, label, visible
from sfu.mixer.picture import Plane, planes_of

NAMES = [
    "Anna Müller",
    "Ἀθηνᾶ",
    "Борис",
    "محمد علي",
    "שרה",
    "山田太郎",
    "김철수",
    "अनिता",
    "สมชาย",
    "Anna 山田 محمد",
    "42",
]


def canvas(value: int = 100) -> tuple[Plane, Plane, Plane]:
    return planes_of(np.full((270, 320), value, np.uint8))


@pytest.mark.parametrize("name", NAMES)
def test_labels_show_something_of_every_script(name: str) -> None:
    overlay = label(name, False, 320, 180)
    assert overlay is not None
    assert (overlay.width % 2, overlay.height % 2) == (0, 0)
    planes = canvas()
    overlay.apply(planes, 8, 150)
    area = planes[0][150 : 150 + overlay.height, 8 : 8 + overlay.width]
    assert int(area.max()) > 220, "letters"
    assert int(area.min()) < 60, "the pill"
    letters = (area > 180).mean()
    assert 0.02 < letters < 0.6
    planes[0][150 : 150 + overlay.height, 8 : 8 + overlay.width] = 100
    assert (planes[0] == 100).all(), "pixels beside it are unchanged"


def test_scripts_are_drawn_with_their_own_letters() -> None:
    """A font that lacks the script draws the same box for every character."""
    pairs = [("山", "川"), ("ع", "م"), ("김", "박"), ("अ", "म"), ("ש", "ר")]
    for first, second in pairs:
        font = labels.font_of(first, 40)
        if not isinstance(font, ImageFont.FreeTypeFont) or "Noto" not in str(font.path):
            pytest.skip("no Noto fonts on this machine")
        assert bytes(font.getmask(first)) != bytes(font.getmask(second))


def test_pillows_font_is_the_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    caches = (labels._fonts, labels.font_of, labels.label, labels.avatar)
    for cache in caches:
        cache.cache_clear()
    monkeypatch.setattr(labels, "FONT_DIRECTORIES", ())
    assert label("Anna", True, 320, 180) is not None
    assert avatar("Anna", 320, 180).y.max() > 200
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize("text", ["", " ", "\u200b\n", "🎉"])
def test_invisible_text_has_no_label(text: str) -> None:
    assert label(text, False, 320, 180) is None


def test_the_muted_mark_is_red_and_needs_no_name() -> None:
    for name in ("", "Anna"):
        overlay = label(name, True, 320, 180)
        assert overlay is not None
        planes = canvas(128)
        overlay.apply(planes, 0, 0)
        assert int(planes[2].max()) > 170


@pytest.mark.parametrize(("width", "height"), [(2, 2), (20, 12), (64, 36), (256, 144), (1280, 720), (1920, 1080)])
def test_labels_fit_their_tile(width: int, height: int) -> None:
    overlay = label("An endless name that goes on and on and on, and on " * 3, True, width, height)
    assert overlay is not None
    assert overlay.width <= width
    assert overlay.height <= height


def test_long_names_are_cut() -> None:
    full, cut = label("Annabella", False, 320, 180), label("Annabella " * 20, False, 320, 180)
    assert full is not None
    assert cut is not None
    assert full.width < cut.width <= 320


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Anna Müller", "AM"), ("anna maria von berg", "AB"), ("Борис", "Б"), ("山田 太郎", "山"), ("محمد علي", "م"),
        ("Anna 山田", "A"), ("", ""), ("🎉 Anna", "A"), ("(guest) Anna", "A"), ("4711", "4"), ("!!!", ""),
    ],
)  # fmt: skip
def test_initials(name: str, expected: str) -> None:
    assert initials(name) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Anna \t\n Müller ", "Anna Müller"),
        ("A\u202eanna🎉", "Aanna"),
        ("a" + "\u0301\u0302\u0303\u0304\u0305" * 30, "á\u0302\u0303"),
        ("x" * 500, "x" * 64),
        ("\ud800x", "x"),
    ],
)
def test_visible(text: str, expected: str) -> None:
    assert visible(text) == expected


def test_avatars_show_initials_and_are_cached() -> None:
    for name in [*NAMES, "", "!"]:
        picture = avatar(name, 320, 180)
        assert (picture.width, picture.height) == (320, 180)
        assert picture.y[90, 116] != picture.y[0, 0]
    assert avatar("Anna", 320, 180) is avatar("Anna", 320, 180)
    assert avatar("Anna", 2, 2).y.shape == (2, 2)


@pytest.mark.parametrize("alpha", [0, 1, 64, 128, 200, 254, 255])
@pytest.mark.parametrize("below", [0, 16, 128, 235, 255])
def test_overlays_blend_exactly(alpha: int, below: int) -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[...] = (255, 255, 255, alpha)
    planes = planes_of(np.full((6, 4), below, np.uint8))
    Overlay(rgba).apply(planes, 0, 0)
    share = alpha / 255
    assert planes[0][0, 0] == pytest.approx(below * (1 - share) + 235 * share, abs=1.5)
    assert planes[1][0, 0] == pytest.approx(below * (1 - share) + 128 * share, abs=1.5)
    if alpha == 0:
        assert (planes[0] == below).all()


def test_overlays_are_clipped_to_the_planes() -> None:
    planes = planes_of(np.full((6, 4), 16, np.uint8))
    Overlay(np.full((8, 8, 4), 255, np.uint8)).apply(planes, 2, 2)
    assert planes[0].tolist() == [[16] * 4, [16] * 4, [16, 16, 235, 235], [16, 16, 235, 235]]
