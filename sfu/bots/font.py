"""A bitmap font of 5 × 7 dots for test pictures: a clock and a name do not need a font library."""

import unicodedata

import numpy as np
from numpy.typing import NDArray

WIDTH = 6
"""Dots from one character to the next."""
HEIGHT = 7

# Five columns of seven dots per character, least significant bit on top; from space to Z.
_COLUMNS = bytes.fromhex(
    "0000000000 00005f0000 0007000700 147f147f14 242a7f2a12 2313086462 3649552250 0005030000 001c224100 0041221c00"
    "14083e0814 08083e0808 0050300000 0808080808 0060600000 2010080402 3e5149453e 00427f4000 4261514946 2141454b31"
    "1814127f10 2745454539 3c4a494930 0171090503 3649494936 064949291e 0036360000 0056360000 0814224100 1414141414"
    "0041221408 0201510906 324979413e 7e1111117e 7f49494936 3e41414122 7f4141221c 7f49494941 7f09090901 3e4149497a"
    "7f0808087f 00417f4100 2040413f01 7f08142241 7f40404040 7f020c027f 7f0408107f 3e4141413e 7f09090906 3e4151215e"
    "7f09192946 4649494931 01017f0101 3f4040403f 1f2040201f 3f4038403f 6314081463 0708700807 6151494543"
)


def mask(text: str, scale: int) -> NDArray[np.bool_]:
    """Mask of `text` in capitals, of shape (7 × scale, 6 × scale × length). Unknown characters become `?`."""
    columns = bytearray()
    for character in unicodedata.normalize("NFKD", text.replace("ß", "ss")).upper():
        if unicodedata.combining(character):
            continue
        index = ord(character) - 32
        if not 0 <= index * 5 < len(_COLUMNS):
            index = ord("?") - 32
        columns += _COLUMNS[index * 5 : index * 5 + 5] + b"\0"
    bits = np.unpackbits(np.frombuffer(bytes(columns), np.uint8)[:, None], axis=1, bitorder="little")[:, :HEIGHT]
    return np.repeat(np.repeat(bits.T.astype(np.bool_), scale, axis=0), scale, axis=1)
