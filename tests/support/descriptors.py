"""Dependency descriptors by hand: a structure of spatial and temporal layers as libwebrtc's encoders send it."""

from collections.abc import Sequence


def packed(bits: str) -> bytes:
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


class Scalability:
    """Layers S × T. `keyed`: spatial layers need each other in keyframes only (`L2T2_KEY`).

    Templates come in pairs for each layer: one of keyframes (and of whatever else a receiver may begin with), one of others.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]], temporal: int, *, keyed: bool = True) -> None:
        self.sizes, self.temporal, self.keyed = sizes, temporal, keyed
        self.layers = [(s, t) for s in range(len(sizes)) for t in range(temporal)]
        self.targets = list(self.layers)

    def indications(self, spatial: int, temporal: int, *, key: bool) -> str:
        """0 not present, 1 discardable, 2 switch, 3 required: two bits per decode target."""
        out = ""
        for s, t in self.targets:
            within = spatial <= s and temporal <= t
            if not within or (self.keyed and not key and spatial != s):
                out += "00"
            elif temporal == 0 and (key or spatial == s):
                out += "10"
            else:
                out += "11"
        return out

    def structure(self) -> str:
        doubled = [layer for layer in self.layers for _ in range(2)]
        steps = ""
        for (s, t), (next_s, next_t) in zip(doubled, [*doubled[1:], (-1, -1)], strict=True):
            steps += "11" if next_s < 0 else "00" if (s, t) == (next_s, next_t) else "01" if s == next_s else "10"
            del t, next_t
        indications = "".join(self.indications(s, t, key=not n % 2) for n, (s, t) in enumerate(doubled))
        differences = "0" * len(doubled)
        chains = non_symmetric(0, len(self.targets) + 1)
        resolutions = "1" + "".join(f"{width - 1:016b}{height - 1:016b}" for width, height in self.sizes)
        return f"{0:06b}{len(self.targets) - 1:05b}" + steps + indications + differences + chains + resolutions

    def descriptor(
        self, spatial: int, temporal: int, frame: int, *, begin: bool, end: bool, key: bool = False, new: bool = False
    ) -> bytes:
        """`new`: with the structure."""
        template = 2 * self.layers.index((spatial, temporal)) + (not key)
        head = f"{begin:b}{end:b}{template:06b}{frame & 0xFFFF:016b}"
        return packed(head + ("10000" + self.structure() if new else ""))


def non_symmetric(value: int, values: int) -> str:
    """ns(n) of AV1 4.10.7, for small values."""
    width = values.bit_length()
    short = (1 << width) - values
    assert value < short
    return f"{value:0{width - 1}b}" if width > 1 else ""
