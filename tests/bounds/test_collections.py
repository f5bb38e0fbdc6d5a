"""Every collection in the server process has a documented limit.

The test finds attributes in the source that an `__init__` creates as a list, dict, set, deque or similar. A new one fails
until `judged.txt` names its limit. Collections of workers are bounded by their process (`egress.worker_memory`).
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from sfu import config
from sfu.admin import bounds

ROOT = Path(__file__).parent.parent.parent
JUDGED = Path(__file__).parent / "judged.txt"
KINDS = {"dict", "list", "set", "deque", "OrderedDict", "Counter", "defaultdict", "bytearray", "Queue", "SimpleQueue"}
ELSEWHERE = re.compile(
    r"sfu\.(bots|mixer)\.|sfu\.rtp\.(frames|codecs|timestamp_repair)\.|sfu\.outputs\.(encoder|rtmp|segmenter|track_writer)\.|"
    r"sfu\.egress\.(offline_mix|rtp_receiver|track_recorder|composite_outputs|packaging|inputs|heartbeat|pipeline|video_mix|track_reader)\.|"
    r"sfu\.ingest\.(transcoder_worker|rtsp_worker|sample_clock)\."
)
"""Bots and modules that run in workers."""


def attributes() -> Iterator[str]:
    for path in sorted((ROOT / "sfu").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                for function in node.body:
                    if isinstance(function, ast.FunctionDef) and function.name == "__init__":
                        yield from (f"{module}.{node.name}: {name}" for name in made(function))


def made(function: ast.FunctionDef) -> Iterator[str]:
    target: ast.expr
    hint: ast.expr | None
    for node in ast.walk(function):
        if isinstance(node, ast.AnnAssign):
            target, value, hint = node.target, node.value, node.annotation
        elif isinstance(node, ast.Assign):
            target, value, hint = node.targets[0], node.value, None
        else:
            continue
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
            literal = isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)
            if literal or (isinstance(value, ast.Call) and named(value.func)) or (hint is not None and named(hint)):
                yield target.attr


def named(node: ast.expr) -> bool:
    inner = node.value if isinstance(node, ast.Subscript) else node
    return isinstance(inner, ast.Name) and inner.id in KINDS


def judged() -> dict[str, str]:
    found: dict[str, str] = {}
    for line in JUDGED.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            what, _, end = line.partition(" | ")
            owner, _, names = what.partition(": ")
            found |= {f"{owner}: {name}": end for name in names.split()}
    return found


def test_every_collection_has_a_limit() -> None:
    there = {one for one in attributes() if not ELSEWHERE.match(one)}
    assert len(there) > 100
    assert sorted(there - judged().keys()) == [], "add their limits to tests/bounds/judged.txt"
    assert sorted(judged().keys() - there) == [], "remove these from tests/bounds/judged.txt, they no longer exist"
    assert all(judged().values())


def test_named_rows_exist() -> None:
    rows = {row.what for row in bounds.table(config.Settings())}
    named_rows = {name for end in judged().values() for name in re.findall(r'"([^"]+)"', end)}
    assert named_rows <= rows
