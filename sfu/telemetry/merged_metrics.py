"""Merges the metrics pages of several processes into one page, with a label that names the process."""

import re
from collections.abc import Mapping

_SAMPLE = re.compile(rb"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{)?(.*)", re.DOTALL)


def merge_pages(pages: Mapping[str, bytes], label: str = "worker") -> bytes:
    """`pages`: pages in the Prometheus text format by the value of the label. The samples of a metric follow each other, as
    the format requires; its description is that of the first page."""
    described: dict[bytes, list[bytes]] = {}
    samples: dict[bytes, list[bytes]] = {}
    for process, page in pages.items():
        pair = f'{label}="{process}"'.encode()
        family, known = b"", False
        for line in page.splitlines():
            if line.startswith((b"# HELP ", b"# TYPE ")):
                name = line.split(b" ", 3)[2]
                if name != family:
                    family, known = name, name in samples
                    samples.setdefault(name, [])
                if not known:
                    described.setdefault(name, []).append(line)
            elif line and not line.startswith(b"#"):
                samples.setdefault(family, []).append(_labelled(line, pair))
    lines = [line for name, found in samples.items() for line in (*described.get(name, ()), *found)]
    return b"\n".join(lines) + b"\n"


def _labelled(sample: bytes, pair: bytes) -> bytes:
    match = _SAMPLE.fullmatch(sample)
    if match is None:
        return sample
    name, brace, rest = match.groups()
    if brace:
        return name + b"{" + pair + (b"" if rest.startswith(b"}") else b",") + rest
    return name + b"{" + pair + b"}" + rest
