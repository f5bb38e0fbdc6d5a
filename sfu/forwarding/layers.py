"""Layer limits and picture sizes: the terms that layer selection and layer filtering share."""

from typing import Final, NamedTuple

ALL_LAYERS: Final = 127
"""As a layer limit: no layer is left out."""
LayerLimit = tuple[int, int]
"""The highest spatial and the highest temporal layer that are kept."""
FILL: Final = 0.85
"""A picture with this fraction of the tile's height looks as good as a full one."""


class Size(NamedTuple):
    """Pixels of a layer: declared by the publisher, until a keyframe gives the real size."""

    width: int
    height: int


def fills(size: Size, width: int, height: int) -> bool:
    """Whether a larger layer would add nothing to a tile of `width` × `height` pixels.

    A layer of unknown size fills every tile. A tile of 0 × 0 has no limit, so nothing fills it.
    """
    if not width and not height:
        return False
    if not size.height or (size.width >= FILL * width and size.height >= FILL * height):
        return True
    # Pictures keep their aspect ratio, so one full side is enough.
    return bool(width and size.width >= width) or bool(height and size.height >= height)
