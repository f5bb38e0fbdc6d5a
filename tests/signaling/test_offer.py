from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.signaling.offer import Outline, outline

OFFERS = [
    ("", Outline(frozenset(), {})),
    (
        "v=0\r\nm=audio 9 X 0\r\na=mid:0\r\nm=video 9 X 96\r\na=mid:cam\r\n",
        Outline(frozenset(), {"0": "audio", "cam": "video"}),
    ),
    (
        "a=fingerprint:sha-256 AB\nm=application 9 X\na=mid:d\na=fingerprint:SHA-256 ab\n",
        Outline(frozenset({"sha-256 ab"}), {"d": "application"}),
    ),
    ("a=mid:0\r\n", Outline(frozenset(), {"0": ""})),
]


@pytest.mark.parametrize(("sdp", "expected"), OFFERS)
def test_outline(sdp: str, expected: Outline) -> None:
    assert outline(sdp) == expected


@given(st.text())
def test_any_text_has_one(text: str) -> None:
    outline(text)


def test_real_offers() -> None:
    for path in (Path(__file__).parent.parent / "data" / "sdp").glob("*offer*"):
        found = outline(path.read_text())
        assert found.fingerprints, path.name
        assert set(found.kinds.values()) <= {"audio", "video", "application"}, path.name
