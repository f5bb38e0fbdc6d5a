"""File names from names of rooms and people."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.egress.jobs import MAX_ROOM_NAME_BYTES
from sfu.egress.track_recorder import MAX_IDENTITY_BYTES
from sfu.outputs.file_names import MAX_COMPONENT_BYTES, safe_name, unused_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("standup", "standup"),
        ("Town_Hall-2", "Town_Hall-2"),
        ("town hall", "town-hall"),
        ("会議室", "会議室"),
        ("Встреча №1", "Встреча-№1"),
        ("غرفة الاجتماع", "غرفة-الاجتماع"),
        ("חדר", "חדר"),
        ("बैठक", "बैठक"),
        ("ห้องประชุม", "ห้องประชุม"),
        ("회의", "회의"),
        ("Cafe\u0301", "Café"),
        ("🎉 party", "🎉-party"),
        ("a/b\\c:d*e?f\"g<h>i|j", "a-b-c-d-e-f-g-h-i-j"),
        ("../../etc/passwd", "etc-passwd"),
        ("..", "x"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("a\0b\nc\x1b[31md", "a-b-c-31md"),
        ("abc\u202egpj.exe", "abcgpj-exe"),
        ("\u2066a\u2069\u200eb\ufeff", "ab"),
        ("a\u2028b\u00a0c", "a-b-c"),
        ("trailing. ", "trailing"),
        ("CON", "_CON"),
        ("con", "_con"),
        ("Com1", "_Com1"),
        ("LPT²", "_LPT²"),
        ("NUL.txt", "NUL-txt"),
        ("console", "console"),
        ("\u0301abc", "abc"),
        ("", "x"),
        ("///", "x"),
        ("\ud800", "x"),
        ("a\ud800b", "a-b"),
    ],
)  # fmt: skip
def test_names(text: str, expected: str) -> None:
    assert safe_name(text, 100, fallback="x") == expected


@given(st.text(max_size=200), st.integers(8, 120))
def test_every_name_is_safe(text: str, size: int) -> None:
    name = safe_name(text, size)
    assert 0 < len(name.encode()) <= size
    assert unicodedata.normalize("NFC", name) == name
    assert not name.startswith((".", "-"))
    assert not name.endswith((".", " ", "-"))
    assert not {unicodedata.category(char)[0] for char in name} & {"C", "Z"}
    assert not set(name) & set('/\\:*?"<>|.')
    assert safe_name(name, size) == name


@pytest.mark.parametrize("text", ["x" * 500, "会" * 500, "é" * 500, "e\u0301" * 500, "🎉" * 500, "a" + "\u0301" * 500])
def test_names_are_truncated_between_characters(text: str, tmp_path: Path) -> None:
    name = safe_name(text, 100)
    assert 90 < len(name.encode()) <= 100
    (tmp_path / name).mkdir()
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_path_components_fit_with_all_suffixes() -> None:
    assert len(f"{'x' * MAX_ROOM_NAME_BYTES}-20261127-184500-abcdef") <= 128  # limit of a recording's name in the API
    longest = f"{'x' * MAX_IDENTITY_BYTES}-screen_share_audio-TR_{'x' * 12}-1767225600.finished.track.json"
    assert len(longest) <= MAX_COMPONENT_BYTES


def test_unused_path(tmp_path: Path) -> None:
    taken = [unused_path(tmp_path, "a")]
    for _ in range(3):
        taken[-1].mkdir()
        taken.append(unused_path(tmp_path, "a"))
    assert [path.name for path in taken] == ["a", "a-2", "a-3", "a-4"]
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert unused_path(tmp_path, "link").name == "link-2"
