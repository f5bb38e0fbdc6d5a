"""sfu.mixer.artwork: pictures are scaled to their area; unreadable ones are rejected."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfu.errors import BadRequest
from sfu.mixer import artwork


def stored(kind: str, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (10, 200, 30)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_pictures_are_fitted(kind: str, tmp_path: Path) -> None:
    (tmp_path / "wide").write_bytes(stored(kind, (40, 10)))
    filled = artwork.load("wide", tmp_path, 20, 20, whole=False)
    assert filled.shape == (20, 20, 4)
    assert (filled[..., 3] == 255).all()
    whole = artwork.load("wide", tmp_path, 20, 20, whole=True)
    assert (whole[0, :, 3] == 0).all()
    assert whole[10, 10] == pytest.approx([10, 200, 30, 255], abs=6)


@pytest.mark.parametrize(
    "picture",
    [
        "gone.png", "text", "huge", "gif",
        "data:image/png;base64,AAAA", "data:image/png;base64,A", "../secret",
    ],
)  # fmt: skip
def test_unreadable_pictures_are_rejected(picture: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(stored("PNG", (2, 2)))
    inner = tmp_path / "pictures"
    inner.mkdir()
    (inner / "text").write_text("hello")
    (inner / "gif").write_bytes(stored("GIF", (2, 2)))
    (inner / "huge").write_bytes(stored("PNG", (4097, 4097)))
    with pytest.raises(BadRequest) as found:
        artwork.load(picture, inner, 20, 20, whole=False)
    assert found.value.code == "bad_picture"
    with pytest.raises(BadRequest):
        artwork.load("text", None, 20, 20, whole=False)


def test_pictures_embedded_in_the_scene() -> None:
    data = "data:image/png;base64," + base64.b64encode(stored("PNG", (2, 2))).decode()
    assert np.array_equal(artwork.load(data, None, 2, 2, whole=True)[0, 0], [10, 200, 30, 255])
