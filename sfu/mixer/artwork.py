"""The operator's own pictures: a background and a logo, from a directory of his or from inside of the JSON scene.

A file name never leads out of the directory (the scene's parser takes no slashes), and a picture is measured before its
pixels are unpacked.
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
    """(height, width, 4) RGBA. `whole`: all of it is seen with nothing beside it; otherwise it fills and is cropped.

    Raises BadRequest (code `bad_picture`), whose message may be shown to whoever sent the scene.
    """
    try:
        if picture.startswith("data:"):
            source = io.BytesIO(base64.b64decode(picture.partition(",")[2], validate=True))
        elif directory is not None:
            source = io.BytesIO((directory / Path(picture).name).read_bytes())
        else:
            raise BadRequest("No directory for pictures is set on this server.", code="bad_picture")
        with Image.open(source, formats=FORMATS) as image:
            if image.width * image.height > PIXEL_LIMIT:
                raise BadRequest("The picture has more than 16 million pixels.", code="bad_picture")
            rgba = image.convert("RGBA")
    except (OSError, binascii.Error, ValueError, SyntaxError, Image.DecompressionBombError):
        raise BadRequest("The picture cannot be found or read.", code="bad_picture") from None
    if whole:
        return np.asarray(ImageOps.pad(rgba, (width, height), color=(0, 0, 0, 0)))
    return np.asarray(ImageOps.fit(rgba, (width, height)))
