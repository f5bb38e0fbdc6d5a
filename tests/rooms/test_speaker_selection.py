"""Selection of visible and audible participants by speech."""

from collections.abc import Sequence

import pytest

from sfu.rooms.speaker_selection import LastSpeakers, LoudestSpeakers

LOUD, REPLACE_MARGIN_DB, QUIET = 30, 15, 70


def shown(pictures: LastSpeakers, viewer: str = "nobody", among: str = "abcdefgh") -> str:
    return "".join(key for key in among if key != viewer and pictures.is_visible(key, viewer))


def cast(places: int, keys: str) -> LastSpeakers:
    pictures = LastSpeakers(places)
    for key in keys:
        pictures.add(key)
    return pictures


def speak(pictures: LastSpeakers, start: float, seconds: float, speakers: Sequence[str], dominant: str = "") -> float:
    now = start
    while now < start + seconds:
        pictures.observe(now, speakers, dominant)
        now = round(now + 0.1, 1)
    return now


# (seconds, who is active, who dominates), one after the other → who is shown to an onlooker
STORIES: list[tuple[str, list[tuple[float, str, str]], str]] = [
    ("no speech: the earliest arrivals", [], "abc"),
    ("who speaks long enough comes, who came last goes", [(1.0, "f", "f")], "abf"),
    ("a cough changes nothing", [(0.4, "f", "")], "abc"),
    ("two coughs are not one speech", [(0.4, "f", ""), (0.2, "", ""), (0.4, "f", "")], "abc"),
    ("one after another", [(1.0, "f", "f"), (4.0, "e", "e"), (1.0, "d", "d")], "def"),
    ("the selection stays during silence", [(1.0, "f", "f"), (600.0, "", "f")], "abf"),
    ("who speaks stays", [(4.0, "abc", "a"), (1.0, "abcf", "a")], "abc"),
    ("unless the dominant speaker needs the place", [(4.0, "abc", "a"), (1.0, "abcf", "f")], "abf"),
    ("a short silence is no reason to go", [(4.0, "abc", "a"), (2.0, "abf", "a")], "abc"),
    ("a long one is", [(4.0, "abc", "a"), (4.0, "abf", "a")], "abf"),
    ("who has just come stays for a while", [(1.0, "def", "d"), (1.0, "g", "")], "def"),
    ("many at once: as many as there are places", [(1.0, "defgh", "d")], "def"),
]


@pytest.mark.parametrize(("story", "expected"), [each[1:] for each in STORIES], ids=[each[0] for each in STORIES])
def test_whose_pictures_are_shown(story: list[tuple[float, str, str]], expected: str) -> None:
    pictures = cast(3, "abcdefgh")
    now = 10.0
    for seconds, speakers, dominant in story:
        now = speak(pictures, now, seconds, speakers, dominant)
    assert shown(pictures) == expected


def test_all_participants_see_equally_many_others() -> None:
    pictures = cast(3, "abcdefgh")
    assert [len(shown(pictures, viewer)) for viewer in "abcdefgh"] == [3] * 8
    assert shown(pictures, "a") == "bcd"
    assert shown(pictures, "d") == "abc"
    speak(pictures, 10.0, 1.0, "h", "h")
    assert [len(shown(pictures, viewer)) for viewer in "abcdefgh"] == [3] * 8
    assert shown(pictures, "h") == "abc"  # who went for it is the understudy


def test_a_free_place_goes_to_the_previous_holder() -> None:
    pictures = cast(2, "abcd")
    speak(pictures, 10.0, 1.0, "d", "d")
    assert shown(pictures) == "ad"
    pictures.remove("a")
    pictures.remove("a")
    assert shown(pictures, among="bcd") == "bd"
    pictures.remove("c")
    assert shown(pictures, among="bd") == "bd"
    pictures.add("c")
    pictures.add("c")
    assert shown(pictures, among="bcd") == "bd"
    assert pictures.order == ("d", "b", "c")


def test_three_alternating_speakers_do_not_flap_in_two_places() -> None:
    pictures = cast(2, "abc")
    now, changes, before = 10.0, 0, shown(pictures)
    for turn in range(60):  # a minute of a second each
        key = "abc"[turn % 3]
        now = speak(pictures, now, 1.0, key, "a")
        changes += shown(pictures) != before
        before = shown(pictures)
    assert changes <= 1


def microphones(places: int, keys: str) -> LoudestSpeakers:
    sounds = LoudestSpeakers(places)
    sounds.observe(0.0, {}, "")
    for key in keys:
        sounds.add(key)
    return sounds


def listen(
    sounds: LoudestSpeakers, start: float, seconds: float, levels: dict[str, int | None], dominant: str = ""
) -> float:
    now = start
    while now < start + seconds:
        sounds.observe(now, {key: levels.get(key, QUIET) for key in "abcdef"}, dominant)
        now = round(now + 0.1, 1)
    return now


VOICES: list[tuple[str, list[tuple[float, dict[str, int | None], str]], str]] = [
    ("no speech", [(1.0, {}, "")], "ab"),
    ("the first loud sample is enough", [(1.0, {}, ""), (0.1, {"d": LOUD}, "")], "bd"),
    ("a quiet one is not", [(1.0, {}, ""), (3.0, {"d": 40}, "")], "ab"),
    ("silence between sentences is not the end", [(1.0, {"a": LOUD, "b": LOUD}, ""), (0.3, {"c": LOUD}, "")], "ab"),
    ("but half a second is", [(1.0, {"a": LOUD, "b": LOUD}, ""), (0.7, {"a": LOUD, "c": LOUD}, "")], "ac"),
    ("as loud as who is heard: waits", [(3.0, {"a": LOUD, "b": LOUD}, ""), (3.0, dict.fromkeys("abc", LOUD), "")], "ab"),
    ("louder: is heard", [(3.0, {"a": 20, "b": LOUD}, ""), (0.1, {"a": 20, "b": LOUD, "c": REPLACE_MARGIN_DB}, "")], "ac"),
    (
        "the dominant speaker is, however loud",
        [(3.0, {"a": LOUD, "b": 20}, ""), (0.1, {"a": LOUD, "b": 20, "c": 34}, "c")],
        "bc",
    ),
    (
        "and is not replaced while it speaks",
        [(3.0, {"a": 34, "b": 20}, "a"), (0.5, {"a": 34, "b": 20, "c": 10}, "a")],
        "ac",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("story", "expected"), [each[1:] for each in VOICES], ids=[each[0] for each in VOICES])
def test_whose_microphones_are_heard(story: list[tuple[float, dict[str, int | None], str]], expected: str) -> None:
    sounds = microphones(2, "abcdef")
    now = 0.1
    for seconds, levels, dominant in story:
        now = listen(sounds, now, seconds, levels, dominant)
    assert set("abcdef") - sounds.withheld == set(expected)


def test_an_unmuted_microphone_takes_a_silent_ones_place() -> None:
    sounds = microphones(2, "ab")
    now = listen(sounds, 0.1, 1.0, {"b": LOUD})
    sounds.add("c")
    assert sounds.withheld == {"a"}
    sounds.add("d")  # b has just spoken, c has just come
    assert sounds.withheld == {"a", "d"}
    listen(sounds, now, 0.1, {})
    sounds.remove("b")
    assert sounds.withheld == {"a"}
    sounds.remove("b")
    sounds.remove("c")
    assert sounds.withheld == frozenset()


def test_fewer_than_the_places_are_all_heard() -> None:
    sounds = microphones(3, "abc")
    listen(sounds, 0.1, 2.0, {"a": LOUD})
    assert sounds.withheld == frozenset()
