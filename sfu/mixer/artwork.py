"""Loads the operator's background and logo from a directory, or from data URLs in the JSON scene.

A file name cannot leave the directory (the scene parser rejects slashes). The size of an image is checked before its
pixels are decoded.
"""

import base64
import binascii
import io
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from sfu.errors import BadRequest

PIXEL_LIMIT: Final = 4096 * 4096
FORMATS: Final = ("PNG", "JPEG", "WEBP")


@lru_cache(maxsize=16)
def load(picture: str, directory: Path | None, width: int, height: int, *, whole: bool) -> npt.NDArray[np.uint8]:
    """Returns RGBA of shape (height, width, 4).

    `whole`: scales the image to fit and pads it with transparency; otherwise the image fills the area and is cropped.
    Raises BadRequest (code `bad_picture`); its message is safe to return to the client that sent the scene.
    """
    try:
        if picture.startswith("data:"):
            source = io.BytesIO(base64.b64decode(picture.partition(",")[2], validate=True))
        elif directory is not None:
            source = io.BytesIO((directory / Path(picture).name).read_bytes())
        else:
            raise BadRequest("This server has no picture directory configured.", code="bad_picture")
        with Image.open(source, formats=FORMATS) as image:
            if image.width * image.height > PIXEL_LIMIT:
                raise BadRequest("The picture has more than 16 million pixels.", code="bad_picture")
            rgba = image.convert("RGBA")
    except (OSError, binascii.Error, ValueError, SyntaxError, Image.DecompressionBombError):
        raise BadRequest("The picture was not found or cannot be read.", code="bad_picture") from None
    if whole:
        return np.asarray(ImageOps.pad(rgba, (width, height), color=(0, 0, 0, 0)))
    return np.asarray(ImageOps.fit(rgba, (width, height)))
